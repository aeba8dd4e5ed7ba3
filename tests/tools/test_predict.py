"""The command line, on a model whose nuclei are known and on tiny real ones."""

import errno
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import geojson
import numpy as np
import pytest
import shapely
import tifffile
import torch
from detectron2.config import CfgNode
from detectron2.modeling import META_ARCH_REGISTRY, build_model
from detectron2.structures import Boxes, Instances
from PIL import Image
from torch import nn

from cfrsam_d2.data.coco import load_nucleus_json
from cfrsam_d2.data.synthetic import SYNTHETIC_CLASSES
from cfrsam_d2.engine import load_config
from cfrsam_d2.structures.masks import BoxMasks
from cfrsam_d2.structures.rle import decode_mask

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs" / "train_demo"
sys.path.insert(0, str(ROOT / "tools"))
import predict as tool  # noqa: E402

ALL_FORMATS = ["geojson", "csv", "tiff", "npy", "coco", "overlay"]
DARK = 60


@META_ARCH_REGISTRY.register()
class DarkParts(nn.Module):
    """Every connected dark part of an image is a nucleus; the larger, the better its score."""

    calls = 0

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__()
        self.mask_head = nn.Linear(1, 1)

    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Instances]]:
        DarkParts.calls += 1
        (image,) = (each["image"] for each in batched_inputs)
        dark = (image[0].numpy() <= DARK).astype(np.uint8)
        count, parts, stats, centroids = cv2.connectedComponentsWithStats(dark)
        frames = torch.from_numpy(parts) == torch.arange(1, count)[:, None, None]
        area = torch.from_numpy(stats[1:, cv2.CC_STAT_AREA]).float()
        nuclei = Instances(
            dark.shape,
            pred_masks=BoxMasks.from_frames(frames),
            pred_points=torch.from_numpy(centroids[1:]).float(),
            pred_classes=torch.arange(count - 1) % 3,
            scores=area / area.sum(),
            pred_boxes=Boxes(torch.zeros(count - 1, 4)),
        )
        return [{"instances": nuclei}]


def picture(height: int, width: int, *discs: tuple[int, int, int]) -> np.ndarray:
    image = np.full((height, width, 3), 220, dtype=np.uint8)
    for x, y, radius in discs:
        cv2.circle(image, (x, y), radius, (DARK, 20, 90), cv2.FILLED)
    return image


IMAGES = {
    "tile.png": picture(60, 80, (20, 20, 9), (60, 30, 5), (0, 59, 7)),
    "deep/scan.tif": picture(33, 301, (150, 16, 12)),
    "empty.jpg": picture(40, 40),
}


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    for name, image in IMAGES.items():
        Image.fromarray(image).save(folder / name)
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Path]:
    """A function: arguments of the tool to the folder of the results."""
    config, weights, output = tmp_path / "dark.yaml", tmp_path / "dark.pth", tmp_path / "out"
    state_dict = {"mask_head.weight": torch.zeros(1, 1), "mask_head.bias": torch.zeros(1)}
    torch.save({"model": state_dict}, weights)
    config.write_text(
        f"VERSION: 2\nMODEL: {{META_ARCHITECTURE: DarkParts, WEIGHTS: {weights}, DEVICE: cpu, "
        "PROMPT_LEARNER: {NUM_CLASSES: 3}}\nDATASETS: {TEST: [synthetic_test]}\n"
    )

    def predict(path: Path, *arguments: str) -> Path:
        switches = ["--config-file", str(config), "--output", str(output)]
        tool.main([str(path), *switches, *arguments])
        return output

    DarkParts.calls = 0
    return predict


def assert_iou(actual: np.ndarray, expected: np.ndarray) -> None:
    """The bar for nuclei of more than 30 px."""
    assert expected.sum() > 30
    assert (actual & expected).sum() / (actual | expected).sum() >= 0.98


def test_all_files_hold_the_nuclei(inputs: Path, run: Callable[..., Path]) -> None:
    output = run(inputs, "--formats", *ALL_FORMATS)
    written = sorted(str(path.relative_to(output)) for path in output.rglob("*") if path.is_file())
    endings = (".csv", ".geojson", ".npy", ".tiff", "_overlay.png")
    names = ("deep/scan", "empty", "tile")
    assert written == sorted(
        ["config.yaml", "nuclei.json"]
        + [f".coco/{name}.json" for name in names]
        + [f"{name}{ending}" for name in names for ending in endings]
    )
    images = load_nucleus_json(output / "nuclei.json", inputs)
    for name, coco in zip(names, images, strict=True):
        image = str(Path(coco["file_name"]).relative_to(inputs).as_posix())
        assert image.startswith(f"{name}.")
        dark = IMAGES[image][:, :, 0] <= DARK
        labels = tifffile.imread(output / f"{name}.tiff")
        np.testing.assert_array_equal(labels > 0, dark)
        np.testing.assert_array_equal(np.load(output / f"{name}.npy"), labels)
        features = geojson.loads((output / f"{name}.geojson").read_text())
        assert features.is_valid
        rows = (output / f"{name}.csv").read_text().splitlines()[1:]
        assert len(rows) == len(features.features) == len(coco["annotations"]) == labels.max()
        y, x = np.mgrid[: dark.shape[0], : dark.shape[1]] + 0.5
        for label, feature in enumerate(features.features, start=1):
            polygon = shapely.geometry.shape(feature.geometry)
            assert_iou(shapely.contains_xy(polygon, x, y), labels == label)
            segmentation = coco["annotations"][label - 1]["segmentation"]
            np.testing.assert_array_equal(
                decode_mask(segmentation).frame(*labels.shape), labels == label
            )
            assert rows[label - 1].endswith(f",{(labels == label).sum()}")
            name_of_class = feature.properties["classification"]["name"]
            assert rows[label - 1].startswith(f"{label},{name_of_class},")
            assert name_of_class in SYNTHETIC_CLASSES
        with Image.open(output / f"{name}_overlay.png") as overlay:
            assert min(overlay.size) > 40


def test_unreadable_files_are_listed_and_the_others_written(
    inputs: Path, run: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (inputs / "tile.png").read_bytes()
    (inputs / "cut.png").write_bytes(whole[: len(whole) // 2])
    (inputs / "page.tif").write_text("<html>")
    with pytest.raises(SystemExit) as stop:
        run(inputs, "--formats", "coco", "csv")
    assert stop.value.code == 1
    printed = capsys.readouterr()
    assert "Results of 3 images are in" in printed.out
    *_, title, first, second = printed.err.splitlines()
    assert title == "error: 2 of 5 images failed:"
    assert first.startswith(f"{inputs / 'cut.png'} cannot be read as an image")
    assert second.startswith(f"{inputs / 'page.tif'} cannot be read as an image")
    images = load_nucleus_json(tmp_path / "out" / "nuclei.json", inputs)
    assert [Path(image["file_name"]).name for image in images] == [
        "scan.tif",
        "empty.jpg",
        "tile.png",
    ]
    assert not (tmp_path / "out" / "cut.csv").exists()


def test_an_image_that_does_not_fit_into_memory_is_listed_and_the_others_written(
    inputs: Path,
    run: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    forward = DarkParts.forward
    of_machine = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: "
    for error in (
        MemoryError("Unable to allocate 25.0 GiB for an array"),
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 25.00 GiB."),
        RuntimeError(f"{of_machine}can't allocate memory: you tried to allocate 25 bytes."),
        RuntimeError(f"{of_machine}not enough memory: you tried to allocate 25 bytes."),
        cv2.error("alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 25 bytes"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("std::bad_alloc"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ):

        def too_large(model: DarkParts, batched_inputs: list[dict[str, Any]], error=error) -> list:
            if batched_inputs[0]["width"] > 300:
                raise error
            return forward(model, batched_inputs)

        monkeypatch.setattr(DarkParts, "forward", too_large)
        with pytest.raises(SystemExit) as stop:
            run(inputs, "--formats", "csv")
        assert stop.value.code == 1
        printed = capsys.readouterr()
        assert "Results of 2 images are in" in printed.out
        message = f"{inputs / 'deep' / 'scan.tif'} does not fit into memory: cut it into tiles"
        assert printed.err.splitlines()[-1] == message


def test_a_defect_is_a_failure_of_its_image(
    inputs: Path,
    run: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    forward = DarkParts.forward

    def broken(model: DarkParts, batched_inputs: list[dict[str, Any]]) -> list:
        if batched_inputs[0]["width"] > 300:
            raise RuntimeError("shapes\ndo not match")
        return forward(model, batched_inputs)

    monkeypatch.setattr(DarkParts, "forward", broken)
    with pytest.raises(SystemExit) as stop:
        run(inputs)
    assert stop.value.code == 1
    printed = capsys.readouterr()
    assert "Results of 2 images are in" in printed.out
    message = f"{inputs / 'deep' / 'scan.tif'} failed (RuntimeError: shapes do not match): leave it"
    assert printed.err.splitlines()[-1].startswith(message)


def test_a_name_that_is_too_long_is_a_failure_of_its_image(
    inputs: Path, run: Callable[..., Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (inputs / "tile.png").rename(inputs / f"{'t' * 250}.png")
    with pytest.raises(SystemExit) as stop:
        run(inputs)
    assert stop.value.code == 1
    assert "(File name too long): give it a shorter name" in capsys.readouterr().err
    names = sorted(path.name for path in (tmp_path / "out").rglob("*.*"))
    assert names == ["config.yaml", "empty.csv", "empty.geojson", "scan.csv", "scan.geojson"]


def test_resume_predicts_what_is_not_complete(inputs: Path, run: Callable[..., Path]) -> None:
    output = run(inputs, "--formats", "csv", "coco")
    assert DarkParts.calls == 3
    merged = (output / "nuclei.json").read_bytes()
    (output / "nuclei.json").unlink()
    (output / "tile.csv").unlink()  # as if the run had been killed
    run(inputs, "--formats", "csv", "coco", "--resume")
    assert DarkParts.calls == 4
    assert (output / "tile.csv").is_file()
    assert (output / "nuclei.json").read_bytes() == merged
    run(inputs, "--formats", "csv", "npy", "--resume")  # another format is missing everywhere
    assert DarkParts.calls == 7
    run(inputs, "--formats", "csv", "npy")
    assert DarkParts.calls == 10


def test_what_a_killed_run_left_is_gone_when_it_is_run_again(
    inputs: Path, run: Callable[..., Path]
) -> None:
    complete = {path.name for path in run(inputs).iterdir()}
    for left in (".tile.csv.partial", ".config.yaml.partial"):
        (inputs.parent / "out" / left).write_text("half")
    assert {path.name for path in run(inputs).iterdir()} == complete


def test_results_of_another_config_are_not_resumed(
    inputs: Path, run: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run(inputs, "SEED", "1")
    with pytest.raises(SystemExit) as stop:
        run(inputs, "--resume", "SEED", "2")
    assert stop.value.code == 2
    assert "config.yaml is of a run with another config" in capsys.readouterr().err


def test_the_magnification_of_the_images(
    inputs: Path,
    run: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    forward, seen = DarkParts.forward, []

    def record(model: DarkParts, batched_inputs: list[dict[str, Any]]) -> list[dict]:
        (each,) = batched_inputs
        seen.append((tuple(each["image"].shape[1:]), (each["height"], each["width"])))
        return forward(model, batched_inputs)

    monkeypatch.setattr(DarkParts, "forward", record)
    arguments = ("--formats", "csv", "--magnification", "20", "INPUT.MAGNIFICATION", "40")
    run(inputs / "tile.png", *arguments)
    assert seen == [((120, 160), (60, 80))]
    run(inputs / "tile.png", "--resume", *arguments)
    assert len(seen) == 1
    for others in (("--magnification", "10"), ()):
        with pytest.raises(SystemExit):
            run(inputs / "tile.png", "--resume", *others, *arguments[:2], *arguments[4:])
        assert "is of a run with another config" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        run(inputs, "--magnification", "20")
    assert stop.value.code == 2
    assert "is 20.0, but INPUT.MAGNIFICATION, the model's, is 0: set it" in capsys.readouterr().err


def test_what_files_state_of_their_magnification_counts(
    inputs: Path,
    run: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    forward, seen = DarkParts.forward, []

    def record(model: DarkParts, batched_inputs: list[dict[str, Any]]) -> list[dict]:
        seen.append(tuple(batched_inputs[0]["image"].shape[1:]))
        return forward(model, batched_inputs)

    monkeypatch.setattr(DarkParts, "forward", record)
    for name in ("tile.png", "second.png"):
        Image.fromarray(IMAGES["tile.png"]).save(inputs / name, dpi=(50_800, 50_800))  # 0.5 µm
    run(inputs, "--formats", "csv", "INPUT.MAGNIFICATION", "40")
    assert seen == [(33, 301), (40, 40), (120, 160), (120, 160)]
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]
    for arguments, size, said in (
        (("--magnification", "40", "INPUT.MAGNIFICATION", "40"), (60, 80), "40.0 was given as"),
        ((), (60, 80), "it is taken as it is: set INPUT.MAGNIFICATION, unless the model"),
    ):
        run(inputs, "--formats", "csv", *arguments)
        assert seen[-2:] == [size, size]
        (warning,) = (each for each in caplog.records if each.levelno >= logging.WARNING)
        assert f"second.png is of 20× as the file states, but {said}" in warning.getMessage()
        caplog.clear()


def test_a_run_that_starts_anew_trusts_no_earlier_file(
    inputs: Path, run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(inputs, "--formats", "csv", "SEED", "1")

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(DarkParts, "forward", killed)
        with pytest.raises(KeyboardInterrupt):
            run(inputs, "--formats", "csv", "SEED", "2")
    calls = DarkParts.calls
    run(inputs, "--formats", "csv", "--resume", "SEED", "2")
    assert DarkParts.calls == calls + 3


def test_a_failed_write_leaves_no_half_file(
    inputs: Path,
    run: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write = Path.write_bytes

    def full_disk(path: Path, data: bytes) -> int:
        if ".csv" in path.name:
            write(path, data[:3])
            raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(SystemExit) as stop:
        run(inputs)
    assert stop.value.code == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"error: cannot write {tmp_path / 'out'}")
    assert "(No space left on device): make room, or choose another place (--output" in error
    assert [path.name for path in (tmp_path / "out").rglob("*.*")] == ["config.yaml"]
    monkeypatch.undo()
    run(inputs)
    assert len(list((tmp_path / "out").rglob("*.csv"))) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--formats", "geojsn"], "--formats has 'geojsn': take some of geojson, csv, tiff"),
        (["MODEL.DEVCE", "cpu"], "has MODEL.DEVCE, which is no config key: did you mean"),
        (["--formats", "csv", "MODEL.DEVCE", "cpu"], "did you mean MODEL.DEVICE"),
        (["--fast"], "--fast is no option"),
    ],
)
def test_bad_arguments_are_named(
    arguments: list[str],
    message: str,
    inputs: Path,
    run: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as stop:
        run(inputs, *arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    assert DarkParts.calls == 0


@pytest.mark.parametrize(
    ("stage", "formats"),
    [("prompt_learner", ["geojson", "csv", "overlay"]), ("cfrsam", ALL_FORMATS)],
)
def test_tiny_real_models(
    stage: str, formats: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = [
        *("MODEL.DEVICE", "cpu"),
        *("MODEL.PROMPT_LEARNER.DIMS", "[8, 16, 24, 32]", "MODEL.PROMPT_LEARNER.HIDDEN_DIM", "16"),
        *("MODEL.PROMPT_LEARNER.SUPPRESSION_RADIUS", "32.0", "MODEL.SAM.EMBED_DIM", "48"),
        *("MODEL.MASK_HEAD.FINAL_MASK", "initial", "MODEL.WEIGHTS", str(tmp_path / "model.pth")),
    ]
    config = CONFIGS / f"{stage}.yaml"
    torch.manual_seed(0)
    model = build_model(load_config(str(config), overrides))
    torch.save({"model": model.state_dict()}, tmp_path / "model.pth")
    noise = np.random.default_rng(0).integers(0, 256, (72, 100, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")

    def predict(*formats: str) -> None:
        arguments = [str(tmp_path / "noise.png"), "--output", str(tmp_path / "out")]
        tool.main([*arguments, "--formats", *formats, "--config-file", str(config), *overrides])

    predict(*formats)
    collection = json.loads((tmp_path / "out" / "noise.geojson").read_text())
    kinds = {feature["geometry"]["type"] for feature in collection["features"]}
    assert kinds
    assert kinds <= ({"Point"} if stage == "prompt_learner" else {"Polygon", "MultiPolygon"})
    rows = (tmp_path / "out" / "noise.csv").read_text().splitlines()
    assert len(rows) == 1 + len(collection["features"])
    if stage == "prompt_learner":
        with pytest.raises(SystemExit):
            predict("tiff")
        message = "--formats has tiff, which needs masks, but the config is of stage 1"
        assert message in capsys.readouterr().err


def test_the_last_lines_say_how_much_was_found(
    inputs: Path, run: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run(inputs)
    said = capsys.readouterr().out.splitlines()
    assert said[-2].startswith("Found 4 nuclei in 3 images in ")
    assert said[-1].startswith("Results of 3 images are in ")


def test_nuclei_can_be_left_out(inputs: Path, run: Callable[..., Path]) -> None:
    output = run(inputs, "--formats", "csv", "--min-area", "100")
    table = (output / "tile.csv").read_text().splitlines()
    assert [line.split(",")[-1] for line in table] == ["area", "253"]  # the disc of radius 9
    assert "min_area=100.0" in (output / "config.yaml").read_text()


def test_a_score_that_is_none_is_refused(
    inputs: Path, run: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run(inputs, "--min-score", "7")
    assert "--min-score is 7.0: give 0 to 1" in capsys.readouterr().err


def test_masks_in_pieces_are_noticed(
    tmp_path: Path,
    run: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Image.fromarray(picture(40, 40, (10, 10, 6), (30, 30, 5))).save(tmp_path / "two.png")
    run(tmp_path / "two.png")
    assert "in pieces" not in caplog.text

    def as_one(model: DarkParts, inputs: list[dict[str, Any]]) -> list[dict[str, Instances]]:
        dark = inputs[0]["image"][0] <= DARK
        (output,) = whole(model, inputs)
        nuclei = output["instances"][:1]
        nuclei.pred_masks = BoxMasks.from_frames(dark[None])
        return [{"instances": nuclei}]

    whole = DarkParts.forward
    monkeypatch.setattr(DarkParts, "forward", as_one)
    run(tmp_path / "two.png")
    assert "1 of 1 masks are in pieces" in caplog.text
    caplog.clear()
    output = run(tmp_path / "two.png", "--largest-part", "--formats", "csv")
    assert "in pieces" not in caplog.text
    assert (output / "two.csv").read_text().splitlines()[1].split(",")[-1] == "113"
