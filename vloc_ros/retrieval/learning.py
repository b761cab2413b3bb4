"""What the descriptors of local features learn from the features of a site, without any labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from vloc_ros.features import Features
from vloc_ros.retrieval.vocabulary import CENTRES, Vocabulary
from vloc_ros.retrieval.words import WordWeights

_PER_CENTRE = 8
"""A word that has fewer features to its name says nothing of other images."""


def learned_assets(name: str, views: Iterable[Features]) -> bytes | None:
    """Vocabulary of a descriptor, learned from the features of images; None when it does not learn from features.

    Raises:
        DataError: the images have no features, or features of several kinds.
    """
    learn = _LEARNERS.get(name)
    return None if learn is None else learn([features for features in views if len(features)])


def _vlad(views: Sequence[Features]) -> bytes:
    total = sum(len(features) for features in views)
    return Vocabulary.learn(views, count=max(1, min(CENTRES, total // _PER_CENTRE))).to_bytes()


def _words(views: Sequence[Features]) -> bytes:
    return WordWeights.learn(views).to_bytes()


_LEARNERS: dict[str, Callable[[Sequence[Features]], bytes]] = {"vlad": _vlad, "words": _words}
