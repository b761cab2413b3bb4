"""What a line of a g2o or TORO file says, or where it is malformed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from vloc_ros.data.g2o import from_g2o
from vloc_ros.errors import DataError
from vloc_ros.geometry.se3 import from_quaternion, from_rotation_translation
from vloc_ros.pose_graph.manifold import from_planar

Array = NDArray[np.float64]
_WORD = re.compile(r"\S+")
_QUATERNION_TOLERANCE = 0.1


@dataclass(frozen=True, slots=True)
class Line:
    """A line that is neither empty nor a comment.

    Attributes:
        path, number: where it is; lines count from 1.
        words: its fields.
        columns: first character of each field, counted from 1.
        end: column after the last field.
    """

    path: Path
    number: int
    words: list[str]
    columns: list[int]
    end: int

    @classmethod
    def of(cls, path: Path, number: int, text: str) -> Line | None:
        """The line, None for an empty one or a comment."""
        matches = list(_WORD.finditer(text.partition("#")[0]))
        if not matches:
            return None
        words, columns = [match.group() for match in matches], [match.start() + 1 for match in matches]
        return cls(path, number, words, columns, matches[-1].end() + 1)

    def error(self, field: int, problem: str) -> DataError:
        """An error that points at a field (or, past the last one, at the end of the line)."""
        column = self.columns[field] if field < len(self.columns) else self.end
        return DataError(f"{self.path} line {self.number} column {column}: {problem}")

    def expect(self, fields: int) -> None:
        """Check the number of fields.

        Raises:
            DataError: there are more or fewer.
        """
        if len(self.words) != fields:
            problem = f"{self.words[0]} has {len(self.words) - 1} values, it needs {fields - 1}"
            raise self.error(min(len(self.words), fields), problem)

    def name(self, field: int) -> int:
        """The name of a pose: a whole number of 64 bits, not negative.

        Raises:
            DataError: it is something else.
        """
        word = self.words[field]
        if not (word.isascii() and word.isdigit() and int(word) < 2**63):
            raise self.error(field, f"'{word[:40]}' is not the number of a pose (a whole number that is not negative)")
        return int(word)

    def values(self, first: int) -> Array:
        """The numbers from a field to the end.

        Raises:
            DataError: one is not a finite number.
        """
        result = np.empty(len(self.words) - first)
        for place, word in enumerate(self.words[first:]):
            try:
                result[place] = float(word)
            except ValueError:
                raise self.error(first + place, f"'{word[:40]}' is not a number") from None
            if not np.isfinite(result[place]):
                raise self.error(first + place, f"'{word[:40]}' is not finite; the graph cannot be used with it")
        return result


@dataclass(frozen=True, slots=True)
class Kind:
    """One tag of the formats.

    Attributes:
        edge: whether it joins two poses (else it is a pose).
        dimension: 2 or 3.
        toro: whether it is written in TORO's manner.
    """

    edge: bool
    dimension: int
    toro: bool

    @property
    def fields(self) -> int:
        """Number of fields of a line, the tag included."""
        pose = 3 if self.dimension == 2 else (6 if self.toro else 7)
        return 1 + (2 if self.edge else 1) + pose + (self._upper if self.edge else 0)

    @property
    def _upper(self) -> int:
        return 6 if self.dimension == 2 else 21


KINDS = {
    "VERTEX_SE2": Kind(False, 2, False),
    "VERTEX_SE3:QUAT": Kind(False, 3, False),
    "EDGE_SE2": Kind(True, 2, False),
    "EDGE_SE3:QUAT": Kind(True, 3, False),
    "VERTEX2": Kind(False, 2, True),
    "VERTEX3": Kind(False, 3, True),
    "EDGE2": Kind(True, 2, True),
    "EDGE3": Kind(True, 3, True),
}


def parse_pose(line: Line, kind: Kind) -> Array:
    """The (3, 3) or (4, 4) pose of a line.

    Raises:
        DataError: a value is not a finite number, or a quaternion is not of unit length.
    """
    first = 3 if kind.edge else 2
    values = line.values(first)
    if kind.dimension == 2:
        return np.asarray(from_planar(*values[:3, None])[0])
    if kind.toro:
        return from_rotation_translation(Rotation.from_euler("xyz", values[3:6]).as_matrix(), values[:3])
    norm = float(np.linalg.norm(values[3:7]))
    if abs(norm - 1.0) > _QUATERNION_TOLERANCE:
        raise line.error(first + 3, f"the quaternion has length {norm:.3g} instead of 1")
    return from_quaternion(values[:3], values[3:7])


def parse_information(line: Line, kind: Kind, of_quaternion: bool) -> Array:
    """The (k, k) information of a twist from the end of an edge's line.

    Args:
        line: of an edge.
        kind: its tag.
        of_quaternion: whether g2o's rotations in space are meant as g2o defines them.

    Raises:
        DataError: a value is not a finite number, or the matrix is not positive definite.
    """
    size = 3 if kind.dimension == 2 else 6
    first = kind.fields - (6 if size == 3 else 21)
    values = line.values(first)
    matrix = np.zeros((size, size))
    if kind.toro and size == 3:
        # TORO: xx xy yy tt xt yt, where g2o writes the upper triangle row by row.
        values = values[[0, 1, 4, 2, 5, 3]]
    matrix[np.triu_indices(size)] = values
    matrix += np.triu(matrix, 1).T
    # The scale of the units is taken out before the matrix is judged.
    diagonal = np.diagonal(matrix)
    scale = np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0))
    smallest = float(np.linalg.eigvalsh(matrix / np.outer(scale, scale))[0])
    if smallest < 1e-12:
        problem = f"the information matrix is not positive definite (smallest eigenvalue of its correlations: {smallest:.3g})"
        raise line.error(first, f"{problem}; correct or remove the edge")
    return from_g2o(matrix) if of_quaternion and not kind.toro else matrix
