"""What place recognition is for, measured on held-out places: Recall@1 across conditions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vloc_ros.config import param
from vloc_ros.data.frame import Image
from vloc_ros.errors import ConfigError
from vloc_ros.training.places import UNNAMED, PlaceSource, PlaceView

Describe = Callable[[Sequence[Image]], NDArray[np.float32]]
"""(N, D) vectors of images, of unit length or all zeros where there is nothing to describe."""
_CHUNK = 32
RECALL = "/recall_1"


@dataclass(frozen=True)
class PlaceValidationSettings:
    """Which held-out places are judged."""

    places: int = param(150, "at most so many places of each source, evenly chosen", min=2)
    databases: int = param(3, "queries are looked for in at most so many conditions: those in which most places were seen", min=1)


class Entry(NamedTuple):
    """An image to be judged: its place, by index, and what is known of it."""

    place: int
    view: PlaceView


class Question(NamedTuple):
    """An image to look for among others."""

    group: str
    """Kind of source, and the conditions of the image and of the database where they have names."""
    query: int
    """Its entry."""
    allowed: list[int]
    """Entries of the database that may answer it; at least one of them shows its place."""


class PlaceValidation:
    """Judges descriptors on the same images each time, which are read anew to keep memory small."""

    def __init__(self, sources: Sequence[PlaceSource], settings: PlaceValidationSettings | None = None) -> None:
        """Choose the places.

        Args:
            sources: of places that nothing is trained on.
            settings: how many.

        Raises:
            ConfigError: there are no sources.
        """
        if not sources:
            raise ConfigError("a validation needs at least one source of held-out places")
        self._sources, self._settings = tuple(sources), settings or PlaceValidationSettings()

    def __call__(self, describe: Describe) -> dict[str, float]:
        """Figures of a descriptor: Recall@1 of each group, ``<kind>:<condition asked>><condition of the database>/recall_1``.

        Every image taken in one condition is looked for among those of another condition, of all places of its source. What was
        taken from the very same pose, or shows a place near its own, is left out of the answers. ``task`` is the mean over the
        groups.

        Raises:
            ConfigError: no source has two conditions in which one place was seen.
            DataError: an image is missing or damaged; the text names it.
        """
        right: dict[str, list[bool]] = {}
        for _, entries, questions in self.asked():
            vectors = described(entries, describe)
            for question in questions:
                right.setdefault(question.group, []).append(_found(question, entries, vectors))
        figures = {f"{group}{RECALL}": float(np.mean(answers)) for group, answers in sorted(right.items())}
        return {"task": float(np.mean(list(figures.values()))), **figures}

    def asked(self) -> Iterator[tuple[PlaceSource, list[Entry], list[Question]]]:
        """Of each source the images, and what is asked of them.

        Raises:
            ConfigError: no source has two conditions in which one place was seen.
        """
        some = False
        for source in self._sources:
            entries = self._entries(source)
            databases = self._databases(entries)
            questions = [question for condition in databases for question in _questions(source, entries, condition)]
            some |= bool(questions)
            yield source, entries, questions
        if not some:
            raise ConfigError("the held-out places were seen in one condition each; name a source that has several")

    def database(self) -> Iterator[Image]:
        """The images of the databases, for descriptors that have a vocabulary to learn.

        Raises:
            DataError: an image is missing or damaged; the text names it.
        """
        for source in self._sources:
            entries = self._entries(source)
            conditions = self._databases(entries)
            yield from (entry.view.read() for entry in entries if entry.view.condition in conditions)

    def _entries(self, source: PlaceSource) -> list[Entry]:
        count = min(len(source), self._settings.places)
        chosen = [k * len(source) // count for k in range(count)]
        return [Entry(index, view) for index in chosen for view in source.place(index).views]

    def _databases(self, entries: Sequence[Entry]) -> list[str]:
        """The conditions in which most places were seen."""
        seen: dict[str, set[int]] = {}
        for entry in entries:
            seen.setdefault(entry.view.condition, set()).add(entry.place)
        most = max(len(places) for places in seen.values())
        return [condition for condition, places in seen.items() if len(places) == most][: self._settings.databases]


def described(
    entries: Sequence[Entry], describe: Describe, progress: Callable[[Sequence[int]], Iterable[int]] = lambda starts: starts
) -> NDArray[np.float32]:
    """(N, D) vectors; few images are in memory at once. ``progress`` wraps the walk over the batches.

    Raises:
        DataError: an image is missing or damaged; the text names it.
    """
    starts = progress(range(0, len(entries), _CHUNK))
    return np.concatenate([describe([entry.view.read() for entry in entries[first : first + _CHUNK]]) for first in starts])


def _questions(source: PlaceSource, entries: Sequence[Entry], condition: str) -> Iterator[Question]:
    """All images of other conditions, to be looked for in the database of one condition."""
    database = [row for row, entry in enumerate(entries) if entry.view.condition == condition]
    for row, entry in enumerate(entries):
        if entry.view.condition == condition:
            continue
        near = source.near(entry.place)
        allowed = [base for base in database if _may_answer(entry, entries[base], near)]
        if any(entries[base].place == entry.place for base in allowed):  # else the database does not have it
            yield Question(_group(source.place(entry.place).kind, entry.view.condition, condition), row, allowed)


def _found(question: Question, entries: Sequence[Entry], vectors: NDArray[np.float32]) -> bool:
    """Whether the best answer is right."""
    query = vectors[question.query]
    best = question.allowed[int(np.argmax(vectors[question.allowed] @ query))]
    return bool(query.any()) and entries[best].place == entries[question.query].place


def _may_answer(query: Entry, base: Entry, near: Collection[int]) -> bool:
    if base.place != query.place:
        return base.place not in near
    return query.view.pose is None or base.view.pose != query.view.pose


def _group(kind: str, query: str, database: str) -> str:
    """By conditions where they have names."""
    return kind if query.startswith(UNNAMED) else f"{kind}:{query}>{database}"
