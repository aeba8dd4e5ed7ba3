"""What `tools/slides.py` does: slides in, a folder of files for each out."""

import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from ..errors import DiskError, UserError
from ..modeling.meta_arch import CFRSAM
from ..predictor import NucleusPredictor, slide_predictor
from ..remote_path import AnyPath, RemotePath
from ..slides.job import SlideJob
from ..slides.lattice import Lattice
from ..slides.progress import Progress
from ..slides.read_ahead import ReadAhead
from ..slides.reader import SlideReader, open_slide
from ..slides.record import describe
from ..slides.slide_cache import SlideCache, copied, fetched
from ..slides.tissue import TissueMask, find_tissue, read_tissue, whole_slide
from ..slides.uploads import check_output, results_of
from ..slides.writers.geojson import write_geojson, write_geojson_per_chunk, write_tissue
from ..slides.writers.label_pyramid import write_label_tiff, write_label_zarr
from ..slides.writers.overview import write_overview
from ..slides.writers.parquet import read_tables, write_parquet
from ..slides.writers.summary import Run, write_summary
from .predict import failures_named

_OVERVIEW_SIDE = 2048  # px of the longer side, about
_TOO_LARGE = "lower SLIDE.TILE and MODEL.SLIDING_WINDOW.BATCH"


@dataclass(frozen=True)
class SlideOptions:
    """
    Attributes:
        mpp: µm/px of the slides in place of what they say.
        mask: a file of the tissue; None: it is looked for.
        whole: take the whole slide for tissue.
        geojson_per_chunk: write a GeoJSON file per chunk in place of one.
        ome_tiff: write the labels as OME-TIFF, too.
        most_bad: share of the tissue above which tiles that cannot be read fail a slide.
        as_json: tell the progress in lines of JSON.
        cache: where slides from stores are copied to, and results for stores are made.
    """

    mpp: float | None = None
    mask: AnyPath | None = None
    whole: bool = False
    geojson_per_chunk: bool = False
    ome_tiff: bool = False
    most_bad: float = 0.001
    as_json: bool = False
    cache: SlideCache = field(default_factory=SlideCache)


def segment_slides(
    slides: Sequence[AnyPath],
    output: AnyPath,
    config_file: str,
    overrides: Sequence[str],
    options: SlideOptions,
) -> dict[AnyPath, str]:
    """Find the nuclei of slides; one that fails stops no other.

    Args:
        slides: files, or URLs.
        output: gets a folder for each, called by its name without the suffix.
        config_file: of stage 2.
        overrides: key, value, key, value, …
        options: of all slides.

    Returns:
        Why it failed, by slide that did.

    Raises:
        UserError: an argument cannot be used, or the disk is full.
    """
    check_output(output)
    folders = slide_folders(slides, output)
    predictor = slide_predictor(config_file, overrides=overrides)
    failures = {}
    for slide, folder in folders.items():
        try:
            with failures_named(slide, _TOO_LARGE):
                print(f"{slide.name}: {segment_slide(predictor, slide, folder, options)}")
        except DiskError:  # every other slide would fail, too
            raise
        except UserError as error:
            failures[slide] = str(error)
    if failures:
        print(f"error: {len(failures)} of {len(slides)} slides failed:", file=sys.stderr)
        print(*failures.values(), sep="\n", file=sys.stderr)
    return failures


def slide_folders(slides: Sequence[AnyPath], output: AnyPath) -> dict[AnyPath, AnyPath]:
    """The folder of each slide's results.

    Raises:
        UserError: two slides have one name, or a folder is a slide.
    """
    counts = Counter(slide.stem for slide in slides)
    for slide in slides:
        if counts[slide.stem] > 1:
            same = ", ".join(str(each) for each in slides if each.stem == slide.stem)
            raise UserError(f"{same} have one name, and so one folder: run them with two --output")
        if isinstance(slide, RemotePath) or isinstance(output, RemotePath):
            continue
        # A MIRAX slide's pixels lie beside it, in a folder of its name.
        pixels = slide.with_suffix("") if slide.suffix.lower() == ".mrxs" else slide
        if (output / slide.stem).resolve().is_relative_to(pixels.resolve()):
            raise UserError(f"--output {output} lies in the slide {slide}: name another folder")
    return {slide: output / slide.stem for slide in slides}


def segment_slide(
    predictor: NucleusPredictor, slide: AnyPath, folder: AnyPath, options: SlideOptions
) -> str:
    """Make the files of a slide that are not there.

    Returns:
        Its status: done, empty (no nuclei) or partial (tiles could not be read).

    Raises:
        UserError: see `open_slide`, or the folder holds results of another run.
    """
    model_mpp = 10 / predictor.cfg.INPUT.MAGNIFICATION
    with (
        results_of(folder, options.cache.folder) as results,
        fetched(slide, options.cache) as path,
        open_slide(path, model_mpp=model_mpp, mpp=options.mpp) as reader,
    ):
        tissue = choose_tissue(reader, options)
        results.start_record(describe(predictor.cfg, predictor.model, reader, tissue))
        if not results.are_there:
            SlideResults(predictor, reader, tissue, results.folder, options).write_missing()
        return results.status()


def choose_tissue(reader: SlideReader, options: SlideOptions) -> TissueMask:
    """The tissue of a slide as the options say."""
    if options.mask is not None:
        with copied(options.mask, options.cache) as mask:
            return read_tissue(mask, reader)
    return whole_slide(reader) if options.whole else find_tissue(reader)


class SlideResults:
    """The files of one slide: nuclei.parquet first, and all others from it."""

    def __init__(
        self,
        predictor: NucleusPredictor,
        reader: SlideReader,
        tissue: TissueMask,
        folder: Path,
        options: SlideOptions,
    ) -> None:
        self._predictor, self._reader, self._tissue = predictor, reader, tissue
        self._folder, self._options = folder, options
        self._nuclei = folder / "nuclei.parquet"
        self._parts = folder / "parts"

    def write_missing(self) -> None:
        """Write what is not there; the summary comes last, and then the parts are not needed."""
        summary = self._folder / "summary.json"
        run = None if self._nuclei.is_file() and summary.is_file() else self._find_nuclei()
        for name, write in self._writers().items():
            if not (self._folder / name).exists():
                write(self._folder / name)
        if run is not None:
            write_summary(self._tables(), summary, run, self._predictor.classes)
        shutil.rmtree(self._parts, ignore_errors=True)

    def _find_nuclei(self) -> Run:
        cfg, reader, tissue = self._predictor.cfg, self._reader, self._tissue
        model: CFRSAM = self._predictor.model
        lattice = Lattice(*reader.size, cfg.SLIDE.TILE, cfg.SLIDE.HALO, model.sliding_window)
        mm2 = {chunk: tissue.mm2_in(*chunk.box) for chunk in lattice.chunks()}
        progress = Progress(reader.path.name, mm2, as_json=self._options.as_json)
        job = SlideJob(
            model=model,
            class_names=self._predictor.classes,
            reader=reader,
            tissue=tissue,
            lattice=lattice,
            folder=self._parts,
            progress=progress,
            most_bad=self._options.most_bad,
        )
        on_gpu = model.device.type == "cuda"
        with ReadAhead(reader, cfg.SLIDE.READERS, pin=on_gpu) as regions:
            write_parquet(job.find_nuclei(regions), self._nuclei)
        return Run(
            slide=reader.properties,
            mpp=reader.mpp,
            mpp_source=reader.mpp_source,
            tissue_mm2=tissue.mm2,
            seconds=progress.seconds,
            resumed=progress.resumed,
            seconds_waited=regions.seconds_waited,
            unreadable=reader.bad_tiles,
        )

    def _writers(self) -> dict[str, Callable[[Path], None]]:
        """What writes each file, by name."""
        reader, tissue, tables = self._reader, self._tissue, self._tables
        colors, origin, mpp = self._predictor.colors, reader.origin, reader.slide_mpp
        labels = self._folder / "labels.ome.zarr"
        writers: dict[str, Callable[[Path], None]] = {
            "tissue.geojson": lambda path: write_tissue(tissue.polygons(), path, origin),
            "overview.jpg": self._write_overview,
            "labels.ome.zarr": lambda path: write_label_zarr(
                tables(), path, size=reader.size, scale=reader.scale, mpp=mpp
            ),
            "nuclei.zarr": self._write_spatial,
        }
        if self._options.geojson_per_chunk:
            writers["nuclei_geojson"] = lambda path: write_geojson_per_chunk(
                tables(), path, colors, origin
            )
        else:
            writers["nuclei.geojson.gz"] = lambda path: write_geojson(
                tables(), path, colors, origin
            )
        if self._options.ome_tiff:
            writers["labels.ome.tiff"] = lambda path: write_label_tiff(labels, path, mpp)
        return writers

    def _tables(self) -> Iterator[pa.Table]:
        """The nuclei, chunk by chunk."""
        return read_tables(self._nuclei)

    def _write_overview(self, path: Path) -> None:
        reader = self._reader
        mpp = max(max(reader.level0_size) * reader.mpp / _OVERVIEW_SIDE, reader.slide_mpp)
        picture = reader.overview(mpp)
        px_of_level_0 = reader.level0_size[0] / picture.shape[1]
        write_overview(
            self._tables(),
            path,
            picture=picture,
            px_of_level_0=px_of_level_0,
            mpp=px_of_level_0 * reader.mpp,
        )

    def _write_spatial(self, path: Path) -> None:
        """Where SpatialData is not installed there is no such file."""
        try:
            from ..slides.writers.spatial import write_spatial
        except ModuleNotFoundError as error:
            print(
                f"{path.name} is left out, as {error.name} is not installed: "
                "`pip install 'cfrsam_d2[spatial]'`",
                file=sys.stderr,
            )
            return
        tissue = list(self._tissue.polygons().geoms)
        write_spatial(self._tables(), path, tissue=tissue, mpp=self._reader.mpp)
