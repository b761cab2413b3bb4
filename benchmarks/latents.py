#!/usr/bin/env python3
"""What is lost when the latents of DISAM become short: bytes per image, Recall@1 and @5, and the change of the scores.

    python benchmarks/latents.py --weights coarse/best.safetensors --learn conditions:train --held-out conditions:test
    python benchmarks/latents.py --weights coarse/best.safetensors --learn simulated:train --held-out seasons:area --json

Each query is looked for among the images of the reference condition, with its condition given. Projections are learned from
--learn alone. A difference is that of the scores of all pairs of query and reference to those of the whole latents, its mean.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from disam_latents import Asked, Rows, asked, learned_from, unit, whole

from vloc_ros.networks.disam_files import load_disam
from vloc_ros.networks.disam_form import DisamForm, Stage
from vloc_ros.networks.latent_basis import automatic_cell, learn_basis

KINDS = {"uncentred": (0.0, False), "centred": (0.0, True), "whitened 0.5": (0.5, True), "whitened 1": (1.0, True)}
STORED, PIECES = 512, (64, 128, 256)
Short = Callable[[Rows], tuple[Rows, Rows, int]]
"""Vectors to those of queries, those that are stored, and bytes of one of the latter."""


def recall(scores: Rows, one: Asked, depth: int) -> list[bool]:
    """Whether each query finds its place among so many answers."""
    best = np.argsort(-scores, axis=1, kind="stable")[:, :depth]
    return [bool(np.isin(rows, right).any()) for rows, right in zip(best, one.positives, strict=True)]


def judged(sets: Sequence[Asked], vectors: Sequence[tuple[Rows, Rows]], short: Short, full: Sequence[Rows]) -> dict[str, Any]:
    """The numbers of one way to shorten (queries, reference) of all sets."""
    first: list[bool] = []
    fifth: list[bool] = []
    differences, size = [], 0
    for one, (queries, reference), expected in zip(sets, vectors, full, strict=True):
        (asking, _, _), (_, stored, size) = short(queries), short(reference)
        scores = unit(asking) @ unit(stored).T
        first += recall(scores, one, 1)
        fifth += recall(scores, one, 5)
        differences.append(np.abs(scores - expected).ravel())
    return {
        "bytes": size,
        "recall_1": float(np.mean(first)),
        "recall_5": float(np.mean(fifth)),
        "difference": float(np.concatenate(differences).mean()),
    }


def plain(rows: Rows) -> tuple[Rows, Rows, int]:
    """As they are, in float32."""
    return rows, rows, 4 * rows.shape[1]


def float16(rows: Rows) -> tuple[Rows, Rows, int]:
    """Stored in half the bytes."""
    return rows, rows.astype(np.float16).astype(np.float32), 2 * rows.shape[1]


def int8(rows: Rows) -> tuple[Rows, Rows, int]:
    """Stored as integers, with one scale for a vector."""
    largest = np.abs(rows).max(axis=1, keepdims=True) / 127.0
    return rows, np.asarray(np.rint(rows / largest) * largest, dtype=np.float32), rows.shape[1] + 4


def quantised(learned: Rows, pieces: int) -> Short:
    """Stored as the numbers of learned pieces (product quantisation)."""
    import faiss

    quantiser = faiss.ProductQuantizer(learned.shape[1], pieces, 8)
    quantiser.cp.seed, quantiser.cp.min_points_per_centroid = 1, 1
    quantiser.train(np.ascontiguousarray(learned))

    def short(rows: Rows) -> tuple[Rows, Rows, int]:
        return rows, quantiser.decode(quantiser.compute_codes(np.ascontiguousarray(rows))), pieces

    return short


def table(form: DisamForm, stage: Stage, sets: Sequence[Asked], train: Rows, cells: Sequence[int], lengths: Sequence[int]) -> Any:
    """All rows of one metric, by name."""
    made: dict[str, Any] = {}
    full: list[Rows] = []
    chosen = automatic_cell(form)
    for cell in dict.fromkeys([1, *cells, chosen]):
        vectors = [tuple(whole(form, stage, cell, side) for side in (one.queries, one.reference)) for one in sets]
        full = full or [queries @ reference.T for queries, reference in vectors]
        made["whole latent" if cell == 1 else f"cells of {cell}"] = judged(sets, vectors, plain, full)
        if cell != chosen:
            continue
        learned = whole(form, stage, cell, train)
        for kind, (whitening, centred) in KINDS.items():
            basis = learn_basis(learned, max(lengths), whitening, centred)
            for length in [length for length in lengths if length <= len(basis.basis)]:
                part = [tuple(unit((side - basis.mean) @ basis.basis[:length].T) for side in pair) for pair in vectors]
                made[f"cells of {cell}, {length} {kind}"] = judged(sets, part, plain, full)
                if length == STORED and kind in ("uncentred", "centred"):
                    shown = unit((learned - basis.mean) @ basis.basis[:length].T)
                    ways: dict[str, Short] = {"float16": float16, "int8": int8}
                    ways |= {f"PQ {pieces}": quantised(shown, pieces) for pieces in PIECES if len(shown) >= 256}
                    for name, way in ways.items():
                        made[f"cells of {cell}, {length} {kind}, {name}"] = judged(sets, part, way, full)
    return made


def main() -> int:
    """Print the tables of both metrics."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--learn", action="append", required=True, metavar="KIND:PATH", help="training images")
    parser.add_argument("--held-out", action="append", required=True, metavar="KIND:PATH", help="conditions or seasons")
    parser.add_argument("--images", type=int, default=2100, help="training images (default: %(default)s)")
    parser.add_argument("--limit", type=int, default=2000, help="images of a reference (default: %(default)s)")
    parser.add_argument("--tolerance", type=int, default=0, help="frames of one place, by names (default: %(default)s)")
    parser.add_argument("--cells", default="2,4,8", help="(default: %(default)s)")
    parser.add_argument("--lengths", default="64,128,256,512,1024,2048", help="(default: %(default)s)")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    network, card = load_disam(args.weights)
    sets = asked(network, args.held_out, args.limit, args.tolerance)
    train = learned_from(network, args.learn, args.images)
    cells, lengths = ([int(part) for part in text.split(",")] for text in (args.cells, args.lengths))
    cells = [cell for cell in cells if cell <= min(network.form.latent[1:])]
    found = {stage.value: table(network.form, stage, sets, train, cells, lengths) for stage in Stage}
    if args.json:
        sys.stdout.write(json.dumps({"weights": card.backbone, "sha256": card.sha256, **found}) + "\n")
        return 0
    queries, based = (sum(len(one[side]) for one in sets) for side in (1, 0))
    sys.stdout.write(f"{card.backbone}, {card.trained_on}\n{queries} queries, {based} references, {len(train)} training images\n")
    for stage, rows in found.items():
        sys.stdout.write(f"\n{f'metric of the {stage} stage':44}{'bytes':>9}{'R@1':>8}{'R@5':>8}{'difference':>12}\n")
        for name, row in rows.items():
            sys.stdout.write(f"{name:44}{row['bytes']:9d}{100 * row['recall_1']:8.1f}{100 * row['recall_5']:8.1f}")
            sys.stdout.write(f"{row['difference']:12.4f}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
