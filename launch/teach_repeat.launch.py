"""Teaches a route, or localises along it, from a camera, a recording or a bag.

ros2 launch vloc_ros teach_repeat.launch.py mode:=teach camera:=realsense map:=site.vloc
ros2 launch vloc_ros teach_repeat.launch.py mode:=repeat camera:=realsense map:=site.vloc rviz:=true
ros2 launch vloc_ros teach_repeat.launch.py mode:=repeat camera:=realsense map:=site.vloc follow:=true wheel_odometry:=/odom
ros2 launch vloc_ros teach_repeat.launch.py mode:=teach camera:=kitti map:=site.vloc data:=/path/to/sequence
ros2 launch vloc_ros teach_repeat.launch.py mode:=teach camera:=realsense map:=site.vloc loop_closures:=false
ros2 launch vloc_ros teach_repeat.launch.py mode:=teach camera:=realsense map:=site.vloc calibrate:=true
"""

from dataclasses import dataclass
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction, SetEnvironmentVariable, Shutdown
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from vloc_ros.data import open_recording
from vloc_ros.errors import VlocError
from vloc_ros.geometry.se3 import BASE_T_OPTICAL
from vloc_ros.interfaces.policy import enclave_arguments
from vloc_ros.processes import dds_profile, parameter_files
from vloc_ros.ros.node_settings import numbers_of_base_T_camera

PACKAGE = "vloc_ros"


@dataclass(frozen=True)
class Camera:
    """Where the topics of a camera are: under ``root``, or (empty) those that the player publishes."""

    config: str
    root: str = ""
    topics: tuple[tuple[str, str], ...] = ()

    def remappings(self, root: str) -> list[tuple[str, str]]:
        base = (root or self.root).rstrip("/")
        return [(ours, f"{base}/{theirs}") for ours, theirs in self.topics]


def stereo(left: str, right: str, left_info: str, right_info: str) -> tuple[tuple[str, str], ...]:
    return (
        ("left/image_rect", left),
        ("right/image_rect", right),
        ("left/camera_info", left_info),
        ("right/camera_info", right_info),
    )


CAMERAS = {
    "realsense": Camera(
        "realsense_stereo",
        "/camera/camera",
        stereo("infra1/image_rect_raw", "infra2/image_rect_raw", "infra1/camera_info", "infra2/camera_info"),
    ),
    "realsense_rgbd": Camera(
        "realsense_rgbd",
        "/camera/camera",
        (
            ("rgb/image_rect", "color/image_raw"),
            ("depth/image_rect", "aligned_depth_to_color/image_raw"),
            ("rgb/camera_info", "color/camera_info"),
        ),
    ),
    "zed": Camera(
        "zed",
        "/zed/zed_node",
        stereo("left/color/rect/image", "right/color/rect/image", "left/color/rect/camera_info", "right/color/rect/camera_info"),
    ),
    "zed_before_5_1": Camera(
        "zed",
        "/zed/zed_node",
        stereo("left/image_rect_color", "right/image_rect_color", "left/camera_info", "right/camera_info"),
    ),
    "kitti": Camera("kitti"),
    "utias": Camera("bumblebee_utias"),
    "euroc": Camera("euroc"),
    "tum": Camera("tum"),
    "sim": Camera("sim"),
}

ARGUMENTS = [
    DeclareLaunchArgument(
        "mode",
        default_value="repeat",
        choices=["teach", "repeat", "localize"],
        description="teach records a route into the map; repeat localises along it; localize the same for another driver.",
    ),
    DeclareLaunchArgument("map", description="Path of the map file, for example site.vloc."),
    DeclareLaunchArgument(
        "camera",
        default_value="realsense",
        choices=list(CAMERAS),
        description="Camera driver or recording: picks config/<camera>.yaml and the names of the topics.",
    ),
    DeclareLaunchArgument(
        "camera_ns",
        default_value="",
        description="Where the driver's topics are, if not at its default; for example /camera with realsense2_camera before 4.55.",
    ),
    DeclareLaunchArgument(
        "data", default_value="", description="Recording to play (any format that `vloc play` reads); its end ends all."
    ),
    DeclareLaunchArgument("bag", default_value="", description="ROS 2 bag to play with `ros2 bag play --clock`; its end ends all."),
    DeclareLaunchArgument(
        "rectification",
        default_value="auto",
        choices=["auto", "off"],
        description="With data: correct the rectification error of a stereo recording when it is significant.",
    ),
    DeclareLaunchArgument("start", default_value="0", description="First frame of the recording."),
    DeclareLaunchArgument("stop", default_value="-1", description="Frame of the recording to stop before; -1: the end."),
    DeclareLaunchArgument("step", default_value="1", description="Play every n-th frame of the recording."),
    DeclareLaunchArgument("rate", default_value="1.0", description="Speed of the replay as a multiple of real time."),
    DeclareLaunchArgument(
        "lockstep",
        default_value="false",
        choices=["true", "false"],
        description="With data: play the next frame when the last one is finished, so that none is dropped.",
    ),
    DeclareLaunchArgument("append", default_value="false", choices=["true", "false"], description="Teach into an existing map."),
    DeclareLaunchArgument("features", default_value="", description="Feature extractor; empty: as the configuration says."),
    DeclareLaunchArgument(
        "config", default_value="", description="YAML file of parameters that count more than config/<camera>.yaml."
    ),
    DeclareLaunchArgument(
        "out", default_value="", description="Folder for trajectory, log of frames and configuration; empty: none."
    ),
    DeclareLaunchArgument(
        "follow",
        default_value="false",
        choices=["true", "false"],
        description="With mode repeat: start the path follower, which drives the robot once it is enabled.",
    ),
    DeclareLaunchArgument("cmd_vel", default_value="cmd_vel", description="With follow: topic of the commands to the robot."),
    DeclareLaunchArgument(
        "follower_config", default_value="", description="With follow: YAML file that counts more than config/path_follower.yaml."
    ),
    DeclareLaunchArgument(
        "wheel_odometry", default_value="", description="Topic of the wheel odometry; empty: steer by the odometry of the cameras."
    ),
    DeclareLaunchArgument(
        "loop_closures",
        default_value="auto",
        choices=["auto", "true", "false"],
        description="Start the nodes that find and judge loop closures; auto: when a route is taught.",
    ),
    DeclareLaunchArgument(
        "place_recognition_config",
        default_value="",
        description="With loop_closures: YAML file that counts more than config/place_recognition.yaml.",
    ),
    DeclareLaunchArgument(
        "pose_graph_config",
        default_value="",
        description="With loop_closures: YAML file that counts more than config/pose_graph.yaml.",
    ),
    DeclareLaunchArgument(
        "calibrate",
        default_value="false",
        choices=["true", "false"],
        description="Tune place recognition to the site while the robot drives; finds and judges loop closures too.",
    ),
    DeclareLaunchArgument(
        "calibration_config",
        default_value="",
        description="With calibrate: YAML file that counts more than config/calibration.yaml.",
    ),
    DeclareLaunchArgument(
        "autostart",
        default_value="true",
        choices=["true", "false"],
        description="The nodes start by themselves; false leaves that to a lifecycle manager. The order does not matter. "
        "The player always begins by itself.",
    ),
    DeclareLaunchArgument(
        "enclaves",
        default_value="auto",
        choices=["auto", "true", "false"],
        description="Start each node in its SROS 2 enclave /vloc_ros/<node>, as `vloc policy` has them; auto: with security on.",
    ),
    DeclareLaunchArgument("rviz", default_value="false", choices=["true", "false"], description="Start RViz 2."),
    DeclareLaunchArgument("namespace", default_value="", description="Namespace of the nodes, for several robots."),
    DeclareLaunchArgument(
        "use_sim_time",
        default_value="auto",
        choices=["auto", "true", "false"],
        description="Take the time from /clock; auto: when data or a bag is played.",
    ),
]


def setup(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    def argument(name: str) -> str:
        return str(LaunchConfiguration(name).perform(context))

    replayed = bool(argument("data") or argument("bag"))
    sim_time = argument("use_sim_time") == "true" or (argument("use_sim_time") == "auto" and replayed)
    share = Path(get_package_share_directory(PACKAGE))
    actions: list[LaunchDescriptionEntity] = [SetEnvironmentVariable(*pair) for pair in dds_profile().items()]
    actions.append(localization(argument, share, sim_time))
    if argument("follow") == "true" and argument("mode") == "repeat":
        actions.append(path_follower(argument, share, sim_time))
    wanted = argument("loop_closures") == "true" or (argument("loop_closures") == "auto" and argument("mode") == "teach")
    if wanted or argument("calibrate") == "true":
        actions += loop_closures(argument, share, sim_time)
    if argument("data"):
        actions.append(player(argument))
    if argument("bag"):
        actions.append(
            ExecuteProcess(
                cmd=["ros2", "bag", "play", argument("bag"), "--clock", "--rate", argument("rate")],
                output="screen",
                on_exit=Shutdown(reason="the bag is over"),
            )
        )
    actions.append(
        Node(
            package="rviz2",
            executable="rviz2",
            namespace=argument("namespace"),
            arguments=["-d", str(share / "rviz" / "teach_repeat.rviz")],
            parameters=[{"use_sim_time": sim_time}],
            condition=IfCondition(argument("rviz")),
        )
    )
    return actions


def localization(argument, share: Path, sim_time: bool) -> Node:
    camera = CAMERAS[argument("camera")]
    parameters: list = [str(share / "config" / f"{camera.config}.yaml"), *parameter_files(argument("config"))]
    values = {
        "mode": argument("mode"),
        "map": argument("map"),
        "append": argument("append") == "true",
        "out": argument("out"),
        "autostart": argument("autostart") == "true",
        "use_sim_time": sim_time,
    }
    if argument("features"):
        values["features.name"] = argument("features")
    if argument("data") or argument("bag"):
        values["source"] = argument("data") or argument("bag")
    if argument("data"):
        values["base_T_camera"] = mounting(argument("data"))
    if argument("lockstep") == "true":
        values["qos.reliability"] = "reliable"
    # A recording is played under the names that the node listens to.
    remappings = [] if argument("data") else camera.remappings(argument("camera_ns"))
    if argument("wheel_odometry"):
        values["use_wheel_odometry"] = True
        remappings.append(("odom", argument("wheel_odometry")))
    return Node(
        package=PACKAGE,
        executable="localization",
        name="localization",
        namespace=argument("namespace"),
        parameters=[*parameters, values],
        remappings=remappings,
        ros_arguments=enclave_arguments("localization", argument("enclaves")),
        output="screen",
        on_exit=Shutdown(reason="the localization ended"),
    )


def path_follower(argument, share: Path, sim_time: bool) -> Node:
    parameters: list = [str(share / "config" / "path_follower.yaml"), *parameter_files(argument("follower_config"))]
    remappings = [("cmd_vel", argument("cmd_vel"))]
    if argument("wheel_odometry"):
        remappings.append(("odometry", argument("wheel_odometry")))
    return Node(
        package=PACKAGE,
        executable="path_follower",
        name="path_follower",
        namespace=argument("namespace"),
        parameters=[*parameters, {"use_sim_time": sim_time, "autostart": argument("autostart") == "true"}],
        remappings=remappings,
        ros_arguments=enclave_arguments("path_follower", argument("enclaves")),
        output="screen",
        on_exit=Shutdown(reason="the path follower ended"),
    )


def loop_closures(argument, share: Path, sim_time: bool) -> list[Node]:
    """The robot drives on without these nodes: their end ends nothing else."""
    own = {"place_recognition": argument("place_recognition_config"), "pose_graph": argument("pose_graph_config")}
    if argument("calibrate") == "true":
        own["calibration"] = argument("calibration_config")
    return [
        Node(
            package=PACKAGE,
            executable=name,
            name=name,
            namespace=argument("namespace"),
            parameters=[
                str(share / "config" / f"{name}.yaml"),
                *parameter_files(config),
                {"map": argument("map"), "use_sim_time": sim_time, "autostart": argument("autostart") == "true"},
            ],
            ros_arguments=enclave_arguments(name, argument("enclaves")),
            output="screen",
        )
        for name, config in own.items()
    ]


def mounting(recording: str) -> list[float]:
    """How the camera of a recording is mounted; the player says what is wrong with one that cannot be opened."""
    try:
        return numbers_of_base_T_camera(open_recording(Path(recording)).base_T_camera)
    except VlocError:
        return numbers_of_base_T_camera(BASE_T_OPTICAL)


def player(argument) -> Node:
    values: dict = {name: int(argument(name)) for name in ("start", "stop", "step")}
    values["rectification"] = argument("rectification")
    values |= {"source": argument("data"), "rate": float(argument("rate")), "lockstep": argument("lockstep") == "true"}
    return Node(
        package=PACKAGE,
        executable="player",
        name="player",
        namespace=argument("namespace"),
        parameters=[values],
        ros_arguments=enclave_arguments("player", argument("enclaves")),
        output="screen",
        on_exit=Shutdown(reason="the recording is over"),
    )


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=setup)])
