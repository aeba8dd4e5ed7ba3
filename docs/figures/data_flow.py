#!/usr/bin/env python
"""Draw the data flow of docs/design.md: `python docs/figures/data_flow.py` writes its SVG.

Plain text stays text, and every piece of it stands on a background of its own, so that the picture
can be read in light and in dark mode. All lengths are px.
"""

from dataclasses import dataclass
from html import escape
from pathlib import Path

SVG = Path(__file__).resolve().parents[1] / "images" / "data_flow.svg"
WIDTH, HEIGHT = 920, 958
LINE = 16  # between the baselines of a box

STYLE = """
    text { font: 12px Helvetica, Arial, sans-serif; fill: #1f2328; text-anchor: middle }
    .title { font-weight: bold; font-size: 13px }
    .start { text-anchor: start; font-weight: bold }
    .label { font-size: 11px; fill: #57606a; text-anchor: start }
    .page { fill: #ffffff }
    .frame { fill: #f6f8fa; stroke: #8c959f }
    .stage { fill: #ffffff; stroke: #8c959f; stroke-dasharray: 5 3 }
    .data { fill: #eaeef2; stroke: #57606a }
    .frozen { fill: #ddf4ff; stroke: #0969da }
    .trained { fill: #fff1d6; stroke: #bf8700 }
    .plain { fill: #ffffff; stroke: #57606a }
    .arrow { fill: none; stroke: #57606a; stroke-width: 1.5 }
    .head { fill: #57606a }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 }
      .label { fill: #9ea7b3 }
      .page { fill: #0d1117 }
      .frame { fill: #161b22; stroke: #6e7681 }
      .stage { fill: #0d1117; stroke: #6e7681 }
      .data { fill: #2d333b; stroke: #9ea7b3 }
      .frozen { fill: #0c2d4d; stroke: #4493f8 }
      .trained { fill: #3d2e08; stroke: #d29922 }
      .plain { fill: #0d1117; stroke: #9ea7b3 }
      .arrow { stroke: #9ea7b3 }
      .head { fill: #9ea7b3 }
    }
"""


@dataclass(frozen=True)
class Box:
    """A part of the model or of the data: its first line in bold, the others below it."""

    x: int
    y: int
    width: int
    height: int
    kind: str  # a class of STYLE
    lines: tuple[str, ...]

    def draw(self) -> str:
        middle = self.x + self.width / 2
        first = self.y + self.height / 2 - LINE * (len(self.lines) - 1) / 2 + 4
        texts = [
            f'<text x="{middle:g}" y="{first + LINE * i:g}" class="{"line" if i else "title"}">'
            f"{escape(line)}</text>"
            for i, line in enumerate(self.lines)
        ]
        return "\n".join([rectangle(self.x, self.y, self.width, self.height, self.kind), *texts])


@dataclass(frozen=True)
class Frame:
    """What holds boxes, with a title in its upper left corner."""

    x: int
    y: int
    width: int
    height: int
    kind: str
    title: str

    def draw(self) -> str:
        text = (
            f'<text x="{self.x + 10}" y="{self.y + 18}" class="start">{escape(self.title)}</text>'
        )
        return f"{rectangle(self.x, self.y, self.width, self.height, self.kind)}\n{text}"


@dataclass(frozen=True)
class Arrow:
    """A line through points, its head at the last, and perhaps a label that begins at a place."""

    points: tuple[tuple[int, int], ...]
    label: str = ""
    place: tuple[int, int] = (0, 0)

    def draw(self) -> str:
        path = " ".join(f"{x},{y}" for x, y in self.points)
        line = f'<polyline points="{path}" class="arrow" marker-end="url(#head)"/>'
        return f"{line}\n{label(self.label, self.place)}" if self.label else line


FRAMES = (
    Frame(16, 166, 888, 702, "frame", "CFRSAM (meta_arch/), the only one that knows all parts"),
    Frame(32, 252, 260, 262, "stage", "stage 1 (prompt_learner/)"),
    Frame(308, 386, 584, 400, "stage", "mask head (mask_head/)"),
)
BOXES = (
    Box(270, 14, 380, 46, "data", ("dataset dict", "file name, size, nuclei as RLE with classes")),
    Box(270, 86, 380, 46, "plain", ("NucleusMapper (data/)", "read, rescale; augment in training")),
    Box(32, 198, 860, 30, "data", ("images, normalised (B, 3, H, W)",)),
    Box(
        *(46, 284, 232, 62, "frozen"),
        ("ConvNeXt, two necks", "of 256 channels, strides from 4 on", "foreground mask (B, H, W)"),
    ),
    Box(
        *(46, 366, 232, 62, "frozen"),
        ("anchors moved, classified", "points (B, A, 2)", "logits (B, A, K+1)"),
    ),
    Box(46, 448, 232, 46, "frozen", ("selection", "P points and classes an image")),
    Box(
        *(46, 532, 232, 78, "plain"),
        (
            "prompts",
            "points (R, 2), their images (R,)",
            "training: 25 nuclei per image at most",
            "evaluation: all, window by window",
        ),
    ),
    Box(
        *(322, 258, 252, 108, "frozen"),
        (
            "SAM's ViT (sam/)",
            "MALA on hooks, trained:",
            "after each attention, after each block",
            "4 levels through SAM's neck",
            "each (B, 256, H/16, W/16)",
        ),
    ),
    Box(322, 420, 252, 46, "trained", ("HMFM", "F (B, 256, H/16, W/16)")),
    Box(
        *(322, 532, 252, 78, "trained"),
        (
            "SAM's mask decoder",
            "U (R, 32, H/4, W/4)",
            "initial logits (R, H/4, W/4)",
            "estimated IoU (R,)",
        ),
    ),
    Box(592, 532, 136, 78, "trained", ("deep branch", "G (B, 32,", "H/4, W/4)")),
    Box(744, 532, 136, 78, "trained", ("MCBE of BGMR", "D (B, 32, H, W)")),
    Box(
        *(322, 644, 558, 46, "trained"),
        (
            "BGMR, on the frame or a crop around each nucleus",
            "refined logits, boundary logits (R, H, W)",
        ),
    ),
    Box(322, 726, 252, 46, "plain", ("masks (R, H, W)", "and their estimated IoU (R,)")),
    Box(592, 726, 288, 46, "plain", ("losses", "focal, dice, IoU of both masks; boundary")),
    Box(
        *(270, 806, 356, 46, "plain"),
        ("N nuclei", "windows joined, box NMS, classes by index"),
    ),
    Box(
        *(270, 896, 356, 46, "data"),
        ("Instances", "pred_masks (N, H, W), pred_classes, scores, …"),
    ),
    Box(680, 896, 224, 46, "plain", ("NucleusEvaluator", "scores and tables (evaluation/)")),
    Box(694, 22, 26, 16, "trained", ()),
    Box(694, 46, 26, 16, "frozen", ()),
)
ARROWS = (
    Arrow(((460, 60), (460, 86))),
    Arrow(((460, 132), (460, 198)), "image (3, H, W); in training Instances, too", (470, 152)),
    Arrow(((240, 228), (240, 284))),
    Arrow(((500, 228), (500, 258))),
    Arrow(((812, 228), (812, 532))),
    Arrow(((162, 346), (162, 366))),
    Arrow(((162, 428), (162, 448))),
    Arrow(((162, 494), (162, 532))),
    Arrow(((278, 571), (322, 571))),
    Arrow(((500, 366), (500, 420))),
    Arrow(((500, 466), (500, 532))),
    Arrow(((574, 443), (660, 443), (660, 532))),
    Arrow(((448, 610), (448, 644))),
    Arrow(((660, 610), (660, 644))),
    Arrow(((812, 610), (812, 644))),
    Arrow(((448, 690), (448, 726)), "evaluation", (464, 709)),
    Arrow(((736, 690), (736, 726)), "training", (752, 709)),
    Arrow(((448, 772), (448, 806))),
    Arrow(((162, 610), (162, 829), (270, 829)), "points, classes", (172, 821)),
    Arrow(((448, 852), (448, 896)), "at the size that the dataset dict states", (464, 884)),
    Arrow(((626, 919), (680, 919))),
)
LEGEND = (("trained in stage 2", (728, 34)), ("frozen in stage 2", (728, 58)))


def rectangle(x: int, y: int, width: int, height: int, kind: str) -> str:
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" class="{kind}"/>'


def label(text: str, place: tuple[int, int]) -> str:
    x, y = place
    return f'<text x="{x}" y="{y}" class="label">{escape(text)}</text>'


def draw() -> str:
    """The whole picture as SVG; arrows lie below boxes."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        "<title>From a dataset dict to scores: the data flow of CFR-SAM</title>",
        f"<style>{STYLE}</style>",
        '<defs><marker id="head" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 Z" class="head"/></marker></defs>',
        rectangle(0, 0, WIDTH, HEIGHT, "page"),
        *(each.draw() for each in (*FRAMES, *ARROWS, *BOXES)),
        *(label(*each) for each in LEGEND),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    SVG.write_text(draw())
