#!/usr/bin/env python
"""Whole slides: memory, time, waiting, the merge, bytes and borders.

    python benchmarks/slides.py --source SLIDE [--small 4096] [--large 20000] [--json]

Slides of any size are made from the pixels of SLIDE (mirrored, with tissue of an uneven outline)
and segmented with the small model that comes with the project, each in a process of its own, on the
CPU. The large one takes hours on two cores; a smaller --large says less of memory. What is measured
is printed at once, to stderr, and all of it at the end. Ratios of time are of CPU-seconds, which
other work on the machine changes less.
"""

import hashlib
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cfrsam_d2  # noqa: F401  (first: it sets how threads wait, and may stand in for Detectron2)

# isort: split
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from processes import peak_memory, run_apart
from tabulate import tabulate

from cfrsam_d2.apps.slides import SlideOptions, segment_slide
from cfrsam_d2.command_line import build_parser
from cfrsam_d2.errors import exits_on_user_error
from cfrsam_d2.model_zoo import SMALL_MODEL, get_config_file
from cfrsam_d2.modeling.sliding_window import SlidingWindow
from cfrsam_d2.predictor import NucleusPredictor, slide_predictor
from cfrsam_d2.slides.candidates import SCHEMA, kept_candidates
from cfrsam_d2.slides.geometry import mask_within
from cfrsam_d2.slides.lattice import Box, Chunk, Lattice
from cfrsam_d2.slides.nuclei import measured_nuclei
from cfrsam_d2.slides.parts import Parts
from cfrsam_d2.slides.points import SCHEMA as POINTS
from cfrsam_d2.slides.read_ahead import ReadAhead
from cfrsam_d2.slides.reader import open_slide
from cfrsam_d2.slides.synthetic import SyntheticPlane, write_svs

KEYS = ["MODEL.DEVICE", "cpu", "INPUT.MAGNIFICATION", "40"]
MPP = 0.25  # that the slides say: the model's
REGION, BORDERS, FROM_CUT = 2048, 1536, 256  # px
CANDIDATES = 10**6
WITHOUT_HALO = ["SLIDE.TILE", str(REGION), "SLIDE.HALO", "0"]
KEPT = ("nuclei", "tissue_mm2", "wall", "cpu", "peak", "mm2_per_second", "waiting")
STUB_SECONDS, STUB_BATCH, STUB_BATCHES = 0.05, 8, 100


def predictor(*keys: str) -> NucleusPredictor:
    return slide_predictor(get_config_file(SMALL_MODEL), overrides=[*KEYS, *keys])


def make_slide(source: Path, side: int, folder: Path, *, glass: bool = True) -> Path:
    """A slide of side×side px from the pixels of another."""
    with open_slide(source, model_mpp=MPP, mpp=MPP) as reader:
        pixels = reader.read(0, 0, *reader.size)
    path = folder / f"{side}{'' if glass else '_full'}.svs"
    plane = SyntheticPlane(pixels, (side, side), (242, 242, 242) if glass else None)
    write_svs(path, plane, mpp=MPP)
    return path


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def segment(slide: Path, output: Path, keys: Sequence[str] = ()) -> dict[str, Any]:
    """Segment a slide; its summary, and what it took."""
    finder, whole = predictor(*keys), slide.stem.endswith("_full")
    begun, cpu = time.perf_counter(), cpu_seconds()
    segment_slide(finder, slide, output, SlideOptions(whole=whole, as_json=True))
    used = {"wall": time.perf_counter() - begun, "cpu": cpu_seconds() - cpu}
    summary = json.loads((output / "summary.json").read_bytes())
    digest = hashlib.sha256((output / "nuclei.parquet").read_bytes()).hexdigest()
    return {**summary, **used, "digest": digest, "peak": peak_memory() / 2**30}


def predict_whole(slide: Path) -> float:
    """CPU-seconds that `NucleusPredictor` takes for the pixels of a slide."""
    finder = predictor()
    with open_slide(slide, model_mpp=MPP) as reader:
        pixels = reader.read(0, 0, *reader.size)
    cpu = cpu_seconds()
    finder(pixels)
    return cpu_seconds() - cpu


def waiting(slide: Path) -> float:
    """Share of time that a model of 50 ms a batch of 8 windows waits for two readers."""
    with open_slide(slide, model_mpp=MPP) as reader, ReadAhead(reader, 2) as regions:
        columns, rows = ((side - 256) // 192 for side in reader.size)
        boxes = [
            Box(192 * x, 192 * y, 192 * x + 256, 192 * y + 256)
            for y in range(rows)
            for x in range(columns)
        ][: STUB_BATCH * STUB_BATCHES]
        begun = time.perf_counter()
        stream = regions.read(boxes, lambda box: box, ahead=2 * STUB_BATCH)
        for number, _ in enumerate(stream):
            if number % STUB_BATCH == 0:
                time.sleep(STUB_SECONDS)
        return regions.seconds_waited / (time.perf_counter() - begun)


def merge(folder: Path) -> dict[str, float]:
    """The third pass over a million candidates of 12×12 px, 64 chunks of them, and one of them."""
    side, rng = 8, np.random.default_rng(0)
    lattice = Lattice(3840 * side, 3840 * side, 1024, 256, SlidingWindow(256, 64, 7, 8))
    chunks, parts = lattice.chunks(), Parts(folder / "candidates")
    count = CANDIDATES // len(chunks)
    disc = np.hypot(*np.mgrid[-5.5:6, -5.5:6]) < 6
    for chunk in chunks:
        corners = rng.integers(chunk.box[:2], np.array(chunk.box[2:]) - 12, (count, 2))
        parts.write(chunk, candidate_table(chunk, corners, disc, rng))
    before, cpu = peak_memory(), cpu_seconds()
    kept = kept_candidates(parts, chunks, 0.5)
    decided = cpu_seconds() - cpu
    cpu = cpu_seconds()
    table = parts.read(chunks[0]).take(kept[chunks[0]])
    points = pa.table(
        {
            "x": np.zeros(count),
            "y": np.zeros(count),
            "score": np.zeros(count, np.float32),
            "class_id": np.zeros(count, np.int16),
            "class_probs": pa.nulls(count),
        },
        schema=POINTS,
    )
    measured_nuclei(table, points, (1, 1), class_names=["nucleus"], scale=1.0, mpp=MPP)
    each = (cpu_seconds() - cpu) / len(table) + decided / CANDIDATES
    return {
        "merge_ms_per_nucleus": 1000 * each,
        "million_candidates_seconds": decided,
        "million_candidates_gb": (peak_memory() - before) / 2**30,
    }


def candidate_table(
    chunk: Chunk, corners: np.ndarray, mask: np.ndarray, rng: np.random.Generator
) -> pa.Table:
    count = len(corners)
    return pa.table(
        {
            "point": chunk.number * count + np.arange(count),
            "score": rng.random(count).astype(np.float32),
            "class_id": np.zeros(count, np.int16),
            "x0": corners[:, 0],
            "y0": corners[:, 1],
            "x1": corners[:, 0] + mask.shape[1],
            "y1": corners[:, 1] + mask.shape[0],
            "area": np.full(count, mask.sum()),
            "hematoxylin_mean": np.zeros(count, np.float32),
            "hematoxylin_std": np.zeros(count, np.float32),
            "bits": [np.packbits(mask).tobytes()] * count,
        },
        schema=SCHEMA,
    )


def borders(slide: Path, output: Path) -> dict[str, float]:
    """Tiles against one image: the nuclei far from the cut that have a partner, its class and mask.

    A partner has an IoU of at least 0.5.
    """
    finder = predictor("SLIDE.TILE", "512", "SLIDE.HALO", "256")
    segment_slide(finder, slide, output, SlideOptions(whole=True, as_json=True))
    table = pq.read_table(output / "nuclei.parquet")
    masks = [mask_within(each, 1.0) for each in shapely.from_wkb(table["geometry"].to_numpy())]
    tree = shapely.STRtree([shapely.box(*mask.box) for mask in masks])
    classes = table["class_id"].to_pylist()
    with open_slide(slide, model_mpp=MPP) as reader:
        whole = finder(reader.read(0, 0, *reader.size))
    count, ious, same_class = 0, [], 0
    far = shapely.box(FROM_CUT, FROM_CUT, BORDERS - FROM_CUT, BORDERS - FROM_CUT)
    for mask, category in zip(whole.pred_masks, whole.pred_classes.tolist(), strict=True):
        box = shapely.box(*mask.box)
        if far.contains(box):
            count += 1
            near = [(mask.iou(masks[row]), row) for row in tree.query(box)]
            best, row = max(near, default=(0.0, -1))
            if best >= 0.5:
                ious.append(best)
                same_class += classes[row] == category
    return {
        "nuclei_at_borders": count,
        "matched_at_borders": len(ious) / count,
        "same_class_at_borders": same_class / count,
        "same_mask_at_borders": ious.count(1.0) / count,
    }


def same_bytes(slide: Path, folder: Path) -> bool:
    """Whether windows by one or eight, and one or four readers, give the same nuclei.parquet."""
    digests = set()
    for number, (batch, readers) in enumerate(((8, 1), (1, 4))):
        keys = ["MODEL.SLIDING_WINDOW.BATCH", str(batch), "SLIDE.READERS", str(readers)]
        digests.add(run_apart(segment, slide, folder / f"bytes{number}", keys)["digest"])
    return len(digests) == 1


def measurements(source: Path, small: int, large: int) -> Iterator[dict[str, Any]]:
    """All of them, each as soon as it is there."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        full = run_apart(make_slide, source, REGION, folder, glass=False)
        yield {"waiting": run_apart(waiting, full)}
        yield run_apart(merge, folder)
        alone = run_apart(predict_whole, full)
        for name, keys in (("", []), ("_without_halo", WITHOUT_HALO)):
            cpu = run_apart(segment, full, folder / f"full{name}", keys)["cpu"]
            yield {f"cpu_over_predictor{name}": cpu / alone}
        region = run_apart(make_slide, source, BORDERS, folder, glass=False)
        yield run_apart(borders, region, folder / "borders")
        yield {"same_bytes": same_bytes(region, folder)}
        taken = []
        for name, side in (("small", small), ("large", large)):
            slide = run_apart(make_slide, source, side, folder)
            taken.append(run_apart(segment, slide, folder / name))
            yield {f"{name}_{key}": taken[-1][key] for key in KEPT}
    per_mm2 = [each["cpu"] / each["tissue_mm2"] for each in taken]
    yield {
        "memory_ratio": taken[1]["peak"] / taken[0]["peak"],
        "time_ratio": per_mm2[1] / per_mm2[0],
    }


@exits_on_user_error
def main(arguments: Sequence[str] | None = None) -> None:
    parser = build_parser(__doc__)
    parser.add_argument("--source", type=Path, required=True, help="a slide of real tissue")
    parser.add_argument("--small", type=int, default=4096, help="px of a side")
    parser.add_argument("--large", type=int, default=20000, help="px of a side")
    parser.add_argument("--json", action="store_true", help="print exact numbers as JSON")
    args = parser.parse_args(arguments)
    result: dict[str, Any] = {}
    for measured in measurements(args.source, args.small, args.large):
        print(tabulate(measured.items(), tablefmt="plain"), file=sys.stderr, flush=True)
        result |= measured
    print(json.dumps(result, indent=2) if args.json else tabulate(result.items(), floatfmt=".4f"))


if __name__ == "__main__":
    main()
