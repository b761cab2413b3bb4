"""A simulated outdoor world, rendered on the CPU, with exact truth: by seed, hour and weather."""

from vloc_ros.simulation.conditions import CONDITIONS, Condition, named_condition
from vloc_ros.simulation.rig import StereoRig
from vloc_ros.simulation.route import Route
from vloc_ros.simulation.run import SimulatedRun
from vloc_ros.simulation.world import World

__all__ = ["CONDITIONS", "Condition", "Route", "SimulatedRun", "StereoRig", "World", "named_condition"]
