"""What `tools/slides.py` does: slides in, a folder of files for each out."""

import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import UserError
from ..files import folder_lock
from ..modeling.meta_arch import CFRSAM
from ..predictor import NucleusPredictor
from ..slides.job import SlideJob
from ..slides.lattice import Lattice
from ..slides.parts import WHOLE, Share
from ..slides.progress import Progress
from ..slides.read_ahead import ReadAhead
from ..slides.reader import SlideReader, open_slide
from ..slides.record import describe, start_record
from ..slides.slide_list import ListedSlide
from ..slides.tissue import TissueMask, find_tissue, read_tissue, whole_slide
from ..slides.writers.geojson import write_geojson, write_geojson_per_chunk, write_tissue
from ..slides.writers.label_pyramid import write_label_tiff, write_label_zarr
from ..slides.writers.overview import write_overview
from ..slides.writers.parquet import write_parquet
from ..slides.writers.summary import Run, Status, read_found, write_summary

_OVERVIEW_SIDE = 2048  # px of the longer side, about
SUMMARY = "summary.json"  # comes last


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
        bar: else show a bar.
    """

    mpp: float | None = None
    mask: Path | None = None
    whole: bool = False
    geojson_per_chunk: bool = False
    ome_tiff: bool = False
    most_bad: float = 0.001
    as_json: bool = False
    bar: bool = True


def slide_folders(slides: Sequence[ListedSlide], output: Path) -> dict[ListedSlide, Path]:
    """The folder of each slide's results.

    Raises:
        UserError: two slides have one name, or a folder is a slide.
    """
    counts = Counter(slide.path.stem for slide in slides)
    for path in (slide.path for slide in slides):
        if counts[path.stem] > 1:
            same = ", ".join(str(each.path) for each in slides if each.path.stem == path.stem)
            raise UserError(f"{same} have one name, and so one folder: run them with two --output")
        if output.resolve().is_relative_to(path.resolve()):
            raise UserError(f"--output {output} lies in the slide {path}: name another folder")
    return {slide: output / slide.path.stem for slide in slides}


def check_model(predictor: NucleusPredictor) -> None:
    """
    Raises:
        UserError: it predicts no masks, or its resolution is not known.
    """
    if not isinstance(predictor.model, CFRSAM):
        raise UserError("the config is of stage 1, which predicts points: name one of stage 2")
    if predictor.cfg.MODEL.PROPOSAL_GENERATOR.NAME == "BoxProposalGenerator":
        raise UserError(
            "MODEL.PROPOSAL_GENERATOR.NAME prompts with boxes, and slides are segmented by points: "
            "name a config of CentroidProposalGenerator"
        )
    if not predictor.cfg.INPUT.MAGNIFICATION:
        raise UserError(
            "INPUT.MAGNIFICATION, at which the model works, is 0: set it, to 40 for PanNuke's"
        )


def segment_slide(
    predictor: NucleusPredictor, slide: Path, folder: Path, options: SlideOptions
) -> Status:
    """Make the files of a slide that are not there.

    Returns:
        Its status: done, empty (no nuclei) or partial (tiles could not be read).

    Raises:
        UserError: see `open_slide`, or the folder holds results of another run.
    """
    with _opened(predictor, slide, folder, options) as (results, record):
        start_record(folder, record)
        results.write_missing()
    return read_found(folder / SUMMARY).status


def make_parts(
    predictor: NucleusPredictor,
    slide: Path,
    folder: Path,
    options: SlideOptions,
    stage: str,
    share: Share,
) -> None:
    """Make the parts of a share of a slide's chunks, while other processes make the others'.

    Args:
        predictor, slide, folder, options: as of `segment_slide`, which comes after it.
        stage: "points", or "masks" when the points of all chunks are there.
        share: of the chunks.

    Raises:
        UserError: as of `segment_slide`.
    """
    if (folder / SUMMARY).is_file():
        return
    with _opened(predictor, slide, folder, options) as (results, record):
        with folder_lock(folder):
            start_record(folder, record)
        results.make_parts(stage, share)


@contextmanager
def _opened(
    predictor: NucleusPredictor, slide: Path, folder: Path, options: SlideOptions
) -> Iterator[tuple["SlideResults", dict[str, Any]]]:
    """The results of a slide, and the record of what they follow from."""
    model_mpp = 10 / predictor.cfg.INPUT.MAGNIFICATION
    with open_slide(slide, model_mpp=model_mpp, mpp=options.mpp) as reader:
        tissue = choose_tissue(reader, options)
        record = describe(predictor.cfg, predictor.model, reader, tissue)
        yield SlideResults(predictor, reader, tissue, folder, options), record


def choose_tissue(reader: SlideReader, options: SlideOptions) -> TissueMask:
    """The tissue of a slide as the options say."""
    if options.mask is not None:
        return read_tissue(options.mask, reader)
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
        summary = self._folder / SUMMARY
        run = None if self._nuclei.is_file() and summary.is_file() else self._find_nuclei()
        for name, write in self._writers().items():
            if not (self._folder / name).exists():
                write(self._folder / name)
        if run is not None:
            write_summary(self._tables(), summary, run, self._predictor.classes)
        shutil.rmtree(self._parts, ignore_errors=True)

    def make_parts(self, stage: str, share: Share) -> None:
        """Make the parts of a share of the chunks; of "masks" when all of "points" are there."""
        job = self._job(share)
        with self._regions() as regions:
            if stage == "points":
                job.find_points(regions)
            else:
                job.cut_masks(regions, job.kept_points())

    def _find_nuclei(self) -> Run:
        job, reader, tissue = self._job(), self._reader, self._tissue
        with self._regions() as regions:
            write_parquet(job.find_nuclei(regions), self._nuclei)
        return Run(
            slide=reader.properties,
            mpp=reader.mpp,
            mpp_source=reader.mpp_source,
            tissue_mm2=tissue.mm2,
            seconds=job.progress.seconds,
            resumed=job.progress.resumed,
            seconds_waited=regions.seconds_waited,
            unreadable=reader.bad_tiles,
        )

    def _job(self, share: Share = WHOLE) -> SlideJob:
        cfg, reader, tissue = self._predictor.cfg, self._reader, self._tissue
        model: CFRSAM = self._predictor.model
        lattice = Lattice(*reader.size, cfg.SLIDE.TILE, cfg.SLIDE.HALO, model.sliding_window)
        mm2 = {chunk: tissue.mm2_in(*chunk.box) for chunk in lattice.chunks()}
        options = self._options
        return SlideJob(
            model=model,
            class_names=self._predictor.classes,
            reader=reader,
            tissue=tissue,
            lattice=lattice,
            folder=self._parts,
            progress=Progress(reader.path.name, mm2, as_json=options.as_json, bar=options.bar),
            most_bad=options.most_bad,
            share=share,
        )

    def _regions(self) -> ReadAhead:
        return ReadAhead(self._reader, self._predictor.cfg.SLIDE.READERS)

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
        try:
            with pq.ParquetFile(self._nuclei) as file:
                for number in range(file.num_row_groups):
                    yield file.read_row_group(number)
        except (OSError, pa.ArrowException) as error:
            raise UserError(
                f"{self._nuclei} is damaged ({error}): delete it and run again"
            ) from error

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
