"""Local features: the extractor contract, its implementations, matching and stereo."""

from vloc_ros.features import alike, orb, sift, xfeat
from vloc_ros.features.contract import FeatureExtractor, Features, Matches, Metric, create_extractor, extractors
from vloc_ros.features.matching import MatchSettings, match
from vloc_ros.features.stereo import StereoMethod, StereoSettings, dense_disparity, match_stereo

__all__ = [
    "FeatureExtractor",
    "Features",
    "MatchSettings",
    "Matches",
    "Metric",
    "StereoMethod",
    "StereoSettings",
    "alike",
    "create_extractor",
    "dense_disparity",
    "extractors",
    "match",
    "match_stereo",
    "orb",
    "sift",
    "xfeat",
]
