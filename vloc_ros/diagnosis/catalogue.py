"""What each check looks at and what its trouble means: the source of ``docs/doctor.md``."""

from __future__ import annotations

from dataclasses import dataclass

from vloc_ros.diagnosis.disk import FULL_BYTES, NEARLY_FULL_BYTES
from vloc_ros.diagnosis.finding import Check, Group, Level
from vloc_ros.diagnosis.stamps import FAR_S, LOWEST_HZ


@dataclass(frozen=True, slots=True)
class Entry:
    """One check for a reader.

    Attributes:
        group: when it is made.
        worst: the worst level that it finds.
        finds: what it finds.
        remedy: what is to be done then.
    """

    group: Group
    worst: Level
    finds: str
    remedy: str


_MACHINE, _TOPICS, _WARNING, _ERROR = Group.MACHINE, Group.TOPICS, Level.WARNING, Level.ERROR
CATALOGUE: dict[Check, Entry] = {
    Check.ROS: Entry(
        _MACHINE, _WARNING, "rclpy is not installed or cannot be loaded (the topics are not looked at then)", "source ROS 2"
    ),
    Check.PACKAGES: Entry(
        _MACHINE,
        _ERROR,
        "OpenCV, SciPy or gtsam does not fit NumPy; each is imported and used in a child process, so that a crash is named",
        "install the versions of requirements/run.txt or ros.txt",
    ),
    Check.FEATURES: Entry(
        _MACHINE,
        _ERROR,
        "the local features of the configuration need a package (onnxruntime, torch) or a file that is missing, or are not "
        "those of the map",
        "install it, or change features.name",
    ),
    Check.MAP: Entry(_MACHINE, _ERROR, "the map is damaged, of another version, or its folder does not exist", "vloc map check"),
    Check.DISK: Entry(
        _MACHINE,
        _ERROR,
        f"less than {NEARLY_FULL_BYTES / 1e9:g} GB is left where the map lies (an error below {FULL_BYTES / 1e6:g} MB)",
        "make room, or keep the map elsewhere",
    ),
    Check.DOMAIN: Entry(
        _TOPICS,
        _ERROR,
        "no publisher of any input is to be seen: ROS_DOMAIN_ID, ROS_LOCALHOST_ONLY or ROS_AUTOMATIC_DISCOVERY_RANGE "
        "may hide the camera",
        "compare these variables where the camera runs",
    ),
    Check.PUBLISHER: Entry(
        _TOPICS, _ERROR, "nobody publishes a topic; published topics whose names end alike are named", "start the camera, or remap"
    ),
    Check.QOS: Entry(
        _TOPICS,
        _ERROR,
        "a publisher is not heard: it offers best effort where reliable is asked for, or volatile where transient local is, "
        "or publishes another type",
        "set qos.reliability, or camera.transport",
    ),
    Check.SILENCE: Entry(_TOPICS, _ERROR, "a topic is published, but nothing comes", "look after the camera"),
    Check.CAMERA_INFO: Entry(_TOPICS, _ERROR, "camera_info is published, but none comes", "let the driver publish it"),
    Check.CALIBRATION: Entry(
        _TOPICS,
        _ERROR,
        "camera_info is empty (P zero, size 0x0), holds NaN, asks for binning or a region, or the two sides contradict each other",
        "calibrate the camera",
    ),
    Check.BASELINE: Entry(_TOPICS, _ERROR, "the baseline is zero or has the wrong sign", "calibrate the pair, or swap the topics"),
    Check.IMAGE_SIZE: Entry(
        _TOPICS, _ERROR, "images are of another size than camera_info says", "use the camera_info of the same images"
    ),
    Check.DISTORTION: Entry(
        _TOPICS,
        _WARNING,
        "camera_info gives distortion, and the name of the image topic does not say that it is rectified",
        "run image_proc or stereo_image_proc",
    ),
    Check.SKEW: Entry(
        _TOPICS, _ERROR, "the stamps of left and right differ by more than sync.slop", "synchronise the cameras or raise sync.slop"
    ),
    Check.CLOCK: Entry(
        _TOPICS,
        _ERROR,
        f"stamps lie more than {FAR_S:g} s from the clock in use, are zero, or use_sim_time is set and no /clock comes",
        "set or unset use_sim_time, or synchronise the clocks",
    ),
    Check.RATE: Entry(_TOPICS, _WARNING, f"images come at less than {LOWEST_HZ:g} Hz", "raise the rate"),
    Check.TF: Entry(
        _TOPICS,
        _WARNING,
        "tf has no transform from the base to the camera, or another one than base_T_camera (needs tf2_msgs to be read)",
        "publish it, or correct base_T_camera",
    ),
    Check.DECODING: Entry(_TOPICS, _ERROR, "an image is damaged or of an unknown encoding", "change the encoding of the driver"),
    Check.ROWS: Entry(
        _TOPICS,
        _ERROR,
        "matched points of a pair lie in different rows (not rectified), or left and right are swapped",
        "rectify the images, or swap the topics",
    ),
    Check.MOMENT: Entry(
        _TOPICS,
        _WARNING,
        "points lie further from the middle row in one image than in the other: the images of a robot that moves are not of one "
        "moment, though their stamps agree (the node looks every 3 s, also while it localises)",
        "trigger both cameras together, and stamp the images by their exposure",
    ),
    Check.EMITTER: Entry(
        _TOPICS,
        _WARNING,
        "small bright dots all over an image: the pattern of an emitter, which moves with the camera",
        "switch the emitter off",
    ),
}


def table() -> str:
    """The catalogue as a Markdown table."""
    rows = ["| check | when | at worst | what it finds | what to do |", "|---|---|---|---|---|"]
    for check, entry in CATALOGUE.items():
        rows.append(f"| `{check.value}` | {entry.group.value} | {entry.worst.name.lower()} | {entry.finds} | {entry.remedy} |")
    return "\n".join(rows) + "\n"
