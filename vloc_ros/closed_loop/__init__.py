"""Driving in closed loop: a simulated robot, its localisation, its path follower, and the judgement of all three."""

from vloc_ros.closed_loop.course import Course, describe, finish_teaching, keyframe_truth, site_of, world_of
from vloc_ros.closed_loop.drive import ClosedLoop, DrivePlan
from vloc_ros.closed_loop.events import CoverCamera, Event, Kidnap, parse_cover, parse_kidnap
from vloc_ros.closed_loop.judge import DriveSummary, JudgedDrive, judge
from vloc_ros.closed_loop.memory import resident_mib
from vloc_ros.closed_loop.operator import Operator
from vloc_ros.closed_loop.record import DriveFile, DriveLog, DriveMoment, DriveRecord, DriveStep, Intervention, read_drive
from vloc_ros.closed_loop.settings import ClosedLoopSettings, DriveSettings
from vloc_ros.closed_loop.supervisor import Supervisor
from vloc_ros.closed_loop.teaching import Teaching, driven_path

__all__ = [
    "ClosedLoop",
    "ClosedLoopSettings",
    "Course",
    "CoverCamera",
    "DriveFile",
    "DriveLog",
    "DriveMoment",
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
    "describe",
    "driven_path",
    "finish_teaching",
    "judge",
    "keyframe_truth",
    "parse_cover",
    "parse_kidnap",
    "read_drive",
    "resident_mib",
    "site_of",
    "world_of",
]
