"""Parameters of the node ``calibration``, beside those of a calibration itself. Imports no ROS."""

from __future__ import annotations

from dataclasses import dataclass

from vloc_ros.calibration.lateness import LatenessSettings
from vloc_ros.calibration.supervisor import SupervisorSettings
from vloc_ros.calibration.watch import WatchSettings
from vloc_ros.config import param, section


@dataclass(frozen=True, slots=True)
class TriggerSettings:
    """When a calibration begins by itself."""

    automatic: bool = param(True, "begin by itself; false: only when the service trigger is called", live=True)
    labels: int = param(
        50, "inliers and outliers that are new or have changed since the last calibration", min=1, max=1000000, live=True
    )
    quiet: float = param(
        10.0, "so long after the last change of a label, as more of them come together", unit="s", min=0.0, live=True
    )
    rest: float = param(600.0, "so long after the end of the last calibration", unit="s", min=0.0, live=True)


@dataclass(frozen=True, slots=True)
class CalibrationNodeSettings:
    """Parameters of the node itself."""

    map: str = param("", "map file, *.vloc; it may come into being later")
    work: str = param("", "folder of the work, where it goes on when it was killed; empty: beside the map, *.calibration")
    base: str = param("", "file of weights to begin with; empty: those in use, else what comes with vloc_ros")
    promote: bool = param(
        True, "ask for the switch to a version that won its promotion test; false leaves it to `vloc models promote`", live=True
    )
    watch_period: float = param(
        30.0, "time from one look at a promoted model to the next", unit="s", min=0.1, max=86400.0, live=True
    )
    niceness: int = param(5, "how far this process gives way to others; for the trainer: supervisor.niceness", min=0, max=19)
    autostart: bool = param(True, "configure and activate at start; false leaves it to a lifecycle manager", fixed=True)
    trigger: TriggerSettings = section(TriggerSettings)
    late: LatenessSettings = section(LatenessSettings)
    supervisor: SupervisorSettings = section(SupervisorSettings)
    watch: WatchSettings = section(WatchSettings)
