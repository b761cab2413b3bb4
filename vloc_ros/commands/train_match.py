"""``vloc train match``: how probable a re-ranked match is, learned for one file of weights."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vloc_ros.commands.common import Subparsers, add_command, add_json, emit, number, progress, rows
from vloc_ros.commands.train_run import changed
from vloc_ros.errors import ConfigError, DataError

if TYPE_CHECKING:
    from vloc_ros.calibration.probability import FitRefusal
    from vloc_ros.training.match_learning import LearnedMatches

_EXAMPLES = """
  vloc train match --weights run/best.safetensors --data simulated:sim_held_out --data static:webcams
  vloc train match --weights run/best.safetensors --data static:webcams --set 'static.held_out=tilde_*' --questions 300
  vloc train match --weights models/site.safetensors --data tree:pitts30k --codebook
  vloc train match --weights run/best.safetensors --data aligned:summer,winter --dry-run --json
  vloc evaluate retrieval winter/ --database summer/ --layout aligned --descriptors run/best.safetensors \\
      --rerank run/best.safetensors --set rerank.min_probability=0.9

simulated:SET          a folder of `vloc train render`
static:FOLDER          a folder for each fixed camera, with its images at any hour and season
homography:FOLDER      photos of anything, each seen once: for the code book alone, beside places of another kind
tree:FOLDER            images/val of VPR-datasets
aligned:A,B            two traverses of a route whose images correspond by name or order
recording:PATH[,PATH]  frames with poses, of any format that is read: a second drive in the same frame, or one that comes back

Each image of one condition is looked for among those of another, and what the search finds is compared; what shows a place near by
is neither right nor wrong. Give places that the weights did not learn from, and that are like those of the robot: the probability
holds for such. Half of the places judge what the other half teaches. FILE_match.json beside the weights is used by every re-ranking
with them, FILE.codebook by storage: pq. Nothing is written when no probability can be learned."""


def register_match(subjects: Subparsers) -> None:
    """Describe ``vloc train match``."""
    sub = add_command(subjects, "match", "learn how probable a re-ranked match is, for weights of both stages", _EXAMPLES, _match)
    sub.add_argument("--weights", type=Path, metavar="FILE", help="weights that find and re-rank, *.safetensors")
    sub.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="KIND:PATH",
        help="places whose truth is known, the held-out part of a tree or static source; may be given several times",
    )
    sub.add_argument("--questions", type=int, default=100, metavar="N", help="images of each source to look for (default: 100)")
    sub.add_argument("--candidates", type=int, default=32, metavar="N", help="of each search that are compared (default: 32)")
    sub.add_argument("--codebook", action="store_true", help="learn the code book of product quantisation, too")
    sub.add_argument("--out", type=Path, metavar="FILE", help="where to write the probability (default: beside the weights)")
    sub.add_argument("--dry-run", action="store_true", help="say how good it is, and write nothing")
    sub.add_argument("--config", type=Path, help="YAML file of settings, those of `vloc train places`")
    sub.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change one of them, e.g. validation.databases=1"
    )
    add_json(sub)


def _match(args: argparse.Namespace) -> int:
    from vloc_ros.networks.availability import require_torch

    require_torch("vloc train")
    from vloc_ros.data.output import write_bytes, write_text
    from vloc_ros.retrieval.match_model import match_model_path
    from vloc_ros.retrieval.patch_codebook import codebook_path
    from vloc_ros.training.match_learning import learn_codebook, learn_matches
    from vloc_ros.training.place_registry import PLACE_SOURCES, default_settings, open_places
    from vloc_ros.training.registry import DataSpec

    _require(args)
    settings = changed(args, default_settings())
    specs = [DataSpec.parse(text, PLACE_SOURCES) for text in args.data]
    sources = [open_places(spec, settings, held_out=True) for spec in specs]
    words = ", ".join(str(spec) for spec in specs)
    learned = learn_matches(args.weights, sources, words, settings.validation, args.candidates, args.questions, _bar)
    if learned.refusal is not None:
        raise DataError(_refused(learned, learned.refusal))
    book = learn_codebook(args.weights, sources, _bar) if args.codebook and not args.dry_run else None
    out = args.out or match_model_path(args.weights)
    files = {"probability": out}
    if book is not None:
        files["code book"] = codebook_path(out.with_name(args.weights.name))
    model: Any = learned.model  # not refused
    if not args.dry_run:
        write_text(out, model.to_json())
        if book is not None:
            write_bytes(files["code book"], book.to_bytes())
    _report(args, learned, model, files)
    return 0


def _require(args: argparse.Namespace) -> None:
    if args.weights is None or not args.data:
        raise ConfigError("name the weights with --weights FILE, and places whose truth is known with --data KIND:PATH")
    if args.questions < 2 or not 1 <= args.candidates <= 1000:
        raise ConfigError("--questions must be 2 or more, and --candidates from 1 to 1000")
    if args.out is not None and args.out.suffix != ".json":
        raise ConfigError(f"--out {args.out} must be the name of a *.json file")


def _bar(numbers: Sequence[int], label: str) -> Iterable[int]:
    return progress(numbers, len(numbers), label, "batch" if label == "describing" else "image")


def _refused(learned: LearnedMatches, refusal: FitRefusal) -> str:
    from vloc_ros.calibration.probability import FitRefusal

    right, count = int(learned.judged.right.sum()), len(learned.judged.right)
    why = "inliers and shares are the same for all" if refusal is FitRefusal.SAME_EVERYWHERE else refusal.value
    return (
        f"no probability can be learned, because {why} ({right} right and {count - right} wrong ones have a homography; each half "
        "of the places needs 10 of both): give more places with --data, or a larger --questions"
    )


def _report(args: argparse.Namespace, learned: LearnedMatches, model: Any, files: dict[str, Path]) -> None:
    held_out: Any = learned.held_out
    values = {
        "files": {} if args.dry_run else {name.replace(" ", ""): str(path) for name, path in files.items()},
        "searches": learned.searches,
        "right": model.right,
        "wrong": model.wrong,
        "learned_from": model.learned_from,
        "held_out": held_out.to_dict(),
    }
    shown: list[tuple[str, Any]] = [] if args.dry_run else list(files.items())
    shown += [
        ("learned from", model.learned_from),
        ("right, wrong", f"{model.right}, {model.wrong}"),
        ("ECE", number(held_out.ece, "on places it was not learned from")),
        ("  equal mass", number(held_out.ece_equal_mass, "")),
        ("Brier", number(held_out.brier, "")),
        ("AUROC", number(held_out.auroc, "")),
    ]
    emit(args, values, rows(shown))
