"""A simulated robot is taught a route, or follows it by itself.

ros2 launch vloc_ros closed_loop.launch.py mode:=teach map:=sim.vloc site:=2 length:=80
ros2 launch vloc_ros closed_loop.launch.py mode:=repeat map:=sim.vloc condition:=dusk out:=dusk_drive rviz:=true
ros2 launch vloc_ros closed_loop.launch.py mode:=repeat map:=sim.vloc condition:=night lockstep:=true
"""

from dataclasses import replace
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable, Shutdown
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from vloc_ros.closed_loop import ClosedLoopSettings
from vloc_ros.config import from_dict, load_yaml
from vloc_ros.config import replace as changed
from vloc_ros.interfaces.policy import enclave_arguments
from vloc_ros.processes import dds_profile
from vloc_ros.ros.closed_loop_nodes import MODES, ClosedLoopNodes
from vloc_ros.simulation import sites

PACKAGE = "vloc_ros"

ARGUMENTS = [
    DeclareLaunchArgument(
        "mode",
        default_value="repeat",
        choices=list(MODES),
        description="teach: an operator drives the route once; repeat: the robot follows it.",
    ),
    DeclareLaunchArgument("map", description="Path of the map file, for example sim.vloc; the truth is kept beside it."),
    DeclareLaunchArgument("site", default_value="1", description="Number of the place to teach, from 1; a map knows its own."),
    DeclareLaunchArgument("length", default_value="80.0", description="Length of the route to teach, 30 to 2000 m."),
    DeclareLaunchArgument("scale", default_value="1.0", description="Resolution of the cameras to teach with, 1 being 512x384."),
    DeclareLaunchArgument("condition", default_value="noon", description="Light and weather: noon, dusk, night, fog, snow, ..."),
    DeclareLaunchArgument("hour", default_value="-1.0", description="Another hour of the day; -1: that of the condition."),
    DeclareLaunchArgument("seed", default_value="1", description="Of slip, odometry errors and noise."),
    DeclareLaunchArgument("laps", default_value="1", description="How often a closed route is repeated."),
    DeclareLaunchArgument(
        "lockstep",
        default_value="false",
        choices=["true", "false"],
        description="Wait for every command and every processed frame: the same every time.",
    ),
    DeclareLaunchArgument("real_time_factor", default_value="1.0", description="Speed without lockstep; 0: as fast as possible."),
    DeclareLaunchArgument("features", default_value="", description="Feature extractor; empty: as the configuration says."),
    DeclareLaunchArgument("config", default_value="", description="YAML file of settings, as `vloc config` prints them."),
    DeclareLaunchArgument("out", default_value="", description="Folder for the record of the drive; empty: none."),
    DeclareLaunchArgument(
        "autostart",
        default_value="true",
        choices=["true", "false"],
        description="The nodes start by themselves; false leaves that to a lifecycle manager. The order does not matter. "
        "The simulator always begins by itself.",
    ),
    DeclareLaunchArgument(
        "enclaves",
        default_value="auto",
        choices=["auto", "true", "false"],
        description="Start each node in its SROS 2 enclave /vloc_ros/<node>, as `vloc policy` has them; auto: with security on.",
    ),
    DeclareLaunchArgument("rviz", default_value="false", choices=["true", "false"], description="Start RViz 2."),
    DeclareLaunchArgument("namespace", default_value="", description="Namespace of the nodes."),
]


def setup(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    def argument(name: str) -> str:
        return str(LaunchConfiguration(name).perform(context))

    nodes = closed_loop(argument)
    actions: list[LaunchDescriptionEntity] = [SetEnvironmentVariable(*pair) for pair in dds_profile().items()]
    for name, values in nodes.parameters().items():
        actions.append(
            Node(
                package=PACKAGE,
                executable=name,
                name=name,
                namespace=argument("namespace"),
                parameters=[
                    {key: value for key, value in values.items() if value is not None},
                    {"autostart": name == "simulator" or argument("autostart") == "true"},
                ],
                remappings=list(nodes.remappings(name).items()),
                ros_arguments=enclave_arguments(name, argument("enclaves")),
                output="screen",
                on_exit=Shutdown(reason=f"the {name} ended"),
            )
        )
    actions.append(
        Node(
            package="rviz2",
            executable="rviz2",
            namespace=argument("namespace"),
            arguments=["-d", str(Path(get_package_share_directory(PACKAGE)) / "rviz" / "teach_repeat.rviz")],
            parameters=[{"use_sim_time": True}],
            condition=IfCondition(argument("rviz")),
        )
    )
    return actions


def closed_loop(argument) -> ClosedLoopNodes:
    settings = ClosedLoopSettings()
    if argument("config"):
        settings = from_dict(ClosedLoopSettings, load_yaml(Path(argument("config"))))
    if argument("features"):
        settings = changed(settings, {"features.name": argument("features")})
    return ClosedLoopNodes(
        argument("mode"),
        Path(argument("map")),
        replace(sites(max(int(argument("site")), 1))[-1], length_m=float(argument("length"))),
        float(argument("scale")),
        Path(argument("out")) if argument("out") else None,
        settings,
        {
            "condition": argument("condition"),
            "hour": float(argument("hour")),
            "drive_seed": int(argument("seed")),
            "laps": int(argument("laps")),
            "lockstep": argument("lockstep") == "true",
            "real_time_factor": float(argument("real_time_factor")),
        },
    )


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=setup)])
