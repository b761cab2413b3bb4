#!/usr/bin/env python3
"""Search in an index of 100 000 descriptors of 512 elements: time, recall and memory, beside one BLAS product.

    python benchmarks/search.py
    python benchmarks/search.py --rows 20000 --dimension 1024 --json

Two kinds of descriptors. **Route**: a robot passes places whose descriptors change smoothly from one to the next (fifty images
each), every image has noise of its own, and queries are other images of the same places: clustered, as real ones are.
**Uniform**: random directions without any structure, where nothing but looking at all of them helps; shown so that nobody expects
the approximate search to work on such data.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_ros.retrieval import DescriptorIndex, IndexSettings

IMAGES_PER_PLACE, NOISE, K = 50, 0.5, 10
Rows = NDArray[np.float32]


def unit(rows: NDArray[Any]) -> Rows:
    """Rows of unit length."""
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def route(count: int, dimension: int, queries: int, generator: np.random.Generator) -> tuple[Rows, Rows]:
    """Images along a route, and other images of places of it; noise is half as long as the signal."""
    places = unit(generator.standard_normal((count // IMAGES_PER_PLACE + 2, dimension)))
    where = np.arange(count) / IMAGES_PER_PLACE
    first, share = where.astype(int), (where % 1.0)[:, None].astype(np.float32)
    clean = unit((1.0 - share) * places[first] + share * places[first + 1])

    def seen(rows: Rows) -> Rows:
        return unit(rows + NOISE / np.sqrt(dimension) * generator.standard_normal(rows.shape).astype(np.float32))

    return seen(clean), seen(clean[generator.integers(0, count, queries)])


def uniform(count: int, dimension: int, queries: int, generator: np.random.Generator) -> tuple[Rows, Rows]:
    """Random directions."""
    return unit(generator.standard_normal((count, dimension))), unit(generator.standard_normal((queries, dimension)))


def measure(rows: Rows, queries: Rows) -> dict[str, Any]:
    """Times [ms], each the median over the queries, of the three taken turn by turn; recall over all queries."""
    ids = range(len(rows))
    exact: DescriptorIndex[int] = DescriptorIndex(rows.shape[1], IndexSettings(approximate_above=10**9))
    exact.add_many(ids, rows)
    # More images than this are searched approximately; the setting is what the index is built for here.
    near: DescriptorIndex[int] = DescriptorIndex(
        rows.shape[1], IndexSettings(approximate_above=min(50_000, len(rows) // 2), exact_mb=0)
    )
    near.add_many(ids, rows)
    begin = time.perf_counter()
    near.build()
    built = time.perf_counter() - begin
    actions: dict[str, Callable[[Rows], Any]] = {
        "blas": lambda query: rows @ query,
        "exact": lambda query: exact.search(query, K),
        "approximate": lambda query: near.search(query, K),
    }
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    shared = first = 0
    for query in queries:
        found = {}
        for name, action in actions.items():
            begin = time.perf_counter()
            found[name] = action(query)
            seconds[name].append(time.perf_counter() - begin)
        shared += len(set(found["exact"].ids) & set(found["approximate"].ids))
        first += found["exact"].ids[:1] == found["approximate"].ids[:1]
    times = {f"{name}_ms": 1e3 * float(np.median(taken)) for name, taken in seconds.items()}
    return times | {
        "exact_over_blas": times["exact_ms"] / times["blas_ms"],
        "blas_over_approximate": times["blas_ms"] / times["approximate_ms"],
        "exact_over_approximate": times["exact_ms"] / times["approximate_ms"],
        f"recall_at_{K}": shared / (K * len(queries)),
        "recall_at_1": first / len(queries),
        "build_s": built,
        "exact_mb": exact.size_bytes / 1e6,
        "with_lists_mb": near.size_bytes / 1e6,
    }


def main() -> int:
    """Measure both kinds of data and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    generator = np.random.default_rng(1)
    kinds = {"route": route, "uniform": uniform}
    results = {name: measure(*make(args.rows, args.dimension, args.queries, generator)) for name, make in kinds.items()}
    if args.json:
        sys.stdout.write(json.dumps({"rows": args.rows, "dimension": args.dimension, **results}) + "\n")
        return 0
    sys.stdout.write(f"{args.rows} x {args.dimension}\n{'':24}" + "".join(f"{name:>12}" for name in results) + "\n")
    for key in results["route"]:
        sys.stdout.write(f"{key:24}" + "".join(f"{result[key]:12.3f}" for result in results.values()) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
