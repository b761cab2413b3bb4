"""``vloc evaluate``: methods side by side on data with known truth."""

from __future__ import annotations

from vloc_ros.commands.common import Subparsers, add_command
from vloc_ros.commands.evaluate_features import register_features
from vloc_ros.commands.evaluate_retrieval import EXAMPLES, register_retrieval


def register(subparsers: Subparsers) -> None:
    """Describe the command; what can be evaluated are commands below it."""
    parser = add_command(subparsers, "evaluate", "compare methods on data with known truth", EXAMPLES, None)
    subjects = parser.add_subparsers(dest="subject", required=True, metavar="retrieval|features")
    register_retrieval(subjects)
    register_features(subjects)
