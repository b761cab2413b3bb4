#!/usr/bin/env python3
"""Search among 100 000 images by short vectors of DISAM: time on two cores, memory, and recall beside that of whole latents.

    OMP_NUM_THREADS=2 python benchmarks/search_100k.py --weights coarse/best.safetensors --learn conditions:train \
        --held-out conditions:test

The queries and the places that answer them are real, held-out images. What they are searched among is made of the training images
of the reference: each is described through some random views (parts of it, half of them mirrored), and between the latents of
neighbouring images others are drawn (a mixture of the two, and noise of a fifth of each channel's deviation), until there are so
many. Projections are learned from the same training images, unaltered. The index is that of maps, with its settings by default.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from disam_latents import Asked, Rows, asked, latents, learned_from, unit, whole
from numpy.typing import NDArray

from vloc_ros.data.frame import Image
from vloc_ros.data.images import read_image
from vloc_ros.data.places import Picture
from vloc_ros.networks.disam_files import load_disam
from vloc_ros.networks.domains import DomainNetwork
from vloc_ros.networks.latent_basis import Basis, Centring, automatic_cell, learn_basis
from vloc_ros.retrieval import DescriptorIndex, IndexSettings
from vloc_ros.training.condition_feed import ConditionImageSettings
from vloc_ros.training.disam_registry import KINDS, open_conditions
from vloc_ros.training.registry import DataSpec

BLOCK, NOISE, SMALLEST_PART, K = 2000, 0.2, 0.8, 25


def view_of(path: Path, seed: int) -> Image:
    """A random part of an image, mirrored half of the time."""
    image, generator = read_image(path), np.random.default_rng(seed)
    share = generator.uniform(SMALLEST_PART, 1.0)
    height, width = (max(8, round(share * side)) for side in image.shape[:2])
    top, left = (int(generator.integers(side - part + 1)) for side, part in zip(image.shape, (height, width), strict=False))
    part = image[top : top + height, left : left + width]
    return np.ascontiguousarray(part[:, ::-1] if generator.random() < 0.5 else part)


def viewed(network: DomainNetwork, texts: list[str], views: int) -> Rows:
    """(V, M, C, h, w) latents of random views of all training images of the reference, in their order."""
    files = open_conditions([DataSpec.parse(text, KINDS) for text in texts], (), ConditionImageSettings())
    paths = files[network.form.conditions[0]]
    seen = [
        [Picture(path.name, partial(view_of, path, view * len(paths) + k)) for k, path in enumerate(paths)] for view in range(views)
    ]
    return np.stack([latents(network, pictures, 0) for pictures in seen])


def made_up(seen: Rows, count: int) -> Iterator[Rows]:
    """Blocks of latents, ``count`` in all: those of the views, then mixtures of neighbours with noise."""
    generator = np.random.default_rng(5)
    real = seen.reshape(-1, *seen.shape[2:])
    for start in range(0, count, BLOCK):
        number = np.arange(start, min(start + BLOCK, count))
        place, of = number % seen.shape[1], generator.integers(len(seen), size=(2, len(number)))
        one, other = seen[of[0], place], seen[of[1], np.minimum(place + 1, seen.shape[1] - 1)]
        share = generator.uniform(0.0, 0.5, len(number)).astype(np.float32)[:, None, None, None]
        mixed = (1.0 - share) * one + share * other
        noise = generator.standard_normal(mixed.shape, dtype=np.float32)
        mixed += NOISE * mixed.std(axis=(2, 3), keepdims=True) * noise
        mixed[number < len(real)] = real[number[number < len(real)]]
        yield mixed


class Kept(NamedTuple):
    """What is searched.

    Attributes:
        short: (N, D) vectors of all images, those of the reference first.
        queries: (Q, D) of the queries.
        positives: (Q, P) images that show the place of each query, filled up with -1.
        answers: (Q,) numbers of the best images by whole latents.
        numbers: (2,) how many of the images were described, and bytes of a whole latent.
    """

    short: Rows
    queries: Rows
    positives: NDArray[np.int64]
    answers: NDArray[np.int64]
    numbers: NDArray[np.int64]


def made(args: argparse.Namespace) -> Kept:
    """Describe everything."""
    network, _ = load_disam(args.weights)
    form = network.form
    one, *more = asked(network, [args.held_out], args.limit, args.tolerance)
    if more:
        raise SystemExit(f"{args.held_out} has {1 + len(more)} slices, each with a reference of its own: name the folder of one")
    cell, longest = automatic_cell(form), max(int(part) for part in args.lengths.split(","))
    train, conditions = learned_from(network, args.learn, args.images)
    learned = whole(form, form.stage, cell, train)
    basis = learn_basis(learned, conditions, len(form.conditions), longest, 0.5, Centring.CONDITION)
    seen = viewed(network, args.learn, args.views)
    short, answers = gathered(network, one, seen, args.rows, basis, cell)
    queries = (whole(form, form.stage, cell, one.queries) - basis.mean[one.conditions]) @ basis.basis.T
    described = min(args.rows, len(one.reference) + len(seen) * seen.shape[1])
    positives = np.full((len(queries), max(map(len, one.positives))), -1, dtype=np.int64)
    for row, of in zip(positives, one.positives, strict=True):
        row[: len(of)] = of
    return Kept(short, queries, positives, answers, np.array([described, 4 * int(np.prod(form.latent))]))


def gathered(network: DomainNetwork, one: Asked, seen: Rows, rows: int, basis: Basis, cell: int) -> tuple[Rows, NDArray[np.int64]]:
    """(N, D) short vectors of all images, the reference first, and the number of the best by whole latents for each query."""
    form = network.form
    queries = whole(form, form.stage, 1, one.queries)
    best = np.full(len(queries), -np.inf, dtype=np.float32)
    answer = np.zeros(len(queries), dtype=np.int64)
    short, begun = [], 0
    for block in chain([one.reference], made_up(seen, rows - len(one.reference))):
        vectors = whole(form, form.stage, 1, block)
        scores = queries @ vectors.T
        row = scores.argmax(axis=1)
        found = scores[np.arange(len(row)), row]
        answer, best = np.where(found > best, row + begun, answer), np.maximum(best, found)
        pooled = vectors if cell == 1 else whole(form, form.stage, cell, block)
        short.append((pooled - basis.mean[0]) @ basis.basis.T)
        begun += len(block)
    return np.concatenate(short), answer


def timed(action: Callable[[Rows], list[int]], queries: Rows) -> tuple[list[int], float, float]:
    """The best answer to each query, and the median and the 95th percentile of the time [ms]."""
    answers, seconds = [], []
    for query in queries:
        begin = time.perf_counter()
        found = action(query)
        seconds.append(time.perf_counter() - begin)
        answers.append(found[0])
    return answers, *(1e3 * float(np.percentile(seconds, percent)) for percent in (50, 95))


def searched(short: Rows, queries: Rows, kept: Kept, settings: IndexSettings) -> dict[str, Any]:
    """Time, memory and recall of an index of short vectors."""
    before = resident_mb()
    index: DescriptorIndex[int] = DescriptorIndex(short.shape[1], settings)
    index.add_many(range(len(short)), short)
    begin = time.perf_counter()
    index.build()
    built = time.perf_counter() - begin
    for query in queries[:20]:
        index.search(query, K)
    answers, median, late = timed(lambda query: index.search(query, K).ids, queries)
    return {
        "bytes": 4 * short.shape[1],
        "recall_1": right(answers, kept),
        "p50_ms": median,
        "p95_ms": late,
        "build_s": built,
        "index_mb": index.size_bytes / 1e6,
        "resident_mb": resident_mb() - before,
    }


def resident_mb() -> float:
    """Memory of this process [MB]."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def right(answers: Any, kept: Kept) -> float:
    """Recall@1."""
    return float(np.mean([row in of[of >= 0] for row, of in zip(answers, kept.positives, strict=True)]))


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--learn", action="append", required=True, metavar="KIND:PATH", help="training images")
    parser.add_argument("--held-out", required=True, metavar="KIND:PATH", help="conditions or seasons")
    parser.add_argument("--rows", type=int, default=100_000, help="images to search among (default: %(default)s)")
    parser.add_argument("--views", type=int, default=4, help="of each training image (default: %(default)s)")
    parser.add_argument("--images", type=int, default=1200, help="training images for the projection (default: %(default)s)")
    parser.add_argument("--limit", type=int, default=2000, help="real images of the reference (default: %(default)s)")
    parser.add_argument("--tolerance", type=int, default=0, help="frames of one place, by names (default: %(default)s)")
    parser.add_argument("--lengths", default="128,256,512", help="of vectors (default: %(default)s)")
    parser.add_argument("--probes", default="48", help="lists that approximate searches look into (default: %(default)s)")
    parser.add_argument("--keep", type=Path, metavar="FILE.npz", help="where vectors are kept, and taken from the next time")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    kept = made(args) if args.keep is None or not args.keep.exists() else Kept(**np.load(args.keep))
    if args.keep is not None and not args.keep.exists():
        np.savez(args.keep, **kept._asdict())
    ways = {"exact": IndexSettings(approximate_above=10**9)}
    ways |= {
        f"{probes} lists": IndexSettings(probes=int(probes), approximate_above=1000, exact_mb=0)
        for probes in args.probes.split(",")
    }
    whole_recall, found = right(kept.answers, kept), {}
    for length in [int(part) for part in args.lengths.split(",")]:
        short, queries = unit(kept.short[:, :length]), unit(kept.queries[:, :length])
        for name, settings in ways.items():
            found[f"{short.shape[1]}, {name}"] = searched(short, queries, kept, settings)
    described, whole_bytes = (int(value) for value in kept.numbers)
    values = {"images": len(kept.short), "described": described, "queries": len(kept.queries)}
    if args.json:
        sys.stdout.write(json.dumps(values | {"whole": {"bytes": whole_bytes, "recall_1": whole_recall}} | found) + "\n")
        return 0
    sys.stdout.write(", ".join(f"{value} {name}" for name, value in values.items()) + "\n")
    names = {"bytes": "bytes", "recall_1": "R@1", "p50_ms": "p50 ms", "p95_ms": "p95 ms", "build_s": "build s"}
    names |= {"index_mb": "index MB", "resident_mb": "resident MB"}
    sys.stdout.write(f"{'':18}" + "".join(f"{name:>13}" for name in names.values()) + "\n")
    sys.stdout.write(f"{'whole latent':18}{whole_bytes:13d}{whole_recall:13.3f}\n")
    for name, row in found.items():
        sys.stdout.write(f"{name:18}{row['bytes']:13d}" + "".join(f"{row[key]:13.3f}" for key in list(names)[1:]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
