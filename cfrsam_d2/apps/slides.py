"""What `tools/slides.py` does: slides in, a folder of files for each out."""

import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..errors import UserError
from ..files import folder_lock
from ..memory import give_back_memory
from ..modeling.meta_arch import CFRSAM
from ..predictor import NucleusPredictor
from ..remote_path import AnyPath, RemotePath
from ..slides.job import SlideJob
from ..slides.lattice import Lattice
from ..slides.parts import WHOLE, Share
from ..slides.progress import Progress
from ..slides.read_ahead import ReadAhead
from ..slides.reader import SlideReader, open_slide
from ..slides.record import describe, start_record
from ..slides.slide_cache import SlideCache, copied, fetched
from ..slides.slide_list import ListedSlide
from ..slides.tissue import TissueMask, find_tissue, read_tissue, whole_slide
from ..slides.uploads import results_of
from ..slides.writers.geojson import write_geojson, write_geojson_per_chunk, write_tissue
from ..slides.writers.label_pyramid import write_label_tiff, write_label_zarr
from ..slides.writers.overview import write_overview
from ..slides.writers.parquet import read_tables, write_parquet
from ..slides.writers.summary import SUMMARY_NAME, Found, Run, write_summary

_OVERVIEW_SIDE = 2048  # px of the longer side, about


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
        cache: where slides from stores are copied to, and results for stores are made.
    """

    mpp: float | None = None
    mask: AnyPath | None = None
    whole: bool = False
    geojson_per_chunk: bool = False
    ome_tiff: bool = False
    most_bad: float = 0.001
    as_json: bool = False
    bar: bool = True
    cache: SlideCache = field(default_factory=SlideCache)


def slide_folders(slides: Sequence[ListedSlide], output: AnyPath) -> dict[ListedSlide, AnyPath]:
    """The folder of each slide's results.

    Raises:
        UserError: two slides have one name, or a folder is a slide.
    """
    counts = Counter(slide.path.stem for slide in slides)
    for path in (slide.path for slide in slides):
        if counts[path.stem] > 1:
            same = ", ".join(str(each.path) for each in slides if each.path.stem == path.stem)
            raise UserError(f"{same} have one name, and so one folder: run them with two --output")
        if isinstance(path, RemotePath) or isinstance(output, RemotePath):
            continue
        # A MIRAX slide's pixels lie beside it, in a folder of its name.
        pixels = path.with_suffix("") if path.suffix.lower() == ".mrxs" else path
        if (output / path.stem).resolve().is_relative_to(pixels.resolve()):
            raise UserError(f"--output {output} lies in the slide {path}: name another folder")
    return {slide: output / slide.path.stem for slide in slides}


def segment_slide(
    predictor: NucleusPredictor, slide: AnyPath, folder: AnyPath, options: SlideOptions
) -> Found:
    """Make the files of a slide that are not there.

    Returns:
        What was found.

    Raises:
        UserError: see `open_slide`, or the folder holds results of another run.
    """
    with (
        results_of(folder, options.cache.folder) as results,
        _opened(predictor, slide, results.folder, options) as (files, record),
    ):
        results.start_record(record)
        if not results.are_there:
            files.write_missing()
        return results.found()


def make_parts(
    predictor: NucleusPredictor,
    slide: AnyPath,
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
    if (folder / SUMMARY_NAME).is_file():
        return
    with _opened(predictor, slide, folder, options) as (files, record):
        with folder_lock(folder):
            start_record(folder, record)
        files.make_parts(stage, share)


@contextmanager
def _opened(
    predictor: NucleusPredictor, slide: AnyPath, folder: Path, options: SlideOptions
) -> Iterator[tuple["SlideResults", dict[str, Any]]]:
    """The files of a slide, and the record of what they follow from."""
    model_mpp = 10 / predictor.cfg.INPUT.MAGNIFICATION
    with (
        fetched(slide, options.cache) as path,
        open_slide(path, model_mpp=model_mpp, mpp=options.mpp) as reader,
    ):
        tissue = choose_tissue(reader, options)
        record = describe(predictor.cfg, predictor.model, reader, tissue)
        yield SlideResults(predictor, reader, tissue, folder, options), record


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
        summary = self._folder / SUMMARY_NAME
        run = None if self._nuclei.is_file() and summary.is_file() else self._find_nuclei()
        for name, write in self._writers().items():
            if not (self._folder / name).exists():
                give_back_memory()
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
        on_gpu = self._predictor.model.device.type == "cuda"
        return ReadAhead(self._reader, self._predictor.cfg.SLIDE.READERS, pin=on_gpu)

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
