"""Driving in closed loop: a simulated robot, its localisation, its path follower, and the judgement of all three."""

from vloc_ros.closed_loop.autonomy_csv import append_row, read_rows
from vloc_ros.closed_loop.autonomy_report import write_autonomy_report
from vloc_ros.closed_loop.autonomy_table import autonomy_markdown, autonomy_table
from vloc_ros.closed_loop.course import Course, describe, finish_teaching, keyframe_truth, place_at_start, site_of, world_of
from vloc_ros.closed_loop.drive import ClosedLoop, DrivePlan
from vloc_ros.closed_loop.drive_report import DrivePicture, write_drive_report
from vloc_ros.closed_loop.events import CoverCamera, Event, Kidnap, parse_cover, parse_kidnap
from vloc_ros.closed_loop.judge import DriveSummary, JudgedDrive, judge
from vloc_ros.closed_loop.memory import resident_mib
from vloc_ros.closed_loop.operator import Operator
from vloc_ros.closed_loop.pooling import inliers_of, pool, pooled_rows
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
    "DrivePicture",
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
    "append_row",
    "autonomy_markdown",
    "autonomy_table",
    "describe",
    "driven_path",
    "finish_teaching",
    "inliers_of",
    "judge",
    "keyframe_truth",
    "parse_cover",
    "parse_kidnap",
    "place_at_start",
    "pool",
    "pooled_rows",
    "read_drive",
    "read_rows",
    "resident_mib",
    "site_of",
    "world_of",
    "write_autonomy_report",
    "write_drive_report",
]
