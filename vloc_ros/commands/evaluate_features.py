"""``vloc evaluate features``: local features side by side on real images."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vloc_ros.commands.common import Subparsers, add_command, add_json, emit, progress
from vloc_ros.errors import ConfigError

if TYPE_CHECKING:
    from vloc_ros.evaluation.judged_pairs import JudgedPair
    from vloc_ros.features import FeatureExtractor

_EXAMPLES = """
  vloc evaluate features --features sift,orb --static webcams/ --out features
  vloc evaluate features --features sift,weights/xfeat.onnx,models/mine.safetensors --static cams/tilde_* --grief michigan/

A match is right within 3 px of the truth, which is that the camera did not move, or the shift that the data set gives. Images of a
fixed camera are cut at odd offsets first, as features that are found on a grid would find the same grid again. Files are
*.safetensors of this package, or of a peer: names that end in xfeat.onnx, alike-t.pth, alike-s.pth or alike-n.pth."""


def register_features(subjects: Subparsers) -> None:
    """Describe the command."""
    from_files = "names, or files of weights, separated by commas, the baseline first (default: %(default)s)"
    parser = add_command(subjects, "features", "local features: right matches and repeatability", _EXAMPLES, _features)
    parser.add_argument("--features", default="sift,sift_fast,orb", help=from_files)
    parser.add_argument(
        "--static", type=Path, nargs="+", action="extend", default=[], metavar="FOLDER",
        help="images of a fixed camera, or folders of one camera each; can be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--grief", type=Path, nargs="+", action="extend", default=[], metavar="FOLDER",
        help="a GRIEF data set: images/ and ground_truth/location_<place>.txt with horizontal shifts; can be repeated",
    )  # fmt: skip
    parser.add_argument("--max-features", type=int, default=1000, help="most key points of an image (default: 1000)")
    parser.add_argument("--pairs", type=int, default=30, help="pairs of each camera or place and condition (default: 30)")
    parser.add_argument(
        "--moved", type=int, default=4,
        help="pairs of each static camera and condition that are judged unmoved and moved by even and odd numbers of pixels as "
        "well, which shows whether features depend on a grid (default: 4)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=1, help="of the choice of pairs and of where images are cut (default: 1)")
    parser.add_argument("--out", type=Path, help="folder for the report and its JSON")
    add_json(parser)


def _features(args: argparse.Namespace) -> int:
    from vloc_ros.evaluation.feature_report import write_feature_report
    from vloc_ros.evaluation.feature_run import evaluate_features
    from vloc_ros.evaluation.feature_table import text_table

    extractors = named_extractors(args.features, args.max_features)
    evaluation = evaluate_features(extractors, _pairs(args), progress=_with_bar)
    values = {"max_features": args.max_features, "seed": args.seed} | evaluation.to_dict()
    text = text_table(evaluation)
    if args.out is not None:
        report = args.out / "report.html"
        write_feature_report(report, f"Local features, {len(evaluation.pairs)} pairs", evaluation, values)
        values["report"] = str(report)
        text += f"\n\nreport  {report}"
    emit(args, values, text)
    return 0


def named_extractors(text: str, max_features: int) -> dict[str, FeatureExtractor]:
    """Extractors of a list separated by commas, by the names that tables show: of a file its name without suffix.

    Raises:
        ConfigError: a name is unknown or given twice, or ``max_features`` is not positive.
        WeightsError: a file of weights cannot be used.
    """
    from vloc_ros.features import create_extractor

    if max_features < 1:
        raise ConfigError(f"--max-features must be at least 1, not {max_features}")
    found: dict[str, FeatureExtractor] = {}
    for name in text.split(","):
        shown = Path(name).stem if Path(name).suffix else name
        if shown in found:
            shown = name
        if shown in found:
            raise ConfigError(f"--features names '{name}' twice")
        found[shown] = create_extractor(name, max_features)
    return found


def _pairs(args: argparse.Namespace) -> list[JudgedPair]:
    from vloc_ros.config import from_dict
    from vloc_ros.evaluation.grief_pairs import open_grief
    from vloc_ros.evaluation.static_cameras import PairChoice, open_static

    if not args.static and not args.grief:
        raise ConfigError("there is nothing to evaluate on; give --static FOLDER or --grief FOLDER")
    choice = from_dict(PairChoice, {"pairs": args.pairs, "moved": args.moved, "seed": args.seed})
    return [*open_static(args.static, choice), *(pair for folder in args.grief for pair in open_grief(folder, choice))]


def _with_bar(pairs: Sequence[Any], label: str) -> Iterable[Any]:
    return progress(pairs, len(pairs), label, unit="pair")
