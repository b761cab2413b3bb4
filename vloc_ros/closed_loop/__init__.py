"""Driving in closed loop: a simulated robot, its localisation, its path follower, and the judgement of all three."""

from vloc_ros.closed_loop.course import Course, finish_teaching, keyframe_truth, site_of
from vloc_ros.closed_loop.drive import ClosedLoop, DrivePlan
from vloc_ros.closed_loop.events import CoverCamera, Event, Kidnap, parse_cover, parse_kidnap
from vloc_ros.closed_loop.judge import DriveSummary, JudgedDrive, judge
from vloc_ros.closed_loop.operator import Operator
from vloc_ros.closed_loop.record import DriveLog, DriveRecord, DriveStep, Intervention, read_drive
from vloc_ros.closed_loop.settings import ClosedLoopSettings, DriveSettings
from vloc_ros.closed_loop.supervisor import Supervisor
from vloc_ros.closed_loop.teaching import Teaching

__all__ = [
    "ClosedLoop",
    "ClosedLoopSettings",
    "Course",
    "CoverCamera",
    "DriveLog",
    "DrivePlan",
    "DriveRecord",
    "DriveSettings",
    "DriveStep",
    "DriveSummary",
    "Event",
    "Intervention",
    "JudgedDrive",
    "Kidnap",
    "Operator",
    "Supervisor",
    "Teaching",
    "finish_teaching",
    "judge",
    "keyframe_truth",
    "parse_cover",
    "parse_kidnap",
    "read_drive",
    "site_of",
]
