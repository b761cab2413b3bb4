"""``vloc vocabulary``: learn the visual words that ``vlad`` describes images by."""

from __future__ import annotations

import argparse
from pathlib import Path

from vloc_ros.commands.common import Subparsers, add_command, add_json, emit, progress, rows
from vloc_ros.commands.places import add_extractor, extractor_of

_EXAMPLES = """
  vloc vocabulary images/ --out site.vocabulary
  vloc retrieve queries/ --database images/ --descriptor vlad --assets vlad=site.vocabulary --out found"""


def register(subparsers: Subparsers) -> None:
    """Describe the command."""
    parser = add_command(subparsers, "vocabulary", "learn a visual vocabulary from images of a site", _EXAMPLES, run)
    parser.add_argument("images", type=Path, metavar="IMAGES", help="folder of images")
    parser.add_argument("--words", type=int, default=64, help="how many (default: 64)")
    parser.add_argument("--seed", type=int, default=1, help="of the clustering (default: 1)")
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    add_extractor(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Learn, write, and say what was written."""
    from vloc_ros.data.output import write_bytes
    from vloc_ros.data.vpr_folder import pictures_of
    from vloc_ros.errors import ConfigError
    from vloc_ros.retrieval import VOCABULARY_IMAGES, learn_vocabulary

    if args.words < 2:
        raise ConfigError(f"--words {args.words} tells no image from another; give 2 or more")
    pictures = pictures_of(args.images)
    some = pictures[:: max(1, len(pictures) // VOCABULARY_IMAGES)]
    images = (picture.read() for picture in progress(some, len(some), "images"))
    vocabulary = learn_vocabulary(images, extractor_of(args), args.seed, args.words)
    write_bytes(args.out, vocabulary.to_bytes())
    values = {"images": len(some), "words": len(vocabulary.centres), "sha256": vocabulary.sha256, "file": str(args.out)}
    emit(args, values, rows(list(values.items())))
    return 0
