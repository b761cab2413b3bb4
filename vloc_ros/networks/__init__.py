"""The networks of place recognition, written out; the only package that imports torch, and nothing needs it to be imported.

Importing this package does not import torch: its modules do, when a network is built.
"""

from vloc_ros.networks.names import Backbone, LearnedPart, NetworkKind, backbones_of
from vloc_ros.networks.preprocessing import INPUT_SIZE, PREPROCESSING, preprocess

__all__ = [
    "INPUT_SIZE",
    "PREPROCESSING",
    "Backbone",
    "LearnedPart",
    "NetworkKind",
    "backbones_of",
    "preprocess",
]
