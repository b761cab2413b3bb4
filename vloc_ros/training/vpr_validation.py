"""What retrieval and re-ranking are for, measured on held-out pictures: Recall@1 before and after re-ranking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vloc_ros.data.frame import Image
from vloc_ros.errors import ConfigError
from vloc_ros.networks.dhe import patch_centres
from vloc_ros.networks.homography import homography_of, project
from vloc_ros.networks.preprocessing import resized
from vloc_ros.networks.two_stage import TwoStageNetwork
from vloc_ros.training.homography_losses import LEAST_MATCHES, mutual_matches
from vloc_ros.training.vpr_describing import Describer, evaluating
from vloc_ros.training.vpr_mining import nearest
from vloc_ros.training.vpr_objective import VprNetwork, size_of
from vloc_ros.training.vpr_settings import VprValidationSettings
from vloc_ros.training.vpr_sources import Rows, VprSource

RECALL, RERANKED = "recall_1", "reranked_recall_1"


class _Judged(NamedTuple):
    """Which pictures of a source are looked at.

    Attributes:
        queries: numbers of queries of the source.
        database: rows of its pictures, sorted.
    """

    queries: list[int]
    database: Rows


class VprValidation:
    """Judges a network on the same pictures each time; reads them anew, to keep memory small."""

    def __init__(
        self,
        sources: Sequence[VprSource],
        settings: VprValidationSettings,
        device: torch.device,
        homography: bool,
        at_once: int = 32,
        readers: int = 1,
    ) -> None:
        """Choose the pictures.

        Args:
            sources: that nothing is learned from.
            settings: how many pictures, and how they are re-ranked.
            device: on which the network is.
            homography: whether re-ranking is judged, too, and counts.
            at_once: pictures that are described at once.
            readers: threads that read them.

        Raises:
            ConfigError: there are no sources, or nothing in one of them is a wrong answer to any query.
        """
        if not sources:
            raise ConfigError("a validation needs at least one held-out source")
        self._sources, self._settings, self._device, self._homography = tuple(sources), settings, device, homography
        self._at_once, self._readers = at_once, readers
        self._judged = [_chosen(source, settings) for source in sources]

    def __call__(self, network: VprNetwork) -> dict[str, float]:
        """Recall@1 over all queries of each source, ``<source>/recall_1`` and ``<source>/reranked_recall_1``.

        The means over the sources are ``recall_1`` and ``reranked_recall_1``; ``task`` is the latter where re-ranking is learned.
        A picture that is neither right nor wrong is no answer.

        Raises:
            VlocError: a picture cannot be read.
        """
        figures: dict[str, float] = {}
        with evaluating(network):
            for number, (source, judged) in enumerate(zip(self._sources, self._judged, strict=True)):
                name = source.name if len(self._sources) == 1 else f"{number + 1}:{source.name}"
                figures |= {f"{name}/{key}": value for key, value in self._of(network, source, judged).items()}
        keys = (RECALL, RERANKED) if self._homography else (RECALL,)
        means = {key: float(np.mean([v for name, v in figures.items() if name.endswith(f"/{key}")])) for key in keys}
        return {"task": means[keys[-1]], **means, **figures}

    def _of(self, network: VprNetwork, source: VprSource, judged: _Judged) -> dict[str, float]:
        size = size_of(network)

        def image_of(row: int) -> Image:
            return resized(source.shots[row].read(), size)

        describer = Describer(network, image_of, self._device, self._at_once, self._readers)
        base, base_local = _all(describer, judged.database, self._homography)
        asked, asked_local = _all(describer, source.queries[judged.queries], self._homography)
        right, reranked = list[bool](), list[bool]()
        for place, query in enumerate(judged.queries):
            allowed = np.flatnonzero(np.isin(judged.database, _answers(source, query)))
            found = nearest(asked[place], base[allowed], allowed, self._settings.num_reranked_preds)
            positives = source.positives[query]
            right.append(bool(judged.database[found[0]] in positives))
            if self._homography:
                both = cast(TwoStageNetwork, network)
                counts = self._inliers(both, asked_local[place], base_local[found])
                best = found[int(np.argmax(counts))]  # of equal ones the first
                reranked.append(bool(judged.database[best] in positives))
        figures = {RECALL: float(np.mean(right))}
        return figures | {RERANKED: float(np.mean(reranked))} if self._homography else figures

    def _inliers(self, network: TwoStageNetwork, query: Tensor, candidates: Tensor) -> NDArray[np.int64]:
        """Inliers of each candidate."""
        candidates = candidates.to(self._device).float()
        return inliers(network, query.to(self._device).float().expand_as(candidates), candidates, self._settings.inlier_px)


def inliers(network: TwoStageNetwork, queries: Tensor, candidates: Tensor, within_px: float) -> NDArray[np.int64]:
    """(B,) matches that the predicted homographies map to where they are; 0 where it is none, or there are fewer than four matches.

    Args:
        network: predicts.
        queries: (B, C, S, S) local descriptors.
        candidates: (B, C, S, S) likewise.
        within_px: how far away they may be, which is not an inlier any more [px].
    """
    points = network.regression(queries, candidates).float()
    homographies, sound = homography_of(points[:, :4], points[:, 4:])
    centres = patch_centres(queries.shape[-1]).to(points.device)
    away = project(homographies, centres)
    counts = []
    for k, matches in enumerate(mutual_matches(queries, candidates)):
        missed = (away[k, matches[:, 0]] - centres[matches[:, 1]]).norm(dim=1)
        counts.append(int((missed < within_px).sum()) if bool(sound[k]) and len(matches) >= LEAST_MATCHES else 0)
    return np.array(counts, dtype=np.int64)


def _all(describer: Describer, rows: Rows, keep_local: bool) -> tuple[NDArray[np.float32], Tensor]:
    """Global descriptors of rows, and local ones in half precision where they are wanted."""
    means, maps = [], []
    for mean, local in describer.seen(rows):
        means.append(mean.cpu().numpy())
        if keep_local and local is not None:
            maps.append(local.half().cpu())
    return np.concatenate(means), torch.cat(maps) if maps else torch.zeros(0)


def _answers(source: VprSource, query: int) -> Rows:
    """Rows that are right or wrong, and not something between."""
    return np.union1d(source.positives[query], source.may_be_negative(query, source.database))


def _chosen(source: VprSource, settings: VprValidationSettings) -> _Judged:
    count = min(len(source), settings.queries)
    queries = [k * len(source) // count for k in range(count)]
    if not any(len(source.may_be_negative(query, source.database)) for query in queries):
        raise ConfigError(f"nothing in {source.name} is a wrong answer to any query: hold out a larger source")
    most = min(len(source.database), settings.database)
    some = source.database[[k * len(source.database) // most for k in range(most)]]
    needed = [source.positives[query][:: max(1, len(source.positives[query]) // 4)] for query in queries]
    return _Judged(queries, np.unique(np.concatenate([some, *needed])))
