"""``vloc export``: a network for those who run it without torch, or without this program."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from vloc_ros.commands.common import Subparsers, add_command, add_json, emit, progress, rows
from vloc_ros.errors import ConfigError

_EXAMPLES = """
  vloc export unet --to onnx --out unet.onnx
  vloc export models/site.safetensors --to onnx             beside the weights: those who lack torch can use them then
  vloc export unet --to onnx --int8 --calibrate recording/ webcams/garden      in 8-bit integers: models/unet_int8.onnx
  vloc export unet --to openvino --out unet.xml             and unet.bin, which belongs to it
  vloc export models/site_places.safetensors --to onnx      networks of whole images too: in floats, as ONNX, and no other way
  vloc export cct --to onnx --out cct.onnx                  and cct_pairs.onnx, which re-ranks what the other one finds
  vloc export disam --to onnx --out disam.onnx              and disam_classifier.onnx, which finds the condition of an image
  vloc export glvl --to onnx --out glvl.onnx                its global half; superpoint is its local one
  vloc export utias.safetensors --to torchscript --size 512x384 --out utias.pt      as VT&R3 loads it"""
_MOST_IMAGES = 1000
_KINDS = ["onnx", "openvino", "torchscript"]


def register(subparsers: Subparsers) -> None:
    """Describe the command."""
    what = "write a network of local features as ONNX, OpenVINO or TorchScript, or one of whole images as ONNX"
    parser = add_command(subparsers, "export", what, _EXAMPLES, run)
    parser.add_argument("weights", metavar="FILE", help="*.safetensors, or the name of shipped weights")
    parser.add_argument("--to", required=True, choices=_KINDS, help="the format")
    parser.add_argument("--out", type=Path, help="file to write (default: beside the weights, under their name)")
    parser.add_argument(
        "--size", default="512x384", help="of images, WIDTHxHEIGHT, which TorchScript alone is fixed to (default: 512x384)"
    )
    parser.add_argument("--window", type=int, default=16, help="side of the windows of TorchScript's key points (default: 16)")
    parser.add_argument("--int8", action="store_true", help="ONNX in 8-bit integers, faster on a CPU: the features NAME_int8")
    parser.add_argument(
        "--calibrate", type=Path, nargs="+", metavar="SOURCE",
        help="recordings or folders of images on which --int8 sees how large values become: of all light there will be",
    )  # fmt: skip
    parser.add_argument("--images", type=int, default=32, help="images of all SOURCEs together, evenly chosen (default: 32)")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Export, and say how well it was done."""
    from vloc_ros.data.models import shipped_features, shipped_places
    from vloc_ros.data.weights import DISAM, GLVL, PLACE_NETWORKS, SUFFIX, TWO_STAGES, load_card
    from vloc_ros.networks.availability import require_torch

    size = re.fullmatch(r"(\d{1,5})x(\d{1,5})", args.size)
    if size is None:
        raise ConfigError(f"--size {args.size} is not of the form WIDTHxHEIGHT, for example 512x384")
    if not 2 <= args.window <= 256:
        raise ConfigError(f"--window {args.window} must be from 2 to 256")
    require_torch("vloc export")
    from vloc_ros.networks.export_files import (
        ExportKind,
        export_disam,
        export_glvl,
        export_local,
        export_place,
        export_two_stages,
    )

    kind = ExportKind(args.to)
    path = (shipped_places() | shipped_features()).get(args.weights) or Path(args.weights)
    network = load_card(path).network if path.suffix == SUFFIX else ""
    of_place = network in PLACE_NETWORKS
    if of_place and (kind is not ExportKind.ONNX or args.int8 or args.calibrate):
        raise ConfigError(f"{path.name} describes whole images: such networks are exported with --to onnx alone, in floats")
    if args.int8 or args.calibrate:
        return _int8(args, path)
    out = args.out or path.with_suffix(kind.suffix)
    shape = (int(size[1]), int(size[2]))
    files = [out, out.with_suffix(".bin")] if kind is ExportKind.OPENVINO else [out]
    if network == TWO_STAGES:
        second, difference = export_two_stages(path, out)
        files.append(second)
    elif network == DISAM:
        files, difference = export_disam(path, out)
    elif network == GLVL:
        difference = export_glvl(path, out)
    else:
        difference = export_place(path, out) if of_place else export_local(path, kind, out, shape, args.window)
    length = sum(file.stat().st_size for file in files)
    text = [
        ("file", " and ".join(map(str, files))),
        ("size", f"{length / 1e6:.1f} MB"),
        ("difference from torch", f"{difference:.1e}"),
    ]
    emit(args, {"file": str(out), "bytes": length, "difference": difference}, rows(text))
    return 0


def _int8(args: argparse.Namespace, path: Path) -> int:
    from vloc_ros.data.samples import sample_images
    from vloc_ros.data.weights import INT8_ENDING
    from vloc_ros.networks.export_int8 import export_int8

    if not args.int8 or not args.calibrate or args.to != "onnx":
        raise ConfigError("--int8 and --calibrate SOURCE belong together, with --to onnx: integers need images to calibrate on")
    if not 1 <= args.images <= _MOST_IMAGES:
        raise ConfigError(f"--images {args.images} must be from 1 to {_MOST_IMAGES}")
    pictures = sample_images(args.calibrate, args.images)
    images = [picture.read() for picture in progress(pictures, len(pictures), "images", unit="image")]
    on = f"{len(images)} images of {', '.join(source.resolve().name for source in args.calibrate)}"
    out = args.out or path.with_name(path.stem + INT8_ENDING)
    likeness = export_int8(path, out, images, on)
    length = out.stat().st_size
    text = [
        ("file", out),
        ("size", f"{length / 1e6:.1f} MB"),
        ("calibrated on", on),
        ("similarity", f"{likeness.similarity:.4f} of its descriptors to those in floats"),
        ("key points", f"{100 * likeness.repeated:.0f} % of those in floats"),
    ]
    values = {"file": str(out), "bytes": length, "calibrated_on": on}
    emit(args, values | {"similarity": likeness.similarity, "repeated": likeness.repeated}, rows(text))
    return 0
