"""Local features: the extractor contract, its implementations, matching and stereo."""

from vloc_ros.features import orb, sift
from vloc_ros.features.contract import FeatureExtractor, Features, Matches, Metric, create_extractor, extractors
from vloc_ros.features.matching import Matcher, MatchSettings, match
from vloc_ros.features.sightings import Sightings, sight
from vloc_ros.features.stereo import StereoMethod, StereoSettings, dense_disparity, match_stereo

__all__ = [
    "FeatureExtractor",
    "Features",
    "MatchSettings",
    "Matcher",
    "Matches",
    "Metric",
    "Sightings",
    "StereoMethod",
    "StereoSettings",
    "create_extractor",
    "dense_disparity",
    "extractors",
    "match",
    "match_stereo",
    "orb",
    "sift",
    "sight",
]
