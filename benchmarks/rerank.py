#!/usr/bin/env python3
"""Re-ranking 32 candidates by a homography: the published forward against ours, one run, the same random weights, two cores.

    python benchmarks/rerank.py
    python benchmarks/rerank.py --backbone cct_small --queries 6 --json

Each query is a place seen again among the best 32 that its global descriptor finds among 64 places. All rows take turns, query by
query, so that what else the machine does slows all alike; times are medians, those of the processor of both cores together: what
counts where the machine is busy. "same counts" and "same ranks" compare with the published forward, its equal counts in the order
of the search (it turns them around); "same best" is the first of the new order, which is all that certain=1 promises.
The last layer of the random network is scaled so that its points move by some 20 px, as those of a trained one do: else all
homographies would be the identity, and all rankings equal.

    python benchmarks/rerank.py --weights models/cct.safetensors PLACES --layout tree

shows what RANSAC on SIFT needs for the same accuracy, see rerank_accuracy.py.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

# Threads that wait in a loop for each other punish torch, and not ONNX Runtime, for what else the machine does.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rerank_published import PublishedForward

from vloc_ros.data.frame import Image
from vloc_ros.networks.names import Backbone
from vloc_ros.networks.two_stage import TwoStageNetwork, random_two_stage
from vloc_ros.networks.two_stage_files import save_two_stage
from vloc_ros.retrieval.integer_pairs import integer_engine
from vloc_ros.retrieval.pair_engine import THREADS, PairEngine, pair_engine
from vloc_ros.retrieval.patch_codebook import PatchCodebook
from vloc_ros.retrieval.patch_codes import PatchCodec
from vloc_ros.retrieval.rerank import RerankSettings, Storage
from vloc_ros.retrieval.rerank_homography import HomographyReranker
from vloc_ros.retrieval.reranking import rerank

CANDIDATES = 32
MOVED_PX = 20.0
PUBLISHED = "published forward, float32"
Way = Callable[[int, list[int]], "tuple[dict[int, int], list[int]]"]
Patches = NDArray[np.float32]


@dataclass
class Row:
    """What one way of re-ranking took and answered."""

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    counts: list[dict[int, int]] = field(default_factory=list)
    orders: list[list[int]] = field(default_factory=list)


def main() -> int:
    """Print the table."""
    if "--weights" in sys.argv:
        from rerank_accuracy import main as compare

        return compare()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", choices=["cct14", "cct_small"], default="cct14")
    parser.add_argument("--queries", type=int, default=3)
    parser.add_argument("--places", type=int, default=64, help=f"in the database, {CANDIDATES} or more (default: 64)")
    parser.add_argument("--rows", default="", help="only those that begin so, and the published one")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(THREADS)
    network = lively(random_two_stage(Backbone(args.backbone)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "random.safetensors"
        save_two_stage(path, network, "nothing: random weights")
        rows, kept = measured(network, path, (args.queries, args.places), args.rows)
    report(rows, kept, args.json)
    return 0


def lively(network: TwoStageNetwork) -> TwoStageNetwork:
    """The network with a last layer whose points move by some pixels with what it sees."""
    generator = torch.Generator().manual_seed(1)
    patches = torch.nn.functional.normalize(
        torch.randn(2, network.backbone.side**2, network.backbone.channels, generator=generator), dim=2
    )
    with torch.inference_mode():
        still = network.points(patches[0], patches)
    with torch.no_grad():
        network.regression.points.weight.mul_(MOVED_PX / (still - network.regression.points.bias.reshape(8, 2)).std())
    return network


def measured(network: TwoStageNetwork, path: Path, numbers: tuple[int, int], wanted: str) -> tuple[dict[str, Row], dict[str, int]]:
    """Rows by name, and bytes that are kept of an image by storage."""
    floats = pair_engine(path)
    queries, places = numbers
    pictures = [place(number) for number in range(places)]
    means, patches = floats.look(pictures)
    asked = [number * 7 % places for number in range(queries)]
    found_means, found_patches = floats.look([again(pictures[number], number) for number in asked])
    lists = [list(map(int, np.argsort(-(means @ mean), kind="stable")[:CANDIDATES])) for mean in found_means]
    book = PatchCodebook.learn(patches.reshape(-1, patches.shape[2]), floats.card.sha256)
    ways, kept = {}, {"published (float32)": patches[0].nbytes}
    for storage in Storage:
        codec = codec_of(floats, storage, book)
        kept[storage.value] = len(codec.to_bytes(codec.encode(patches[0])))
    ways[PUBLISHED] = published(network, patches, found_patches)
    ways |= ours((floats, integer_engine(path, floats), Brief(network, floats)), book, patches, found_patches)
    ways = {name: way for name, way in ways.items() if name == PUBLISHED or name.startswith(wanted)}
    rows = {name: Row() for name in ways}
    for way in ways.values():
        way(0, lists[0][:2])  # what is loaded with the first pair is not timed
    for query, list_of in enumerate(lists):
        for name, way in ways.items():
            began, used = time.perf_counter(), time.process_time()
            counts, order = way(query, list_of)
            rows[name].cpu.append(time.process_time() - used)
            rows[name].seconds.append(time.perf_counter() - began)
            rows[name].counts.append(counts)
            rows[name].orders.append(order)
    return rows, kept


def published(network: TwoStageNetwork, patches: NDArray[np.float32], asked: NDArray[np.float32]) -> Way:
    """The transcription; equal counts in the order of the search."""
    forward, side = PublishedForward(network), network.backbone.side

    def as_map(rows: NDArray[np.float32]) -> torch.Tensor:
        return torch.from_numpy(rows).T.unflatten(1, (side, side)).contiguous()

    maps, queries = [as_map(rows) for rows in patches], [as_map(rows) for rows in asked]

    def way(query: int, ids: list[int]) -> tuple[dict[int, int], list[int]]:
        counts = dict(zip(ids, forward.counts(queries[query], [maps[id] for id in ids]), strict=True))
        return counts, sorted(ids, key=lambda id: -counts[id])

    return way


class Brief(PairEngine):
    """The network in bfloat16, by torch."""

    def __init__(self, network: TwoStageNetwork, floats: PairEngine) -> None:
        """Of the network, which stays as it is."""
        super().__init__(floats.card)
        self._floats = floats
        self._network = TwoStageNetwork(network.backbone)
        self._network.load_state_dict(network.state_dict())
        self._network.eval().bfloat16()

    def _look(self, images: list[Image]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return self._floats.look(images)

    def _points(self, query: NDArray[np.float32], candidates: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            made = self._network.points(torch.from_numpy(query).bfloat16(), torch.from_numpy(candidates).bfloat16())
        return made.float().numpy()


def codec_of(engine: PairEngine, storage: Storage, book: PatchCodebook) -> PatchCodec:
    """What encodes the patches of an image."""
    return PatchCodec(storage, engine.side**2, engine.channels, engine.card.sha256, book)


def ours(
    engines: tuple[PairEngine, PairEngine, PairEngine], book: PatchCodebook, patches: Patches, asked: Patches
) -> dict[str, Way]:
    """Each engine with each storage that shows something."""
    floats, integers, brief = engines
    rows: list[tuple[str, PairEngine, RerankSettings]] = [
        ("ONNX Runtime float32, float16 kept", floats, RerankSettings(storage=Storage.FLOAT16)),
        ("ONNX Runtime float32, int8 kept", floats, RerankSettings()),
        ("torch bfloat16, float16 kept", brief, RerankSettings(storage=Storage.FLOAT16)),
        ("integers, float16 kept", integers, RerankSettings(storage=Storage.FLOAT16)),
        ("integers, int8 kept", integers, RerankSettings()),
        ("integers, pq kept", integers, RerankSettings(storage=Storage.PQ)),
        ("float32, float16 kept, certain=1", floats, RerankSettings(storage=Storage.FLOAT16, certain=1)),
        ("float32, float16 kept, certain=5", floats, RerankSettings(storage=Storage.FLOAT16, certain=5)),
        ("integers, int8 kept, certain=1", integers, RerankSettings(certain=1)),
        ("integers, int8 kept, settle=1", integers, RerankSettings(settle=1, min_share=0.5)),
    ]
    return {
        name: way_of(HomographyReranker(engine, settings, book), settings, codec_of(engine, settings.storage, book), patches, asked)
        for name, engine, settings in rows
    }


def way_of(reranker: HomographyReranker, settings: RerankSettings, codec: PatchCodec, patches: Patches, asked: Patches) -> Way:
    """What a user calls, with what is kept of the pictures."""
    kept, queries = [codec.encode(rows) for rows in patches], [codec.encode(rows) for rows in asked]

    def way(query: int, ids: list[int]) -> tuple[dict[int, int], list[int]]:
        answer = rerank(reranker, queries[query], ids, kept.__getitem__, settings)
        return {id: one.inliers for id, one in zip(answer.ids, answer.verifications, strict=False)}, answer.ids

    return way


def report(rows: dict[str, Row], kept: dict[str, int], as_json: bool) -> None:
    """One line for each row."""
    if not as_json:
        head = f"{'':<38}{'ms/query':>9}{'faster':>8}{'CPU ms':>8}{'less':>8}{'compared':>10}"
        sys.stdout.write(f"{head}{'same counts':>13}{'same ranks':>12}{'same best':>11}\n")
    for name, row in rows.items():
        found = compared_with(row, rows[PUBLISHED])
        if as_json:
            sys.stdout.write(json.dumps({"row": name} | found) + "\n")
            continue
        shares = (found["same_counts"], found["same_ranks"], found["same_best"])
        shown = "".join(
            f"{'-' if np.isnan(share) else f'{share:.0%}':>{width}}" for share, width in zip(shares, (13, 12, 11), strict=True)
        )
        sys.stdout.write(f"{name:<38}{found['ms']:>9.0f}{found['faster']:>7.1f}x{found['cpu_ms']:>8.0f}{found['less_cpu']:>7.1f}x")
        sys.stdout.write(f"{found['compared']:>10.1f}{shown}\n")
    sys.stdout.write(json.dumps({"bytes_per_image": kept}) + "\n" if as_json else f"bytes per image: {kept}\n")


def compared_with(row: Row, base: Row) -> dict[str, float]:
    """Medians of times, and shares of what is as in the published forward; no ranks where not all were compared."""
    same = [counts[id] == wanted[id] for counts, wanted in zip(row.counts, base.counts, strict=True) for id in counts]
    ranks = [a == b for order, wanted in zip(row.orders, base.orders, strict=True) for a, b in zip(order, wanted, strict=True)]
    compared = float(np.mean([len(counts) for counts in row.counts]))
    return {
        "ms": 1e3 * float(np.median(row.seconds)),
        "faster": float(np.median(np.divide(base.seconds, row.seconds))),
        "cpu_ms": 1e3 * float(np.median(row.cpu)),
        "less_cpu": float(np.median(np.divide(base.cpu, row.cpu))),
        "compared": compared,
        "same_counts": float(np.mean(same)),
        "same_ranks": float(np.mean(ranks)) if compared == CANDIDATES else float("nan"),
        "same_best": float(np.mean([a[0] == b[0] for a, b in zip(row.orders, base.orders, strict=True)])),
    }


def place(number: int) -> Image:
    """A (480, 640, 3) picture of a place: blocks and discs that no other place has."""
    generator = np.random.default_rng(number)
    image = np.full((480, 640, 3), generator.integers(60, 180, 3), dtype=np.uint8)
    for _ in range(60):
        u, v, size = int(generator.integers(0, 640)), int(generator.integers(0, 480)), int(generator.integers(12, 120))
        colour = tuple(int(c) for c in generator.integers(0, 256, 3))
        if generator.random() < 0.5:
            cv2.rectangle(image, (u, v), (u + size, v + int(size * generator.uniform(0.3, 2.0))), colour, -1)
        else:
            cv2.circle(image, (u, v), size // 2, colour, -1)
    return image


def again(image: Image, seed: int) -> Image:
    """The place from a little elsewhere, darker and with noise."""
    generator = np.random.default_rng(seed)
    corners = np.array([[0, 0], [639, 0], [639, 479], [0, 479]], dtype=np.float32)
    matrix = cv2.getPerspectiveTransform(corners, (corners + generator.uniform(-40, 40, (4, 2))).astype(np.float32))
    moved = cv2.warpPerspective(image, matrix, (640, 480), borderMode=cv2.BORDER_REFLECT).astype(np.float64)
    return np.clip(0.8 * moved + 10.0 + generator.normal(0.0, 4.0, moved.shape), 0, 255).astype(np.uint8)


if __name__ == "__main__":
    sys.exit(main())
