"""Where training pairs come from: the simulated world, fixed cameras, single images, recordings. Needs no torch."""

from vloc_ros.training.sources.aerial_rendering import AerialPlan, render_aerial
from vloc_ros.training.sources.homographies import HomographySettings
from vloc_ros.training.sources.homography import HomographyPairs
from vloc_ros.training.sources.recordings import RecordingPairs, RecordingSettings
from vloc_ros.training.sources.rendering import (
    FIRST_TRAINING_SEED,
    FIRST_VALIDATION_SEED,
    SetPlan,
    render_training_set,
)
from vloc_ros.training.sources.seasons_rendering import SeasonsPlan, render_seasons
from vloc_ros.training.sources.simulated import SimulatedPairs
from vloc_ros.training.sources.static import StaticPairs

__all__ = [
    "FIRST_TRAINING_SEED",
    "FIRST_VALIDATION_SEED",
    "AerialPlan",
    "HomographyPairs",
    "HomographySettings",
    "RecordingPairs",
    "RecordingSettings",
    "SeasonsPlan",
    "SetPlan",
    "SimulatedPairs",
    "StaticPairs",
    "render_aerial",
    "render_seasons",
    "render_training_set",
]
