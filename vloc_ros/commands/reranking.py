"""Arguments that say how to re-rank what a search found; ``retrieve`` and ``evaluate retrieval`` share them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from vloc_ros.errors import ConfigError

if TYPE_CHECKING:
    from vloc_ros.evaluation.rerank_run import RerankStage

_PREFIX = "rerank."
NAMES = "homography, ransac, patches, or a file of weights (FILE or patches:FILE)"


def add_rerank(parser: argparse.ArgumentParser, several: bool) -> None:
    """--rerank, --rerank-top, --set."""
    ending = "; several of them separated by commas" if several else ""
    parser.add_argument("--rerank", metavar="NAME", help=f"compare the best found with the query by geometry: {NAMES}{ending}")
    parser.add_argument("--rerank-top", type=int, metavar="N", help="how many of the best found are compared (default: 32)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="rerank.KEY=VALUE",
        help="a setting of re-ranking, e.g. rerank.settle=1, rerank.min_inliers=30 (what is accepted)",
    )


def stages_of(args: argparse.Namespace) -> list[RerankStage]:
    """The re-rankers named on the command line, in their order; none without --rerank.

    Raises:
        ConfigError: a re-ranker or a setting is unknown, or a value is out of range.
        WeightsError: a file of weights is missing or damaged.
    """
    if args.rerank is None:
        if args.set or args.rerank_top is not None:
            raise ConfigError(f"--set and --rerank-top are of re-ranking: say with --rerank what re-ranks ({NAMES})")
        return []
    from vloc_ros.config import from_dict, parse_assignments
    from vloc_ros.evaluation.rerank_run import stage_of
    from vloc_ros.retrieval import RerankSettings

    values = parse_assignments(args.set)
    wrong = next((key for key in values if not key.startswith(_PREFIX) or key == f"{_PREFIX}reranker"), None)
    if wrong is not None:
        raise ConfigError(f"--set {wrong}=... is no setting of re-ranking; give rerank.settle, rerank.min_inliers, ...")
    chosen = {key[len(_PREFIX) :]: value for key, value in values.items()}
    if args.rerank_top is not None:
        chosen["candidates"] = args.rerank_top
    settings = [from_dict(RerankSettings, {**chosen, "reranker": name}, _PREFIX) for name in args.rerank.split(",")]
    return [stage_of(one) for one in settings]
