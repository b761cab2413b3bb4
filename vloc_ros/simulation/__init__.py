"""A procedural outdoor world, rendered on the CPU, with exact poses and depth: the yardstick of the project."""

from vloc_ros.simulation.conditions import CONDITIONS, Condition, named_condition
from vloc_ros.simulation.detail import DETAILS, Detail, named_detail
from vloc_ros.simulation.layout import Layout
from vloc_ros.simulation.orthophoto import GroundArea, orthophoto
from vloc_ros.simulation.preview import condition_sheet, contact_sheet
from vloc_ros.simulation.renderer import Renderer, StereoImages
from vloc_ros.simulation.rig import UTIAS_CAMERA, StereoRig, mount
from vloc_ros.simulation.robot import Drive, Robot, RobotSettings
from vloc_ros.simulation.route import Route, Wander, track
from vloc_ros.simulation.route_shapes import RouteShape
from vloc_ros.simulation.run import SimulatedRun, base_poses
from vloc_ros.simulation.season import Season, season_of
from vloc_ros.simulation.sensor import Sensor
from vloc_ros.simulation.simulator import Simulator
from vloc_ros.simulation.sites import SITES, Site, sites
from vloc_ros.simulation.world import World

__all__ = [
    "CONDITIONS",
    "DETAILS",
    "SITES",
    "UTIAS_CAMERA",
    "Condition",
    "Detail",
    "Drive",
    "GroundArea",
    "Layout",
    "Renderer",
    "Robot",
    "RobotSettings",
    "Route",
    "RouteShape",
    "Season",
    "Sensor",
    "SimulatedRun",
    "Simulator",
    "Site",
    "StereoImages",
    "StereoRig",
    "Wander",
    "World",
    "base_poses",
    "condition_sheet",
    "contact_sheet",
    "mount",
    "named_condition",
    "named_detail",
    "orthophoto",
    "season_of",
    "sites",
    "track",
]
