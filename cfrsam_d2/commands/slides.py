"""Find every nucleus of whole slides, in bounded memory.

    cfrsam slides SLIDE… --output DIR [--config-file configs/cfrsam_b.yaml] [KEY VALUE …]
    cfrsam slides slides.csv --workers 4 --output DIR [--config-file …] [KEY VALUE …]

Each slide gets a folder in DIR, with nuclei.parquet, nuclei.geojson.gz, labels.ome.zarr,
nuclei.zarr, overview.jpg and summary.json; fleet.csv has a line for each. A run that was killed
goes on when the same command is run again. Slides that fail are listed at the end, and the exit
status is 1. docs/slides.md walks through it, and docs/fleet.md through many slides.
"""

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

from ..command_line import build_parser, parse_with_keys, split_inputs
from ..errors import UserError, exits_on_user_error
from ..remote_path import path_or_url


@exits_on_user_error
def main(arguments: Sequence[str] | None = None) -> None:
    parser = command_parser()
    args, overrides = parse_with_keys(parser, arguments)
    words, more_overrides = split_inputs(args.slides)
    check_packages()
    from ..slides.slide_list import list_slides  # takes seconds

    slides = list_slides(words, args.output)
    if args.mask is not None and len(slides) > 1:
        parser.error("--mask is of one slide, but there are several")
    from ..apps.slide_fleet import FleetOptions, segment_slides
    from ..apps.slides import SlideOptions
    from ..slides.parts import Share
    from ..slides.slide_cache import SlideCache, default_cache

    options = SlideOptions(
        mpp=args.mpp,
        mask=args.mask,
        whole=args.no_mask,
        geojson_per_chunk=args.geojson_per_chunk,
        ome_tiff=args.ome_tiff,
        most_bad=args.max_bad_tiles / 100,
        as_json=args.json,
        cache=SlideCache(args.cache or default_cache(), int(args.cache_gb * 1e9)),
    )
    failures = segment_slides(
        slides,
        args.output,
        args.config_file,
        [*more_overrides, *overrides],
        options,
        FleetOptions(args.workers, args.ray, Share(*args.shard)),
    )
    if failures:
        sys.exit(1)


def command_parser() -> argparse.ArgumentParser:
    parser = build_parser(__doc__)
    parser.add_argument(
        "slides",
        nargs="+",
        type=path_or_url,
        help="files of whole slides, images, or URLs of such; folders of slides; lists of them, "
        ".csv files with the columns path, mpp and mask",
    )
    parser.add_argument("--config-file", help="of stage 2; default: the small model of the project")
    parser.add_argument("--output", required=True, type=path_or_url, help="folder of the results")
    parser.add_argument("--mpp", type=float, help="µm/px of the slides, in place of what they say")
    tissue = parser.add_mutually_exclusive_group()
    tissue.add_argument(
        "--mask", type=path_or_url, help="of the tissue: an image, or GeoJSON of QuPath"
    )
    tissue.add_argument("--no-mask", action="store_true", help="take the whole slide for tissue")
    parser.add_argument(
        "--geojson-per-chunk", action="store_true", help="many GeoJSON files in place of one"
    )
    parser.add_argument("--ome-tiff", action="store_true", help="labels as OME-TIFF, too")
    parser.add_argument(
        "--max-bad-tiles",
        type=float,
        default=0.1,
        metavar="PERCENT",
        help="of the tissue that may be unreadable (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="progress in lines of JSON")
    parser.add_argument(
        "--cache", type=Path, metavar="DIR", help="for copies of slides that are given by URL"
    )
    parser.add_argument(
        "--cache-gb", type=float, default=100, help="of those copies (default: %(default)s)"
    )
    parser.add_argument(
        "--workers",
        type=_count,
        metavar="N",
        help="processes that share the slides (default: one for each GPU if there are several)",
    )
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="of a Ray cluster that has the workers, auto for the one of this machine, or local",
    )
    parser.add_argument(
        "--shard",
        type=_shard,
        default="1/1",
        metavar="K/N",
        help="do every N-th slide from the K-th on, as 3/16",
    )
    return parser


def _count(text: str) -> int:
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of workers: give 1 or more")
    return int(text)


def _shard(text: str) -> tuple[int, int]:
    """Which slide is the first, from 0 on, and every how manieth is taken."""
    first, slash, count = text.partition("/")
    if not (slash and first.isdecimal() and count.isdecimal() and 1 <= int(first) <= int(count)):
        raise argparse.ArgumentTypeError(f"{text!r} is no shard: give K/N, from 1/N to N/N")
    return int(first) - 1, int(count)


def check_packages() -> None:
    """
    Raises:
        UserError: a package of the extra `[slides]` is not installed.
    """
    packages = ("openslide", "pyarrow", "shapely", "tifffile", "zarr", "imagecodecs")
    if missing := [name for name in packages if importlib.util.find_spec(name) is None]:
        raise UserError(
            f"{', '.join(missing)} not installed: run `pip install 'cfrsam_d2[slides]'`, in a "
            "clone `pip install -e '.[slides]'`"
        )
