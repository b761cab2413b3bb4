"""How probable it is that a candidate shows the place of the query, from what geometry counted; learned for one file of weights.

Published re-ranking orders candidates by a count and cannot say that none of them is right. The probability here rises with the
inliers and with their share among the matches, and was learned from judged candidates of searches: it holds for such, and for the
share of right ones that they had (:func:`vloc_ros.calibration.match_fit.fit_match_model`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from vloc_ros.data.files import read_text
from vloc_ros.data.output import write_text
from vloc_ros.errors import DataError

Array = NDArray[np.float64]
ENDING = "_match.json"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class MatchModel:
    """A logistic regression on the logarithm of the inliers and on their share, its coefficients never negative.

    Attributes:
        reranker: what counted.
        weights_sha256: hash of the weights that it counted with.
        intercept, per_log_inliers, per_share: of the regression on log(1 + inliers) and on the share.
        most_log_inliers, most_share: the limits of what was seen: beyond them a candidate is no surer than at them.
        knots: of an isotonic regression on the logit, rising pairs (logit, probability); empty where there were too few verdicts.
        right, wrong: how many verdicts taught it.
        learned_from: in words.
    """

    reranker: str
    weights_sha256: str
    intercept: float
    per_log_inliers: float
    per_share: float
    most_log_inliers: float
    most_share: float
    knots: tuple[tuple[float, float], ...] = ()
    right: int = 0
    wrong: int = 0
    learned_from: str = ""

    def __call__(self, inliers: Array, share: Array) -> Array:
        """(N,) probabilities of candidates with (N,) inliers and (N,) shares of inliers among their matches."""
        logit = self.logit(inliers, share)
        if not self.knots:
            return np.asarray(expit(logit), dtype=np.float64)
        knots = np.array(self.knots)
        return np.asarray(np.interp(logit, knots[:, 0], knots[:, 1]), dtype=np.float64)

    def logit(self, inliers: Array, share: Array) -> Array:
        """(N,) of the regression."""
        count = np.minimum(np.log1p(inliers), self.most_log_inliers)
        part = np.minimum(share, self.most_share)
        return np.asarray(self.intercept + self.per_log_inliers * count + self.per_share * part, dtype=np.float64)

    def to_json(self) -> str:
        """Contents of a file."""
        return json.dumps({"version": _VERSION} | asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, what: str = "this") -> MatchModel:
        """Inverse of :meth:`to_json`; ``what`` it is called in messages.

        Raises:
            DataError: it is something else, or not a probability that rises with both.
        """
        try:
            values = json.loads(text)
            if values["version"] != _VERSION:
                raise ValueError(f"version {values['version']}")
            read = cls(**_fields(values))
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise DataError(f"{what} is no probability of matches that this release can read ({error!r}): learn it anew") from None
        if not read._is_monotone():
            raise DataError(f"{what} holds a probability that does not rise with the inliers and their share: learn it anew")
        return read

    def _is_monotone(self) -> bool:
        slopes = [self.per_log_inliers, self.per_share]
        numbers = [self.intercept, *slopes, self.most_log_inliers, self.most_share]
        knots = np.array(self.knots, dtype=np.float64).reshape(-1, 2)
        if not np.isfinite(numbers).all() or not np.isfinite(knots).all():
            return False
        rising = bool(np.all(np.diff(knots[:, 0]) > 0.0) and np.all(np.diff(knots[:, 1]) >= 0.0))
        inside = bool(np.all((knots[:, 1] >= 0.0) & (knots[:, 1] <= 1.0)))
        return rising and inside and min(slopes) >= 0.0


def match_model_path(weights: Path) -> Path:
    """Where the match model of a file of weights is."""
    return weights.with_name(weights.stem + ENDING)


def save_match_model(weights: Path, model: MatchModel) -> None:
    """Write it beside its weights.

    Raises:
        DataError: it cannot be written.
    """
    write_text(match_model_path(weights), model.to_json())


def load_match_model(weights: Path, weights_sha256: str, reranker: str) -> MatchModel | None:
    """The match model beside a file of weights; None where there is none, or one of another re-ranker.

    Raises:
        DataError: it cannot be read, is damaged, or of other weights.
    """
    path = match_model_path(weights)
    if not path.is_file():
        return None
    model = MatchModel.from_json(read_text(path), str(path))
    if model.weights_sha256 != weights_sha256:
        raise DataError(
            f"{path} was learned with other weights than {weights.name}: learn it anew (vloc train match), or copy both again"
        )
    return model if model.reranker == reranker else None


def _fields(values: Mapping[str, Any]) -> dict[str, Any]:
    floats = ("intercept", "per_log_inliers", "per_share", "most_log_inliers", "most_share")
    texts = ("reranker", "weights_sha256", "learned_from")
    if any(not isinstance(values[name], str) for name in texts):
        raise ValueError(f"{', '.join(texts)} must be texts")
    return {
        **{name: float(values[name]) for name in floats},
        **{name: values[name] for name in texts},
        **{name: int(values[name]) for name in ("right", "wrong")},
        "knots": tuple((float(x), float(y)) for x, y in values["knots"]),
    }
