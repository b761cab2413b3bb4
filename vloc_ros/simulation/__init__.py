"""A procedural outdoor world, rendered on the CPU, with exact poses and depth: the yardstick of the project."""

from vloc_ros.simulation.conditions import CONDITIONS, Condition, named_condition
from vloc_ros.simulation.preview import condition_sheet, contact_sheet
from vloc_ros.simulation.renderer import Renderer, StereoImages
from vloc_ros.simulation.rig import UTIAS_CAMERA, StereoRig, mount
from vloc_ros.simulation.route import Route, Wander
from vloc_ros.simulation.run import SimulatedRun, base_poses
from vloc_ros.simulation.sensor import Sensor
from vloc_ros.simulation.world import World

__all__ = [
    "CONDITIONS",
    "UTIAS_CAMERA",
    "Condition",
    "Renderer",
    "Route",
    "Sensor",
    "SimulatedRun",
    "StereoImages",
    "StereoRig",
    "Wander",
    "World",
    "base_poses",
    "condition_sheet",
    "contact_sheet",
    "mount",
    "named_condition",
]
