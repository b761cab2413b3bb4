"""Loop closure on a map: candidates from retrieval, verified by geometry, labelled by the robust pose graph."""

from vloc_ros.loop_closure.detector import Detection, LoopDetector, LoopSettings
from vloc_ros.loop_closure.judgement import Judgement, apply_judgement, judge, next_revision, store_judgement
from vloc_ros.loop_closure.map_graph import MapGraph, graph_of_map
from vloc_ros.loop_closure.verifier import Candidate, LoopVerifier, Rejection, VerificationSettings, Verified

__all__ = [
    "Candidate",
    "Detection",
    "Judgement",
    "LoopDetector",
    "LoopSettings",
    "LoopVerifier",
    "MapGraph",
    "Rejection",
    "VerificationSettings",
    "Verified",
    "apply_judgement",
    "graph_of_map",
    "judge",
    "next_revision",
    "store_judgement",
]
