#!/usr/bin/env python3
"""What is lost when the latents of DISAM become short: bytes per image, Recall@1 and @5, and the change of the scores.

    python benchmarks/latents.py --weights coarse/best.safetensors --learn conditions:train --held-out conditions:test
    python benchmarks/latents.py --weights coarse/best.safetensors --learn seasons:area --held-out seasons:other --json

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
from numpy.typing import NDArray

from vloc_ros.networks.disam_files import load_disam
from vloc_ros.networks.disam_form import DisamForm, Stage
from vloc_ros.networks.latent_basis import Basis, Centring, automatic_cell, learn_basis

KINDS = {
    "plain": (0.0, Centring.NONE),
    "centred": (0.0, Centring.CONDITION),
    "whitened 0.5": (0.5, Centring.NONE),
    "centred, whitened 0.5": (0.5, Centring.CONDITION),
    "centred, whitened 1": (1.0, Centring.CONDITION),
}
STORED, STORED_KIND, PIECES = 512, "centred, whitened 0.5", (64, 128, 256)
Sides = Sequence[tuple[Rows, Rows]]
"""Vectors of the queries and of the reference of each set."""
Storing = Callable[[Rows], tuple[Rows, int]]
"""Vectors to what is left of them when they were stored, and the bytes of one."""


def recall(scores: Rows, one: Asked, depth: int) -> list[bool]:
    """Whether each query finds its place among so many answers."""
    best = np.argsort(-scores, axis=1, kind="stable")[:, :depth]
    return [bool(np.isin(rows, right).any()) for rows, right in zip(best, one.positives, strict=True)]


def judged(sets: Sequence[Asked], sides: Sides, full: Sequence[Rows], storing: Storing) -> dict[str, Any]:
    """The numbers of one way to describe; ``full`` are the scores of whole latents. The reference is stored, queries are not."""
    first: list[bool] = []
    fifth: list[bool] = []
    differences, size = [], 0
    for one, (queries, reference), expected in zip(sets, sides, full, strict=True):
        kept, size = storing(reference)
        scores = unit(queries) @ unit(kept).T
        first += recall(scores, one, 1)
        fifth += recall(scores, one, 5)
        differences.append(np.abs(scores - expected).ravel())
    mean = float(np.concatenate(differences).mean())
    return {"bytes": size, "recall_1": float(np.mean(first)), "recall_5": float(np.mean(fifth)), "difference": mean}


def float32(rows: Rows) -> tuple[Rows, int]:
    """As they are."""
    return rows, 4 * rows.shape[1]


def float16(rows: Rows) -> tuple[Rows, int]:
    """In half the bytes."""
    return rows.astype(np.float16).astype(np.float32), 2 * rows.shape[1]


def int8(rows: Rows) -> tuple[Rows, int]:
    """Integers, with one scale for a vector."""
    scale = np.abs(rows).max(axis=1, keepdims=True) / 127.0
    return np.asarray(np.rint(rows / scale) * scale, dtype=np.float32), rows.shape[1] + 4


def quantised(learned: Rows, pieces: int) -> Storing:
    """The numbers of learned pieces (product quantisation)."""
    import faiss

    quantiser = faiss.ProductQuantizer(learned.shape[1], pieces, 8)
    quantiser.cp.seed, quantiser.cp.min_points_per_centroid = 1, 1
    quantiser.train(np.ascontiguousarray(learned))
    return lambda rows: (quantiser.decode(quantiser.compute_codes(np.ascontiguousarray(rows))), pieces)


def projected(basis: Basis, length: int, rows: Rows, conditions: NDArray[np.int64]) -> Rows:
    """The first elements of projected vectors, of unit length."""
    return unit((rows - basis.mean[conditions]) @ basis.basis[:length].T)


class Table:
    """All rows of one metric."""

    def __init__(self, form: DisamForm, stage: Stage, sets: Sequence[Asked], train: tuple[Rows, NDArray[np.int64]]) -> None:
        self._form, self._stage, self._sets, self._train = form, stage, sets, train
        self._full: list[Rows] = []
        self.rows: dict[str, Any] = {}

    def pooled(self, cell: int, lengths: Sequence[int]) -> None:
        """Latents averaged over cells, and their projections; the whole latent first."""
        sides = [(self._whole(cell, one.queries), self._whole(cell, one.reference)) for one in self._sets]
        self._full = self._full or [queries @ reference.T for queries, reference in sides]
        name = "whole latent" if cell == 1 else f"cells of {cell}"
        self.rows[name] = judged(self._sets, sides, self._full, float32)
        latents, conditions = self._train
        learned = self._whole(cell, latents) if lengths else None
        for kind, (whitening, centring) in KINDS.items() if learned is not None else ():
            basis = learn_basis(learned, conditions, len(self._form.conditions), max(lengths), whitening, centring)
            for length in [length for length in lengths if length <= len(basis.basis)]:
                short = [self._short(basis, length, one, *pair) for one, pair in zip(self._sets, sides, strict=True)]
                self.rows[f"{name}, {length} {kind}"] = judged(self._sets, short, self._full, float32)
                if (length, kind) == (STORED, STORED_KIND):
                    self._stored(f"{name}, {length}", short, projected(basis, length, learned, conditions))

    def _stored(self, name: str, short: Sides, learned: Rows) -> None:
        ways: dict[str, Storing] = {"float16": float16, "int8": int8}
        ways |= {f"PQ of {pieces}": quantised(learned, pieces) for pieces in PIECES}
        for way, storing in ways.items():
            self.rows[f"{name}, so, {way}"] = judged(self._sets, short, self._full, storing)

    def _short(self, basis: Basis, length: int, one: Asked, queries: Rows, reference: Rows) -> tuple[Rows, Rows]:
        first = np.zeros(len(reference), dtype=np.int64)
        return projected(basis, length, queries, one.conditions), projected(basis, length, reference, first)

    def _whole(self, cell: int, latents: Rows) -> Rows:
        return whole(self._form, self._stage, cell, latents)


def main() -> int:
    """Print the tables of both metrics."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--learn", action="append", required=True, metavar="KIND:PATH", help="training images")
    parser.add_argument("--held-out", action="append", required=True, metavar="KIND:PATH", help="conditions or seasons")
    parser.add_argument("--images", type=int, default=1200, help="training images (default: %(default)s)")
    parser.add_argument("--limit", type=int, default=2000, help="images of a reference (default: %(default)s)")
    parser.add_argument("--tolerance", type=int, default=0, help="frames of one place, by names (default: %(default)s)")
    parser.add_argument("--cells", default="2,4,8", help="averaged over (default: %(default)s)")
    parser.add_argument("--projected", help="cells whose means are projected, too (default: that of a training)")
    parser.add_argument("--lengths", default="64,128,256,512,1024", help="(default: %(default)s)")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    network, card = load_disam(args.weights)
    form = network.form
    sets = asked(network, args.held_out, args.limit, args.tolerance)
    train = learned_from(network, args.learn, args.images)
    chosen = _numbers(args.projected) if args.projected else [automatic_cell(form)]
    found = {}
    for stage in Stage:
        table = Table(form, stage, sets, train)
        for cell in sorted({1, *chosen, *(cell for cell in _numbers(args.cells) if cell <= min(form.latent[1:]))}):
            table.pooled(cell, _numbers(args.lengths) if cell in chosen else [])
        found[stage.value] = table.rows
    if args.json:
        sys.stdout.write(json.dumps({"weights": card.backbone, "sha256": card.sha256, **found}) + "\n")
        return 0
    queries, based = (sum(len(one[side]) for one in sets) for side in (1, 0))
    sys.stdout.write(
        f"{card.backbone}, {card.trained_on}\n{queries} queries, {based} references, {len(train[0])} training images\n"
    )
    for stage_name, rows in found.items():
        sys.stdout.write(f"\n{f'metric of the {stage_name} stage':46}{'bytes':>9}{'R@1':>8}{'R@5':>8}{'difference':>12}\n")
        for name, row in rows.items():
            sys.stdout.write(f"{name:46}{row['bytes']:9d}{100 * row['recall_1']:8.1f}{100 * row['recall_5']:8.1f}")
            sys.stdout.write(f"{row['difference']:12.4f}\n")
    return 0


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
