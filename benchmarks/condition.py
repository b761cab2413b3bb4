#!/usr/bin/env python3
"""How often the condition of an image is found, by the classifier of a network of DISAM and by reconstruction, and in what time.

    python benchmarks/condition.py --weights models/disam.safetensors --data seasons:seasons_val
    python benchmarks/condition.py --weights models/disam.safetensors --data seasons:site --images 40 --json
    python benchmarks/condition.py --weights models/urban.safetensors --data conditions:cmu/urban_held_out

The images are those of folders by condition (kinds as of `vloc train disam`; of `seasons` the reference and the queries), evenly
chosen. `relative` is reconstruction with each condition's misfit in shares of its usual one, which the other half of the images of
that condition says. `images` are those whose condition is found; `harm` is the median cosine distance of the descriptors of the
others from what they are by the right condition. Times are medians of one image at a time, the preparation included.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.frame import Image
from vloc_ros.data.images import read_image
from vloc_ros.data.seasons import open_all_seasons
from vloc_ros.errors import DataError, VlocError
from vloc_ros.networks.disam_preprocessing import disam_images
from vloc_ros.retrieval import Disam, Inference, View
from vloc_ros.retrieval.domain_engine import Part
from vloc_ros.training.condition_feed import ConditionImageSettings
from vloc_ros.training.disam_registry import KINDS, open_conditions
from vloc_ros.training.registry import DataSpec

Row = dict[str, Any]
_TIMED = 30


def main() -> int:
    """Print the table."""
    args = _arguments().parse_args()
    plain = Disam.load(args.weights, Inference.REFERENCE)
    specs = [DataSpec.parse(text, KINDS) for text in args.data]
    images, right = _read(_by_condition(specs, plain.conditions), args.images)
    found, times = _found(args.weights, plain, images, right)
    rows = [_row(plain, name, chosen, images, right) | {"ms": times[name]} for name, chosen in found.items()]
    describe = _milliseconds(lambda image: plain.engine.encode(disam_images([image], plain.form), 0), images)
    if args.json:
        sys.stdout.write(json.dumps({"images": len(images), "describe_ms": describe, "methods": rows}) + "\n")
    else:
        sys.stdout.write(_text(rows, plain.conditions, len(images), describe))
    return 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, help="*.safetensors of DISAM")
    parser.add_argument("--data", action="append", required=True, metavar="KIND:PATH", help="images by condition, held out")
    parser.add_argument("--images", type=int, default=100, help="of each condition, at most (default: 100)")
    parser.add_argument("--json", action="store_true")
    return parser


def _by_condition(specs: Sequence[DataSpec], conditions: Sequence[str]) -> list[list[Callable[[], Image]]]:
    """What reads each image of each condition."""
    found: dict[str, list[Callable[[], Image]]] = {name: [] for name in conditions}
    for spec in specs:
        if spec.kind == "seasons":
            pictures = [one.picture for part in open_all_seasons(spec.path) for one in (*part.database, *part.queries)]
            for picture in pictures:
                found.setdefault(picture.condition, []).append(picture.read)
        else:
            files = open_conditions([spec], conditions, ConditionImageSettings(first=0.0, last=1.0))
            for name, paths in files.items():
                found[name] += [partial(read_image, path) for path in paths]
    lacking = [name for name in conditions if not found[name]]
    if lacking:
        raise DataError(f"there is no image of {lacking[0]} in {', '.join(str(spec.path) for spec in specs)}: add a source of some")
    return [found[name] for name in conditions]


def _read(readers: Sequence[Sequence[Callable[[], Image]]], count: int) -> tuple[list[Image], NDArray[np.int64]]:
    """Images and the numbers of their conditions."""
    images: list[Image] = []
    right: list[int] = []
    for number, some in enumerate(readers):
        for index in np.linspace(0, len(some) - 1, min(count, len(some))).round().astype(int):
            images.append(some[index]())
            right.append(number)
    return images, np.array(right)


def _found(
    weights: Path, plain: Disam, images: Sequence[Image], right: NDArray[np.int64]
) -> tuple[dict[str, NDArray[np.int64]], dict[str, float]]:
    """Of each way: the condition of each image, and the time that it takes [ms]."""
    found: dict[str, NDArray[np.int64]] = {}
    times: dict[str, float] = {}
    for how, part in ((Inference.CLASSIFIER, Part.CLASSIFIER), (Inference.RECONSTRUCTION, Part.MISFIT)):
        if part in plain.engine.parts:
            descriptor = Disam.load(weights, how)
            found[how.value] = descriptor.probabilities(images).argmax(axis=1)
            engine = descriptor.engine
            ask = engine.logits if part is Part.CLASSIFIER else engine.misfit
            times[how.value] = _milliseconds(lambda image, ask=ask: ask(disam_images([image], plain.form)), images)
    if Part.MISFIT in plain.engine.parts:
        misfits = np.concatenate([plain.engine.misfit(disam_images([image], plain.form)) for image in images])
        found["relative"], times["relative"] = _relative(misfits, right), times[Inference.RECONSTRUCTION.value]
    return found, times


def _relative(misfits: NDArray[np.float32], right: NDArray[np.int64]) -> NDArray[np.int64]:
    """The condition whose misfit is smallest beside its usual one, the median of every second image of that condition."""
    found = np.empty(len(right), dtype=np.int64)
    half = np.arange(len(right)) % 2
    for side in (0, 1):
        usual = [np.median(misfits[(right == k) & (half != side), k]) for k in range(misfits.shape[1])]
        found[half == side] = (misfits[half == side] / np.array(usual)).argmin(axis=1)
    return found


def _row(plain: Disam, name: str, chosen: NDArray[np.int64], images: Sequence[Image], right: NDArray[np.int64]) -> Row:
    shares = [float((chosen[right == k] == k).mean()) for k in range(len(plain.conditions))]
    wrong = np.flatnonzero(chosen != right)
    harm = [
        1.0 - float(np.dot(*(plain.describe(View(images[i], condition=plain.conditions[k])) for k in (chosen[i], right[i]))))
        for i in wrong
    ]
    return {
        "method": name,
        "right": float((chosen == right).mean()),
        "of": dict(zip(plain.conditions, shares, strict=True)),
        "harm": float(np.median(harm)) if harm else 0.0,
    }


def _milliseconds(ask: Callable[[Image], object], images: Sequence[Image]) -> float:
    ask(images[0])
    times = []
    for image in images[:_TIMED]:
        began = time.perf_counter()
        ask(image)
        times.append(time.perf_counter() - began)
    return 1e3 * float(np.median(times))


def _text(rows: Sequence[Row], conditions: Sequence[str], count: int, describe: float) -> str:
    wide = max(len(name) for name in conditions) + 2
    lines = [f"{'':<16}{'images':>8}{'harm':>8}{'ms':>8}" + "".join(f"{name:>{wide}}" for name in conditions)]
    for row in rows:
        shares = "".join(f"{100 * share:>{wide - 2}.1f} %" for share in row["of"].values())
        lines.append(f"{row['method']:<16}{100 * row['right']:>6.1f} %{row['harm']:>8.3f}{row['ms']:>8.1f}" + shares)
    return "\n".join([*lines, f"{count} images; to describe one of a known condition takes {describe:.1f} ms"]) + "\n"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VlocError as error:
        sys.exit(str(error))
