"""What `tools/slides.py` does with its slides: each by a worker; one that fails stops no other."""

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ..engine import load_config
from ..errors import DiskError, UserError
from ..model_zoo import small_model
from ..predictor import NucleusPredictor, slide_predictor
from ..remote_path import AnyPath
from ..slides.fleet.local import LocalCrew
from ..slides.fleet.on_ray import RayCrew
from ..slides.fleet.own import OwnCrew
from ..slides.fleet.schedule import run_fleet
from ..slides.fleet.table import FleetTable, Row
from ..slides.fleet.tasks import STAGES, Crew, Outcome, Task
from ..slides.parts import WHOLE, Share
from ..slides.read_ahead import ReadHangs
from ..slides.slide_list import ListedSlide, largest_first
from ..slides.uploads import check_output
from .predict import failures_named
from .slides import (
    SlideOptions,
    make_parts,
    segment_slide,
    slide_folders,
)

_TOO_LARGE = "lower SLIDE.TILE and MODEL.SLIDING_WINDOW.BATCH"


@dataclass(frozen=True)
class FleetOptions:
    """
    Attributes:
        workers: how many processes; None: one for each of several GPUs, else this one does it
            all (on Ray without GPUs: one for each core).
        ray: address of a cluster whose machines they are on.
        shard: of the slides in order of their names: what this command does.
    """

    workers: int | None = None
    ray: str | None = None
    shard: Share = WHOLE

    @property
    def table(self) -> str:
        """Name of the file about all slides."""
        number, count = self.shard
        return "fleet.csv" if self.shard == WHOLE else f"fleet-{number + 1}-of-{count}.csv"


@dataclass(frozen=True)
class SlideWorkerPlan:
    """The model and options of a worker; arguments as of `segment_slides`."""

    config_file: str
    overrides: Sequence[str]
    options: SlideOptions

    def build(self, *, alone: bool) -> "SlideWorker":
        """
        Args:
            alone: it is the only one; else others have the other cores, and draw no bars, either.

        Raises:
            UserError: the config or its weights cannot be used.
        """
        predictor = slide_predictor(self.config_file, overrides=self.overrides)
        return SlideWorker(predictor, self.options, alone=alone)


class SlideWorker:
    """Segments slides with one model, see `Worker`.

    Attributes:
        predictor: of the model.
    """

    def __init__(self, predictor: NucleusPredictor, options: SlideOptions, *, alone: bool) -> None:
        self.predictor, self._options = predictor, replace(options, bar=alone)
        if not alone and predictor.model.device.type == "cpu":
            torch.set_num_threads(1)

    def __call__(self, task: Task) -> Outcome:
        begun = time.perf_counter()
        try:
            with failures_named(task.slide.path, _TOO_LARGE):
                outcome = self._do(task)
        except DiskError as error:  # every other slide would fail, too
            outcome = Outcome("stopped", reason=str(error))
        except ReadHangs as error:  # the threads that hang go with the process
            outcome = Outcome("lost", reason=str(error))
        except UserError as error:
            outcome = Outcome("failed", reason=str(error))
        return outcome._replace(seconds=time.perf_counter() - begun)

    def _do(self, task: Task) -> Outcome:
        slide, folder = task.slide, task.folder
        options = replace(
            self._options,
            mpp=slide.mpp or self._options.mpp,
            mask=slide.mask or self._options.mask,
        )
        if task.stage != STAGES[-1]:
            assert isinstance(folder, Path)
            make_parts(self.predictor, slide.path, folder, options, task.stage, task.share)
            return Outcome("parts")
        found = segment_slide(self.predictor, slide.path, folder, options)
        return Outcome(found.status, nuclei=found.nuclei, mm2=found.mm2)


def segment_slides(
    slides: Sequence[ListedSlide],
    output: AnyPath,
    config_file: str | None,
    overrides: Sequence[str],
    options: SlideOptions,
    fleet: FleetOptions = FleetOptions(),
) -> list[Row]:
    """Find the nuclei of slides; one that fails stops no other.

    Args:
        slides: in order of their names.
        output: gets a folder for each, called by its name without the suffix, and fleet.csv.
        config_file: of stage 2; None: the small model of the project.
        overrides: key, value, key, value, …
        options: of all slides that have none of their own.
        fleet: who does which of them.

    Returns:
        What has become of those that failed.

    Raises:
        UserError: an argument cannot be used, no worker can start, or the disk is full.
    """
    check_output(output)
    folders = slide_folders(slides, output)
    mine = largest_first(fleet.shard.of(slides))
    plan = SlideWorkerPlan(config_file or small_model(), tuple(overrides), options)
    with _crew(plan, fleet) as crew:
        told = _Told(output / fleet.table, len(mine), as_json=options.as_json)
        run_fleet(crew, {slide: folders[slide] for slide in mine}, told)
    failures = [row for row in told.table.rows if row.status == "failed"]
    if failures:
        print(f"error: {len(failures)} of {len(mine)} slides failed:", file=sys.stderr)
        print(*(row.reason for row in failures), sep="\n", file=sys.stderr)
    return failures


class _Told:
    """Says what has become of each slide, in a table and on the screen."""

    def __init__(self, path: AnyPath, count: int, *, as_json: bool) -> None:
        self.table = FleetTable(path)
        self._count, self._as_json = count, as_json

    def __call__(self, row: Row) -> None:
        self.table.add(row)
        line = f"[{len(self.table.rows)}/{self._count}] {row.slide.name}: {row.status}"
        print(json.dumps(row.cells()) if self._as_json else line, flush=True)


@contextmanager
def _crew(plan: SlideWorkerPlan, fleet: FleetOptions) -> Iterator[Crew]:
    if fleet.ray is not None:
        keys = dict(zip(plan.overrides[::2], plan.overrides[1::2], strict=False))
        on_cpu = keys.get("MODEL.DEVICE") == "cpu"
        with RayCrew(plan, fleet.ray, fleet.workers, cpu=on_cpu) as crew:
            yield crew
        return
    gpus = _gpus(plan)
    if fleet.workers is None and len(gpus) < 2:
        yield OwnCrew(plan)
        return
    with LocalCrew(plan, fleet.workers or len(gpus), gpus) as crew:
        yield crew


def _gpus(plan: SlideWorkerPlan) -> list[str]:
    """Those that workers may share among them, as CUDA_VISIBLE_DEVICES names them."""
    if load_config(plan.config_file, plan.overrides).MODEL.DEVICE != "cuda":
        return []
    names = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    return names.split(",")[:count] if names else [str(number) for number in range(count)]
