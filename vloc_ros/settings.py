"""The whole configuration: one section per component."""

from __future__ import annotations

from dataclasses import dataclass

from vloc_ros.config import section
from vloc_ros.features.frontend import FeatureSettings
from vloc_ros.features.matching import MatchSettings
from vloc_ros.features.stereo import StereoSettings
from vloc_ros.geometry.pnp import PnpSettings
from vloc_ros.localization.parameters import LocalizationSettings
from vloc_ros.mapping.odometry import OdometrySettings
from vloc_ros.mapping.policy import KeyframeSettings


@dataclass(frozen=True)
class Settings:
    """Configuration of teaching and localising."""

    features: FeatureSettings = section(FeatureSettings)
    stereo: StereoSettings = section(StereoSettings)
    matching: MatchSettings = section(MatchSettings)
    pnp: PnpSettings = section(PnpSettings)
    odometry: OdometrySettings = section(OdometrySettings)
    keyframes: KeyframeSettings = section(KeyframeSettings)
    localization: LocalizationSettings = section(LocalizationSettings)
