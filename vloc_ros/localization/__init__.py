"""Localisation against a taught map."""

from vloc_ros.localization.localizer import Localizer
from vloc_ros.mapping.state import FrameResult, MatchView, State

__all__ = ["FrameResult", "Localizer", "MatchView", "State"]
