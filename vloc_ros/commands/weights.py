"""``vloc weights``: look at the weights of networks, import published ones, fit them to the images of a site."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from vloc_ros.commands.common import Subparsers, add_command, add_json, emit, rows
from vloc_ros.errors import ConfigError

if TYPE_CHECKING:
    from vloc_ros.data.weights import WeightsCard

_LIST = """
  vloc weights list
  vloc weights list site_models/ --json"""
_INFO = """
  vloc weights info models/unet.safetensors"""
_IMPORT = """
  vloc weights import network_multiseason_layer16.pth --as unet --out models/utias16.safetensors       local features of U
  vloc weights import checkpoint.pth.tar --as netvlad --backbone vgg16 --out models/pitts.safetensors   descriptors of images
  vloc weights import checkpoint.pth.tar --as uncertainty --backbone mobilenetv3 --out models/u.safetensors   and their variances
  vloc weights import vit_small.safetensors --as barebone --backbone vit_small --out models/vit.safetensors
  vloc weights import CCT14_msls.pth --as plain_gem --backbone cct14 --out models/cct14.safetensors     first stage of H
  vloc weights import checkpoints/CMU_coarse --as disam --epoch 1200 --stage coarse --out models/cmu.safetensors     system D
  vloc weights import initializedDHE.torch --as dhe --with CCT14_msls.pth --out models/dhe.safetensors    both of its stages"""
_INIT = """
  vloc weights init netvlad --images site.vloc --out models/site.safetensors
  vloc weights init netvlad --from models/pitts.safetensors --images photos/ --pca 256 --out models/pitts_256.safetensors"""
_EXAMPLES = _LIST.rpartition("\n")[0] + _INFO + _IMPORT + _INIT
_KINDS = ["netvlad", "gem"]
_BACKBONES = ["vgg16", "mobilenetv3"]
_IMPORTED = [*_KINDS, "uncertainty", "barebone", "plain_gem", "dhe", "disam", "unet"]


def register(subparsers: Subparsers) -> None:
    """Describe the command."""
    parser = add_command(subparsers, "weights", "look at the weights of networks, import or initialise them", _EXAMPLES, None)
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|info|import|init")
    listed = add_command(actions, "list", "files of weights in a folder", _LIST, _list)
    listed.add_argument("folder", type=Path, nargs="?", default=Path("models"), metavar="FOLDER", help="(default: models)")
    info = add_command(actions, "info", "the model card of a file, after a check that the weights are whole", _INFO, _info)
    info.add_argument("file", type=Path, metavar="FILE", help="*.safetensors")
    imported = add_command(actions, "import", "read a published check point; nothing in it is run", _IMPORT, _import)
    _add_import(imported)
    what = "fit cluster centres, and a PCA whitening, of descriptors of whole images to images; no labels are needed"
    init = add_command(actions, "init", what, _INIT, _init)
    _add_init(init)
    for sub in (listed, info, imported, init):
        add_json(sub)


def _add_import(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("file", type=Path, metavar="FILE", help="check point of torch.save, or *.safetensors; of disam their folder")
    sub.add_argument("--as", dest="kind", required=True, choices=_IMPORTED, help="which network to make of it")
    sub.add_argument(
        "--backbone",
        choices=[*_BACKBONES, "vit_small", "cct14"],
        default="vgg16",
        help="what is below it (default: vgg16); barebone goes with vit_small, plain_gem with cct14; dhe, disam and unet have none",
    )
    sub.add_argument(
        "--with", dest="place", type=Path, metavar="FILE",
        help="for --as dhe, the descriptors it was trained with: a published check point, or what was imported from one",
    )  # fmt: skip
    sub.add_argument("--epoch", default="1200", help="for --as disam, of the files <epoch>_net_G<k>.pth (default: 1200)")
    sub.add_argument("--stage", choices=["coarse", "fine"], help="for --as disam, which of the two models they are of")
    sub.add_argument(
        "--conditions", default="", metavar="NAMES",
        help="for --as disam, of the files in their order, with commas between (default: those of CMU-Seasons, where there are 12)",
    )  # fmt: skip
    sub.add_argument("--out", type=Path, required=True, help="file to write, *.safetensors; the card is put beside it")
    sub.add_argument("--trained-on", default="", help="what it was trained on, for its card")
    sub.add_argument("--licence", default="", help="under which it was published, for its card")


def _add_init(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("network", choices=_KINDS, help="which network")
    sub.add_argument("--images", type=Path, required=True, metavar="FOLDER_OR_MAP", help="folder of images, or *.vloc")
    sub.add_argument("--out", type=Path, required=True, help="file to write, *.safetensors; the card is put beside it")
    start = sub.add_mutually_exclusive_group()
    start.add_argument("--from", dest="start", type=Path, metavar="FILE", help="weights to start from (default: random ones)")
    start.add_argument("--backbone", choices=_BACKBONES, default="vgg16", help="of the random weights (default: vgg16)")
    sub.add_argument("--pca", type=int, default=0, metavar="D", help="whiten to D elements; needs more than D images")
    sub.add_argument("--max-images", type=int, default=1250, help="use that many, evenly chosen (default: 1250)")
    sub.add_argument("--seed", type=int, default=0, help="of random weights and of k-means (default: 0)")


def _list(args: argparse.Namespace) -> int:
    from vloc_ros.data.weights import LOCAL_NETWORKS, SUFFIX, load_card
    from vloc_ros.errors import DataError, WeightsError

    if not args.folder.is_dir():
        raise DataError(f"{args.folder} is not a folder; name the one that holds the weights")
    found: list[dict[str, object]] = []
    lines: list[tuple[str, str]] = []
    for path in sorted(args.folder.glob(f"*{SUFFIX}")):
        try:
            card = load_card(path)
            found.append({"file": str(path), **asdict(card)})
            what = f"{card.network} {'of' if card.network in LOCAL_NETWORKS else 'on'} {card.backbone}"
            lines.append((path.name, f"{what}, {card.dimension} elements, trained on {card.trained_on}"))
        except WeightsError as error:
            found.append({"file": str(path), "problem": str(error)})
            lines.append((path.name, str(error)))
    emit(args, {"weights": found}, rows(lines) if lines else f"{args.folder} holds no weights (*{SUFFIX})")
    return 0


def _info(args: argparse.Namespace) -> int:
    from vloc_ros.data.weights import load_weights

    tensors, card = load_weights(args.file)
    _show(args, args.file, card, sum(tensor.size for tensor in tensors.values()))
    return 0


def _import(args: argparse.Namespace) -> int:
    from vloc_ros.networks.availability import require_torch

    require_torch("vloc weights import")
    if args.place is not None and args.kind != "dhe":
        raise ConfigError(f"--with FILE belongs to --as dhe alone, not to --as {args.kind}")
    if (args.stage or args.conditions) and args.kind != "disam":
        raise ConfigError(f"--stage and --conditions belong to --as disam alone, not to --as {args.kind}")
    if args.kind == "unet":
        return _import_unet(args)
    if args.kind == "dhe":
        return _import_dhe(args)
    if args.kind == "disam":
        return _import_disam(args)
    from vloc_ros.networks import Backbone, NetworkKind
    from vloc_ros.networks.checkpoint import import_checkpoint
    from vloc_ros.networks.files import save_network
    from vloc_ros.networks.two_stage_import import import_first_stage

    kind, backbone = NetworkKind(args.kind), Backbone(args.backbone)
    of_cct = (kind, backbone) == (NetworkKind.PLAIN_GEM, Backbone.CCT14)
    imported = import_first_stage(args.file) if of_cct else import_checkpoint(args.file, kind, backbone)
    trained_on = args.trained_on or f"unknown, imported from {args.file.name}"
    if imported.random:
        trained_on += f"; random: {', '.join(imported.random)}"
    card = save_network(args.out, imported.network, trained_on, licence=args.licence)
    _show(args, args.out, card, sum(tensor.numel() for tensor in imported.network.state_dict().values()))
    return 0


def _import_dhe(args: argparse.Namespace) -> int:
    from vloc_ros.networks.two_stage_files import save_two_stage
    from vloc_ros.networks.two_stage_import import import_both

    network, first = import_both(args.file, args.place)
    trained_on = args.trained_on or f"unknown, imported from {args.file.name} and {args.place.name}"
    parent = "" if first is None else first.sha256
    card = save_two_stage(args.out, network, trained_on, parent, args.licence)
    _show(args, args.out, card, sum(parameter.numel() for parameter in network.parameters()))
    return 0


def _import_disam(args: argparse.Namespace) -> int:
    from vloc_ros.networks.disam_files import save_disam
    from vloc_ros.networks.disam_form import Stage
    from vloc_ros.networks.disam_import import import_domains

    if args.stage is None:
        raise ConfigError(
            "--as disam needs --stage coarse or --stage fine: the files do not say which of the two models they are of"
        )
    names = [name for name in args.conditions.split(",") if name]
    network = import_domains(args.file, args.epoch, Stage(args.stage), names)
    trained_on = args.trained_on or f"unknown, imported from {args.file.name}, epoch {args.epoch}"
    card = save_disam(args.out, network, trained_on, licence=args.licence)
    _show(args, args.out, card, sum(parameter.numel() for parameter in network.parameters()))
    return 0


def _import_unet(args: argparse.Namespace) -> int:
    from vloc_ros.networks.local_files import save_local_network
    from vloc_ros.networks.unet_checkpoint import import_unet

    network = import_unet(args.file)
    trained_on = args.trained_on or f"unknown, imported from {args.file.name}"
    card = save_local_network(args.out, network, trained_on, licence=args.licence)
    _show(args, args.out, card, sum(parameter.numel() for parameter in network.parameters()))
    return 0


def _init(args: argparse.Namespace) -> int:
    from vloc_ros.networks.availability import require_torch

    require_torch("vloc weights init")
    from vloc_ros.networks import Backbone, NetworkKind
    from vloc_ros.networks.site import initialise

    kind, backbone = NetworkKind(args.network), Backbone(args.backbone)
    card, count = initialise(args.out, args.images, kind, backbone, args.start, args.pca, args.max_images, args.seed)
    _show(args, args.out, card, count)
    return 0


def _show(args: argparse.Namespace, path: Path, card: WeightsCard, count: int) -> None:
    values = {"file": str(path), "weights": count, **asdict(card)}
    text = [("file", str(path)), ("weights", f"{count:,} ({path.stat().st_size / 1e6:.1f} MB)")]
    text += [(name.replace("_", " "), str(value)) for name, value in asdict(card).items() if value != ""]
    emit(args, values, rows(text))
