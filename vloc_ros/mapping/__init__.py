"""The map, visual odometry, and teaching."""

from vloc_ros.mapping.keyframe import Edge, EdgeKind, Keyframe, KeyframeId
from vloc_ros.mapping.odometry import StereoOdometry
from vloc_ros.mapping.session import Session, SessionKind
from vloc_ros.mapping.state import FrameResult, MatchView, State
from vloc_ros.mapping.store import MapStore
from vloc_ros.mapping.teach import Teacher

__all__ = [
    "Edge",
    "EdgeKind",
    "FrameResult",
    "Keyframe",
    "KeyframeId",
    "MapStore",
    "MatchView",
    "Session",
    "SessionKind",
    "State",
    "StereoOdometry",
    "Teacher",
]
