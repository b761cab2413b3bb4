"""Settings of the joint training of retrieval and re-ranking: those published for DHE-VPR (source_systems 4.3), and ours."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum, unique
from typing import Any

from vloc_ros.config import param, replace, section
from vloc_ros.errors import ConfigError
from vloc_ros.networks.names import LearnedPart
from vloc_ros.training.augmentation import AugmentationSettings
from vloc_ros.training.place_sources import OverlapSettings
from vloc_ros.training.registry import StaticSettings
from vloc_ros.training.settings import TrainingSettings
from vloc_ros.training.sources.homographies import HomographySettings


@unique
class Mining(Enum):
    """Which negatives of a query are looked for among which pictures."""

    PARTIAL = "partial"
    """The hardest of some pictures, drawn anew for each cache."""
    FULL = "full"
    """The hardest of all pictures."""
    RANDOM = "random"
    """Any."""
    WEIGHTED = "weighted"
    """As partial, and queries of rare conditions (night, sideways) are drawn as often as those of common ones."""


@unique
class Criterion(Enum):
    """The loss of a query, its positive and its negatives."""

    TRIPLET = "triplet"
    SARE_INDEPENDENT = "sare_ind"
    """Stochastic attraction and repulsion (Liu et al. 2019), of each negative by itself."""
    SARE_JOINT = "sare_joint"
    """And of all of them together."""


@dataclass(frozen=True)
class MiningSettings:
    """Tuples of a query, a positive and negatives, mined by the network as it is at the beginning of each cache."""

    mining: Mining = param(Mining.PARTIAL, "partial, full, random, or weighted: partial with queries of rare conditions more often")
    cache_refresh_rate: int = param(1000, "queries from one mining to the next; training.samples is a multiple of it", min=1)
    negs_num_per_query: int = param(2, "negatives of a query, the hardest", min=0, max=100)
    neg_samples_num: int = param(1000, "pictures that partial mining looks for negatives in", min=1)
    most_positives: int = param(20, "positives of a query that are compared, drawn anew for each cache; 0 compares all", min=0)
    infer_batch_size: int = param(32, "images that are described at once in mining and validation", min=1)


@dataclass(frozen=True)
class PairSettings:
    """Which pictures show the place of a query, and which may not be told from it though they show another."""

    train_positives_m: float = param(10.0, "taken this far apart or less: positives", unit="m", min=0.0)
    negatives_m: float = param(25.0, "taken farther apart: negatives; this or less is right in validation", unit="m", min=0.0)
    angle_deg: float = param(180.0, "positives look this far apart or less, in recordings", unit="deg", min=0.0, max=180.0)
    positive_frames: int = param(0, "this far apart or less in the order of an aligned route: positives", min=0)
    negative_frames: int = param(2, "farther apart: negatives", min=0)
    min_brightness: float = param(0.0, "images of aligned routes whose mean is below this are left out", min=0.0, max=255.0)


@dataclass(frozen=True)
class VprObjectiveSettings:
    """Triplet loss of global descriptors, and the re-projection error of inliers of queries and their positives."""

    criterion: Criterion = param(Criterion.TRIPLET, "triplet, sare_ind or sare_joint")
    margin: float = param(0.1, "of Euclidean distances (not squared), of triplet", min=0.0, max=2.0)
    rei_weight: float = param(100.0, "lambda: weight of the re-projection error, which is in pixels", min=0.0, max=1e6)
    rei_threshold_px: float = param(24.0, "of the RANSAC that counts inliers", unit="px", min=0.1)
    images_at_once: int = param(64, "images in memory at once on the way forth and back; fewer need less and are slower", min=1)


@dataclass(frozen=True)
class VprImageSettings:
    """How images are altered; as published they are not, but for photos, of which chance makes query and positive."""

    zoom: float = param(1.4, "views of photos are shown up to so many times larger", min=1.0, max=4.0)
    shift: float = param(0.1, "largest shift of their centre, of the side of the image", min=0.0, max=0.5)
    rotation_deg: float = param(8.0, "largest rotation in the image", unit="deg", min=0.0, max=90.0)
    perspective: float = param(0.1, "largest change of the scale from the centre to a border", min=0.0, max=0.5)
    cache_mb: int = param(400, "each process that prepares samples keeps so much of what it has read", unit="MB", min=0)

    def view(self, size: int) -> HomographySettings:
        """Of the random views, for images of a size."""
        return HomographySettings(size, size, self.rotation_deg, 1.0, self.zoom, self.perspective, self.shift, plain_share=0.0)


@dataclass(frozen=True)
class VprValidationSettings:
    """On what the best epoch is chosen."""

    queries: int = param(200, "at most so many of each held-out source, evenly chosen", min=1)
    database: int = param(600, "at most so many pictures of each source besides their answers, evenly chosen", min=1)
    num_reranked_preds: int = param(32, "of the best found that are re-ranked", min=1, max=1000)
    inlier_px: float = param(48.0, "a match this near to where its homography maps it is an inlier", unit="px", min=0.1)


@dataclass(frozen=True)
class VprTraining:
    """All settings; a batch counts queries, and so does an epoch (published: train_batch_size, queries_per_epoch)."""

    learns: LearnedPart = param(LearnedPart.PUBLISHED, "of the backbone: published (the last two layers of a CCT, and p), or all")
    training: TrainingSettings = section(TrainingSettings)
    mining: MiningSettings = section(MiningSettings)
    objective: VprObjectiveSettings = section(VprObjectiveSettings)
    truth: PairSettings = section(PairSettings)
    images: VprImageSettings = section(VprImageSettings)
    augmentation: AugmentationSettings = section(AugmentationSettings)
    overlap: OverlapSettings = section(OverlapSettings)
    static: StaticSettings = section(StaticSettings)
    validation: VprValidationSettings = section(VprValidationSettings)


PUBLISHED: dict[str, Any] = {
    "training": {
        "epochs": 1000,
        "samples": 5000,
        "validation_samples": 0,
        "batch": 4,
        "optimizer": "adam",
        "learning_rate": 1e-5,
        "weight_decay": 0.0,
        "schedule": "constant",
        "warm_up": 0,
        "gradient_clip": 0.0,
        "patience": 3,
    },
    "augmentation": {"strength": 0.0},
}
"""What was published, in place of our defaults. Two epochs of 10,000 queries were taken for MSLS, 40 of 5000 for Pitts30k."""


def default_settings() -> VprTraining:
    """Where those of the user begin: as published."""
    return replace(VprTraining(), PUBLISHED)


def require_whole(settings: VprTraining) -> None:
    """Make sure that caches are made of whole batches, and epochs of whole caches.

    Raises:
        ConfigError: they are not; the text says what would be.
    """
    batch, cache, samples = settings.training.batch, settings.mining.cache_refresh_rate, settings.training.samples
    if cache % batch:
        raise ConfigError(
            f"mining.cache_refresh_rate is {cache}, which is no multiple of training.batch, {batch}: "
            f"take {batch * math.ceil(cache / batch)}"
        )
    if samples % cache:
        raise ConfigError(
            f"training.samples is {samples}, which is no multiple of mining.cache_refresh_rate, {cache}: "
            f"take {cache * math.ceil(samples / cache)}, or mining.cache_refresh_rate={samples // batch * batch or batch}"
        )
    if settings.truth.train_positives_m > settings.truth.negatives_m:
        raise ConfigError("truth.train_positives_m is larger than truth.negatives_m: a picture would be both positive and negative")
