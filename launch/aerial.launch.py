"""Where a drone is on a geo-referenced map, from its camera, its height and its heading.

ros2 launch vloc_ros aerial.launch.py map:=area.vloc
ros2 launch vloc_ros aerial.launch.py map:=area.vloc image:=/camera/image_raw camera_info:=/camera/camera_info imu:=/mavros/imu/data
ros2 launch vloc_ros aerial.launch.py map:=area.vloc transport:=compressed config:=drone.yaml
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable, Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from vloc_ros.interfaces.policy import enclave_arguments
from vloc_ros.processes import dds_profile, parameter_files

PACKAGE = "vloc_ros"

ARGUMENTS = [
    DeclareLaunchArgument("map", description="Path of an aerial map, made by vloc map build-aerial."),
    DeclareLaunchArgument("config", default_value="", description="YAML file that counts more than config/aerial.yaml."),
    DeclareLaunchArgument(
        "image", default_value="image", description="Topic of the camera; /compressed is added where it applies."
    ),
    DeclareLaunchArgument("camera_info", default_value="camera_info", description="Topic of its calibration."),
    DeclareLaunchArgument("range", default_value="range", description="Topic of the range finder."),
    DeclareLaunchArgument("pressure", default_value="pressure", description="Topic of the pressure of the air."),
    DeclareLaunchArgument("imu", default_value="imu", description="Topic of the orientation of the airframe."),
    DeclareLaunchArgument("fix", default_value="fix", description="Topic of the positions."),
    DeclareLaunchArgument(
        "transport",
        default_value="auto",
        choices=["auto", "raw", "compressed"],
        description="How the images cross the wire; auto: as the configuration says.",
    ),
    DeclareLaunchArgument(
        "use_sim_time", default_value="false", choices=["true", "false"], description="Take the time from /clock, as of a bag."
    ),
    DeclareLaunchArgument(
        "autostart",
        default_value="true",
        choices=["true", "false"],
        description="The node starts by itself; false leaves that to a lifecycle manager.",
    ),
    DeclareLaunchArgument(
        "enclaves",
        default_value="auto",
        choices=["auto", "true", "false"],
        description="Start the node in its SROS 2 enclave /vloc_ros/aerial, as `vloc policy` has it; auto: with security on.",
    ),
    DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node, for several drones."),
]


def setup(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    def argument(name: str) -> str:
        return str(LaunchConfiguration(name).perform(context))

    name, share = "aerial", Path(get_package_share_directory(PACKAGE))
    node = Node(
        package=PACKAGE,
        executable=name,
        name=name,
        namespace=argument("namespace"),
        parameters=[
            str(share / "config" / "aerial.yaml"),
            *parameter_files(argument("config")),
            {
                "map": argument("map"),
                **({} if argument("transport") == "auto" else {"camera.transport": argument("transport")}),
                "use_sim_time": argument("use_sim_time") == "true",
                "autostart": argument("autostart") == "true",
            },
        ],
        remappings=remappings(argument),
        ros_arguments=enclave_arguments(name, argument("enclaves")),
        output="screen",
        on_exit=Shutdown(reason=f"the node {name} ended"),
    )
    return [*(SetEnvironmentVariable(*pair) for pair in dds_profile().items()), node]


def remappings(argument) -> list[tuple[str, str]]:
    """Our names of the topics and those that were given."""
    given = {
        "image": argument("image"),
        "image/compressed": f"{argument('image')}/compressed",
        "camera_info": argument("camera_info"),
        "range": argument("range"),
        "pressure": argument("pressure"),
        "imu": argument("imu"),
        "fix": argument("fix"),
    }
    return [(ours, theirs) for ours, theirs in given.items() if ours != theirs]


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=setup)])
