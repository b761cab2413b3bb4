"""Moved to vloc_ros.mapping.state."""

from vloc_ros.mapping.state import FrameResult, MatchView, State

__all__ = ["FrameResult", "MatchView", "State"]
