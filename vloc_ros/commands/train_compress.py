"""``vloc train compress``: how latents of DISAM become short vectors is learned from images of a site."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

from vloc_ros.commands.common import Subparsers, add_command, add_json, emit, progress, rows
from vloc_ros.errors import ConfigError

_EXAMPLES = """
  vloc train compress coarse/best.safetensors --data conditions:site --out models/site_disam.safetensors
  vloc train compress imported.safetensors --data conditions:cmu/urban --length 1024 --cell 8 --out models/urban.safetensors
  vloc train compress coarse/best.safetensors --data conditions:site --without-decoders --out models/small.safetensors

conditions:FOLDER      a folder of images for each condition that the network knows, of any places; others are left alone
simulated:SET          a folder of `vloc train render`

Needs no labels and takes a minute. A training ends with it, so that this is for other images than those it learned from, for other
lengths, and for published check points, which have no projection. Descriptors of other compressions cannot be compared: a map or
an index is built anew."""


def register_compress(subjects: Subparsers) -> None:
    """Describe ``vloc train compress``."""
    sub = add_command(subjects, "compress", "learn to describe by short vectors, for weights of DISAM", _EXAMPLES, _compress)
    sub.add_argument("weights", type=Path, metavar="WEIGHTS", help="weights of DISAM, *.safetensors")
    sub.add_argument("--data", action="append", required=True, metavar="KIND:PATH", help="images; may be given several times")
    sub.add_argument("--out", type=Path, required=True, help="file to write, *.safetensors; the card is put beside it")
    sub.add_argument("--length", type=int, default=512, help="of the vectors, 4 bytes each (default: 512); 0: no projection")
    sub.add_argument(
        "--cell",
        type=int,
        default=0,
        help="side of squares of the latent that are averaged first (default: so large that 16384 elements are left)",
    )
    sub.add_argument(
        "--centring",
        choices=["none", "all", "condition"],
        default="condition",
        help="take away the mean of all images, or of those of the same condition (default), first",
    )
    sub.add_argument("--whitening", type=float, default=0.5, help="0 keeps the metric; 1 makes all directions count equally (0.5)")
    sub.add_argument("--images", type=int, default=1200, help="look at so many, evenly chosen (default: 1200)")
    sub.add_argument("--without-decoders", action="store_true", help="leave out what only translates, two thirds of the file")
    add_json(sub)


def _compress(args: argparse.Namespace) -> int:
    from vloc_ros.networks.availability import require_torch

    require_torch("vloc train")
    from vloc_ros.networks.disam_files import load_disam, save_disam
    from vloc_ros.networks.latent_basis import Centring, compressed, without_decoders
    from vloc_ros.training.condition_feed import ConditionImageSettings
    from vloc_ros.training.disam_registry import KINDS, open_conditions
    from vloc_ros.training.registry import DataSpec

    if args.images < 1:
        raise ConfigError(f"--images {args.images} are none: give more than --length, as far as there are so many")
    if args.out.resolve() == args.weights.resolve():
        raise ConfigError(f"--out {args.out} is the file that is read: name another one")
    network, card = load_disam(args.weights)
    specs = [DataSpec.parse(text, KINDS) for text in args.data]
    found = open_conditions(specs, (), ConditionImageSettings())
    files = {name: images for name, images in found.items() if name in network.form.conditions}
    if not files:
        known = ", ".join(network.form.conditions)
        raise ConfigError(f"{args.weights} knows {known}, and the folders are called {', '.join(found)}: name some of them so")
    made = compressed(network, files, args.cell, args.length, args.whitening, Centring(args.centring), args.images, _bar)
    if args.without_decoders:
        made = without_decoders(made)
    words = f"compressed for {', '.join(map(str, specs))}, centring {args.centring}, whitening {args.whitening:g}"
    notes = f"{card.notes}; {words}" if card.notes else words
    saved = save_disam(args.out, made, card.trained_on, card.sha256, card.licence, notes)
    values = {
        "weights": str(args.out),
        "cell": made.compression.side,
        "elements": saved.dimension,
        "bytes_per_image": 4 * saved.dimension,
    }
    emit(args, values, rows([(name.replace("_", " "), value) for name, value in values.items()]))
    return 0


def _bar(paths: Sequence[Path]) -> Iterable[Path]:
    return progress(paths, len(paths), "describing")
