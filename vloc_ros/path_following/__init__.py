"""Path following: from a believed pose on a taught path to a velocity, or to a stop with its reason."""

from vloc_ros.path_following.follower import DriveCommand, DriveState, PathFollower, StopReason
from vloc_ros.path_following.path import PathPoint, TaughtPath
from vloc_ros.path_following.settings import FollowerSettings

__all__ = ["DriveCommand", "DriveState", "FollowerSettings", "PathFollower", "PathPoint", "StopReason", "TaughtPath"]
