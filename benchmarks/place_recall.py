#!/usr/bin/env python3
"""Recall@1 across conditions on held-out places: what `vloc train places` chooses its best epoch by, for any descriptors.

    python benchmarks/place_recall.py --held-out simulated:sim_held_out --descriptors hog,thumbnail,vlad,run/best.safetensors
    python benchmarks/place_recall.py --held-out static:webcams --set 'static.held_out=tilde_*' --descriptors hog,FILE

Each image of one condition is looked for among those of another; what is from the very same pose or shows a place near its own
is left out. The vocabulary of vlad is learned from images of the database alone.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vloc_ros.config import parse_assignments, replace
from vloc_ros.data.frame import Image
from vloc_ros.features import create_extractor
from vloc_ros.retrieval import Describer, describer_for
from vloc_ros.training.place_registry import PLACE_SOURCES, default_settings, open_places
from vloc_ros.training.place_validation import PlaceValidation
from vloc_ros.training.registry import DataSpec


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--held-out", action="append", required=True, metavar="KIND:PATH")
    parser.add_argument("--descriptors", default="thumbnail,hog,vlad,gem_mobilenetv3", help="default: %(default)s")
    parser.add_argument("--features", default="sift_fast", help="local features of vlad (default: sift_fast)")
    parser.add_argument("--max-features", type=int, default=600)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as in `vloc train places`")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    settings = replace(default_settings(), parse_assignments(args.set))
    sources = [open_places(DataSpec.parse(text, PLACE_SOURCES), settings, held_out=True) for text in args.held_out]
    validation = PlaceValidation(sources, settings.validation)
    extractor = create_extractor(args.features, args.max_features)
    found: dict[str, dict[str, float]] = {}
    for name in args.descriptors.split(","):
        describer = describer_for(name, extractor, None, validation.database())
        started = time.perf_counter()

        def describe(pictures: Sequence[Image], describer: Describer = describer) -> NDArray[np.float32]:
            return describer.descriptor.describe_many([describer.view(picture) for picture in pictures])

        found[name] = validation(describe)
        found[name]["seconds"] = round(time.perf_counter() - started, 1)
        if not args.json:
            shown = "  ".join(f"{group.rpartition('/')[0] or group} {share:.2f}" for group, share in found[name].items())
            sys.stdout.write(f"{name}: {shown}\n")
            sys.stdout.flush()
    if args.json:
        sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
