"""Local features: the extractor contract, its implementations, matching and stereo."""

from vloc_ros.features import alike, learned, orb, sift, xfeat
from vloc_ros.features.automatic import AUTO, chosen
from vloc_ros.features.contract import FeatureExtractor, Features, Matches, Metric, create_extractor, extractors, require_known
from vloc_ros.features.learned_settings import Detection, LearnedSettings
from vloc_ros.features.matching import Matcher, MatchSettings, match
from vloc_ros.features.sightings import Sightings, sight
from vloc_ros.features.stereo import StereoMethod, StereoSettings, dense_disparity, match_stereo

__all__ = [
    "AUTO",
    "Detection",
    "FeatureExtractor",
    "Features",
    "LearnedSettings",
    "MatchSettings",
    "Matcher",
    "Matches",
    "Metric",
    "Sightings",
    "StereoMethod",
    "StereoSettings",
    "alike",
    "chosen",
    "create_extractor",
    "dense_disparity",
    "extractors",
    "learned",
    "match",
    "match_stereo",
    "orb",
    "require_known",
    "sift",
    "sight",
    "xfeat",
]
