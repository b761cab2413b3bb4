"""The table of topics and services: one row for each topic, one entry for each node.

The security policy, the picture of the message flow and the tests of the views are made from it. A test starts every node and
compares what it really publishes, hears and serves with what is written here.
"""

from __future__ import annotations

from vloc_ros.interfaces.description import NodeInterface, Service, Topic

_IMAGE, _COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
_INFO, _ODOMETRY, _PATH = "sensor_msgs/msg/CameraInfo", "nav_msgs/msg/Odometry", "nav_msgs/msg/Path"
_POSE, _STATUS = "geometry_msgs/msg/PoseWithCovarianceStamped", "diagnostic_msgs/msg/DiagnosticStatus"
_HEADER = "std_msgs/msg/Header"
_CAMERA, _MOTION, _LOCAL = "camera", "odometry and truth", "localisation"
_FIX, _MARKER = "sensor_msgs/msg/NavSatFix", "visualization_msgs/msg/Marker"
_DRIVE, _LOOPS, _AERIAL, _ALL = "driving", "loop closures", "aerial", "all nodes"


def _topic(group: str, name: str, types: str | tuple[str, ...], doc: str) -> Topic:
    return Topic(name, (types,) if isinstance(types, str) else types, doc, group)


TOPICS = {
    topic.name: topic
    for topic in (
        _topic(_CAMERA, "left/image_rect", _IMAGE, "rectified left image"),
        _topic(_CAMERA, "right/image_rect", _IMAGE, "rectified right image"),
        _topic(_CAMERA, "left/image_rect/compressed", _COMPRESSED, "the same, compressed"),
        _topic(_CAMERA, "right/image_rect/compressed", _COMPRESSED, "the same, compressed"),
        _topic(_CAMERA, "left/camera_info", _INFO, "calibration of the left camera"),
        _topic(_CAMERA, "right/camera_info", _INFO, "calibration of the right camera, with the baseline"),
        _topic(_CAMERA, "rgb/image_rect", _IMAGE, "image of an RGB-D camera"),
        _topic(_CAMERA, "depth/image_rect", _IMAGE, "depth, registered to the image"),
        _topic(_CAMERA, "rgb/image_rect/compressed", _COMPRESSED, "the image, compressed"),
        _topic(_CAMERA, "depth/image_rect/compressedDepth", _COMPRESSED, "the depth, compressed"),
        _topic(_CAMERA, "rgb/camera_info", _INFO, "calibration of an RGB-D camera"),
        _topic(_CAMERA, "depth/camera_info", _INFO, "that of its depth, for other programs"),
        _topic(_MOTION, "/clock", "rosgraph_msgs/msg/Clock", "simulated or replayed time"),
        _topic(_MOTION, "odom", _ODOMETRY, "odometry of the wheels"),
        _topic(_MOTION, "ground_truth/odometry", _ODOMETRY, "the truth, for judging only"),
        _topic(_LOCAL, "initialpose", _POSE, "where the robot is, from an operator or at the seam of a loop"),
        _topic(_LOCAL, "odometry", _ODOMETRY, "smooth odometry of the cameras"),
        _topic(_LOCAL, "pose", _POSE, "pose in the map, only when it is believed"),
        _topic(_LOCAL, "path", _PATH, "the taught route"),
        _topic(_LOCAL, "state", _STATUS, "state of the localisation, with its reason"),
        _topic(_LOCAL, "matches/image", _IMAGE, "live image beside the keyframe it matches; made while somebody looks"),
        _topic(_LOCAL, "processed", _HEADER, "a frame is finished, whatever came of it"),
        _topic(_LOCAL, "/tf", "tf2_msgs/msg/TFMessage", "map to odom to base, with the stamp of the image"),
        _topic(_DRIVE, "cmd_vel", ("geometry_msgs/msg/TwistStamped", "geometry_msgs/msg/Twist"), "velocity for the robot"),
        _topic(_DRIVE, "path_follower/state", _STATUS, "what the follower does, and why it stands"),
        _topic(_DRIVE, "simulator/kidnap", "std_msgs/msg/Float64", "carry the simulated robot to this station [m]"),
        _topic(_LOOPS, "keyframes", _ODOMETRY, "keyframes as they are made while teaching"),
        _topic(_LOOPS, "loop_closures/candidates", _ODOMETRY, "verified candidates for loop closures"),
        _topic(_LOOPS, "loop_closures/inliers", _ODOMETRY, "closures that the graph holds to be true"),
        _topic(_LOOPS, "loop_closures/outliers", _ODOMETRY, "closures that it holds to be false"),
        _topic(_LOOPS, "loop_closures/undecided", _ODOMETRY, "closures it cannot judge yet"),
        _topic(_LOOPS, "model", "std_msgs/msg/String", "version of the place model to use"),
        _topic(_LOOPS, "pose_graph/path", _PATH, "the route, straightened by the closures"),
        _topic(_LOOPS, "pose_graph/markers", "visualization_msgs/msg/MarkerArray", "the graph, coloured by label"),
        _topic(_LOOPS, "pose_graph/heartbeat", _HEADER, "the node is alive"),
        _topic(_AERIAL, "image", _IMAGE, "image of a camera that looks down"),
        _topic(_AERIAL, "image/compressed", _COMPRESSED, "the same, compressed"),
        _topic(_AERIAL, "camera_info", _INFO, "its calibration"),
        _topic(_AERIAL, "range", "sensor_msgs/msg/Range", "distance to the ground along its axis"),
        _topic(_AERIAL, "pressure", "sensor_msgs/msg/FluidPressure", "pressure of the air, for the height"),
        _topic(_AERIAL, "imu", "sensor_msgs/msg/Imu", "orientation of the airframe, for heading and tilt"),
        _topic(_AERIAL, "fix", _FIX, "position of each image, or that there is none"),
        _topic(_AERIAL, "footprint", _MARKER, "outline of the image on the ground"),
        _topic(_AERIAL, "aerial/pose", _POSE, "east and north in the map, only when believed"),
        _topic(_AERIAL, "aerial/origin", _FIX, "where the origin of the map is"),
        _topic(_ALL, "/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", "rates, drops and their reasons, state, latencies"),
    )
}

_TRIGGER, _SET_BOOL = "std_srvs/srv/Trigger", "std_srvs/srv/SetBool"
SERVICES = {
    service.name: service
    for service in (
        Service("localization/reset", _TRIGGER, "forget where the robot is"),
        Service("localization/keyframe", _TRIGGER, "make the next frame a keyframe while teaching"),
        Service("localization/finish", _TRIGGER, "end teaching and close the map"),
        Service("path_follower/enable", _SET_BOOL, "may the robot be driven"),
        Service("path_follower/dead_man", _SET_BOOL, "held: call it again and again while the robot may drive"),
        Service("pose_graph/solve", _TRIGGER, "solve the graph now"),
        Service("pose_graph/apply", _TRIGGER, "move the map to the solution"),
        Service("pose_graph/republish", _TRIGGER, "publish all labels again"),
        Service("calibration/trigger", _TRIGGER, "begin a calibration"),
        Service("calibration/pause", _TRIGGER, "pause the trainer"),
        Service("calibration/resume", _TRIGGER, "let it go on"),
        Service("aerial/forget", _TRIGGER, "search the whole map for the next image"),
        Service("simulator/cover", _SET_BOOL, "cover the simulated cameras"),
    )
}

_STEREO = ("left/image_rect", "right/image_rect", "left/camera_info", "right/camera_info")
_RGBD = ("rgb/image_rect", "depth/image_rect", "rgb/camera_info")
_STEREO_COMPRESSED = ("left/image_rect/compressed", "right/image_rect/compressed")
_RGBD_COMPRESSED = ("rgb/image_rect/compressed", "depth/image_rect/compressedDepth")
_LABELS = ("loop_closures/inliers", "loop_closures/outliers", "loop_closures/undecided")
_SIM_TIME = {"/clock": "use_sim_time"}

EVERY_NODE = NodeInterface(
    "*",
    "what rclpy gives every managed node; get_type_description since Jazzy",
    publishes=("/rosout", "/parameter_events", "~/transition_event"),
    serves=(
        *("~/describe_parameters", "~/get_parameter_types", "~/get_parameters", "~/list_parameters"),
        *("~/set_parameters", "~/set_parameters_atomically", "~/get_type_description"),
        *("~/change_state", "~/get_state", "~/get_available_states", "~/get_available_transitions", "~/get_transition_graph"),
    ),
)

NODES = {
    node.name: node
    for node in (
        NodeInterface(
            "localization",
            "teaches a route, or localises along it",
            publishes=(
                *("odometry", "pose", "path", "state", "matches/image", "processed", "/tf"),
                *("keyframes", "/diagnostics"),
            ),
            subscribes=(
                *(*_STEREO, *_STEREO_COMPRESSED, *_RGBD, *_RGBD_COMPRESSED),
                *("initialpose", "odom", "/clock"),
            ),
            serves=("localization/reset", "localization/keyframe", "localization/finish"),
            only_with={
                **dict.fromkeys(_STEREO_COMPRESSED, "camera.transport compressed"),
                **dict.fromkeys(_RGBD, "camera.type rgbd"),
                **dict.fromkeys(_RGBD_COMPRESSED, "camera.type rgbd, camera.transport compressed"),
                "odom": "use_wheel_odometry",
                "/tf": "publish_tf",
                **_SIM_TIME,
            },
        ),
        NodeInterface(
            "path_follower",
            "drives the robot along the taught route",
            publishes=("cmd_vel", "path_follower/state", "initialpose", "/diagnostics"),
            subscribes=("path", "pose", "odometry", "/clock"),
            serves=("path_follower/enable", "path_follower/dead_man"),
            only_with=_SIM_TIME,
        ),
        NodeInterface(
            "place_recognition",
            "finds earlier keyframes that new ones resemble",
            publishes=("loop_closures/candidates", "/diagnostics"),
            subscribes=("keyframes", "model", "/clock"),
            only_with=_SIM_TIME,
        ),
        NodeInterface(
            "pose_graph",
            "labels loop closures and straightens the route",
            publishes=(*_LABELS, "pose_graph/path", "pose_graph/markers", "pose_graph/heartbeat", "/diagnostics"),
            subscribes=("keyframes", "loop_closures/candidates", "state", "/clock"),
            serves=("pose_graph/solve", "pose_graph/apply", "pose_graph/republish"),
            only_with=_SIM_TIME,
        ),
        NodeInterface(
            "calibration",
            "tunes place recognition to the site",
            publishes=("model", "/diagnostics"),
            subscribes=(*_LABELS, "odometry", "/clock"),
            serves=("calibration/trigger", "calibration/pause", "calibration/resume"),
            only_with=_SIM_TIME,
        ),
        NodeInterface(
            "aerial",
            "where a drone is on a geo-referenced map",
            publishes=("fix", "footprint", "aerial/pose", "aerial/origin", "/diagnostics"),
            subscribes=("image", "image/compressed", "camera_info", "range", "pressure", "imu", "/clock"),
            serves=("aerial/forget",),
            only_with={
                "image/compressed": "camera.transport compressed",
                "range": "instruments.height auto or range",
                "pressure": "instruments.height auto or pressure",
                "imu": "instruments.heading or instruments.tilt",
                **_SIM_TIME,
            },
        ),
        NodeInterface(
            "simulator",
            "a robot with cameras and wheels in a simulated world",
            publishes=(*_STEREO, "odom", "ground_truth/odometry", "/clock", "/diagnostics"),
            subscribes=("cmd_vel", "processed", "keyframes", "path_follower/state", "simulator/kidnap"),
            serves=("simulator/cover",),
            calls=("localization/keyframe",),
            only_with={"odom": "drive.use_wheels"},
        ),
        NodeInterface(
            "player",
            "plays a recording",
            publishes=(*_STEREO, *_RGBD, "depth/camera_info", "ground_truth/odometry", "/clock"),
            subscribes=("processed",),
            only_with=dict.fromkeys((*_RGBD, "depth/camera_info"), "a recording with depth"),
        ),
    )
}
