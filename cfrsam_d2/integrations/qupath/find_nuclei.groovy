// QuPath (0.4 or newer): find the nuclei of every selected annotation, or of the whole image if none is
// selected, and add them as detections of it. docs/qupath.md says how to run it.

import java.awt.geom.AffineTransform
import qupath.lib.io.PathIO
import qupath.lib.objects.PathObjectTools
import qupath.lib.regions.RegionRequest

// The program, and what else it is told: a config and weights, or --min-score, say.
def command = ["cfrsam", "predict"]
def options = []
// µm a pixel of what is exported: the model's. A finer scan is exported coarser, a coarser one as it is.
double wantedPixelSize = 0.25

def server = getCurrentServer()
double pixelSize = server.getPixelCalibration().getAveragedPixelSizeMicrons()
if (Double.isNaN(pixelSize)) {
    throw new IllegalStateException("The image has no pixel size: set it in QuPath's Image tab, then run again")
}
double downsample = Math.max(1.0, wantedPixelSize / pixelSize)

def parents = getSelectedObjects().findAll { it.isAnnotation() }
if (parents.isEmpty()) {
    createFullImageAnnotation(true)
    parents = [getSelectedObject()]
}
for (parent in parents) {
    def folder = File.createTempDir("cfrsam", "")
    try {
        def roi = parent.getROI()
        def region = RegionRequest.createInstance(server.getPath(), downsample, roi)
        def image = new File(folder, "region.tif")
        writeImageRegion(server, region, image.getPath())

        def output = new File(folder, "nuclei")
        def words = command + [image.getPath(), "--output", output.getPath(), "--formats", "geojson"] + options
        def process = new ProcessBuilder(words as String[]).redirectErrorStream(true).start()
        def said = process.getInputStream().getText()
        if (process.waitFor() != 0) {
            throw new IllegalStateException("${words.join(' ')} failed:\n${said}")
        }

        // Back to the slide's own px; what lies around the annotation in its box is left out.
        def transform = new AffineTransform(downsample, 0, 0, downsample, region.getX(), region.getY())
        def nuclei = PathIO.readObjects(new File(output, "region.geojson"))
            .collect { PathObjectTools.transformObject(it, transform, true) }
            .findAll { roi.contains(it.getROI().getCentroidX(), it.getROI().getCentroidY()) }
        parent.clearChildObjects()
        parent.addChildObjects(nuclei)
        println("${nuclei.size()} nuclei in ${parent}")
    } finally {
        folder.deleteDir()
    }
}
fireHierarchyUpdate()
