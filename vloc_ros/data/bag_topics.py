"""Which topics of a bag are the camera: named by the user, or guessed from names and types."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

from vloc_ros.errors import DataError

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
ODOMETRY = "nav_msgs/msg/Odometry"
POSE_TYPES = (
    ODOMETRY,
    "geometry_msgs/msg/PoseStamped",
    "geometry_msgs/msg/PoseWithCovarianceStamped",
    "geometry_msgs/msg/TransformStamped",
)
_SIDES = (
    ("left", "right"),
    ("infra1", "infra2"),
    ("cam0", "cam1"),
    ("cam_0", "cam_1"),
    ("camera0", "camera1"),
    ("cam1", "cam2"),
)
_TRANSPORTS = re.compile(r"/(compressedDepth|compressed)$")
_TRUTH = re.compile(r"ground[_-]?truth")
_REGISTERED = re.compile(r"aligned|registered")


@dataclass(frozen=True, slots=True)
class BagTopics:
    """The topics of one camera: exactly one of ``right`` and ``depth``; a depth image needs no info of its own."""

    left: str
    left_info: str
    right: str | None = None
    right_info: str | None = None
    depth: str | None = None
    ground_truth: str | None = None

    @property
    def other(self) -> str:
        """The right or the depth topic."""
        topic = self.right or self.depth
        assert topic is not None
        return topic


def choose_topics(types: Mapping[str, str], named: Mapping[str, str]) -> BagTopics:
    """Complete the topics that the user names with guesses.

    Args:
        types: message type of each topic of the bag.
        named: any of ``left``, ``right``, ``depth``, ``left_info``, ``right_info``, ``ground_truth`` to topics.

    Raises:
        DataError: a name or topic is unknown, or nothing fits; the text lists what the bag holds.
    """
    known = [field.name for field in fields(BagTopics)]
    for key, topic in named.items():
        if key not in known:
            raise DataError(f"unknown role '{key}' of a topic; known: {', '.join(known)}")
        if topic not in types:
            raise DataError(f"the bag has no topic '{topic}'; {_listing(types)}")
    if "right" in named and "depth" in named:
        raise DataError("name either a right or a depth topic, not both")
    chosen = dict(_images(types, named))
    chosen["left_info"] = named.get("left_info") or _info(chosen["left"], types)
    if "right" in chosen:
        chosen["right_info"] = named.get("right_info") or _info(chosen["right"], types)
    truth = named.get("ground_truth") or _ground_truth(types)
    return BagTopics(**chosen, ground_truth=truth)


def is_rectified(topic: str) -> bool:
    """Whether the name says so, by the convention of image_proc and the camera drivers (``image_rect``, ``image_rect_raw``)."""
    return "rect" in topic and "unrect" not in topic


def _images(types: Mapping[str, str], named: Mapping[str, str]) -> dict[str, str]:
    images = [topic for topic, kind in types.items() if kind in (IMAGE, COMPRESSED)]
    if "left" in named and ("right" in named or "depth" in named):
        return {key: named[key] for key in ("left", "right", "depth") if key in named}
    pairs = [] if "depth" in named else _stereo_pairs(images, named)
    complete = [pair for pair in pairs if all(_find_info(topic, types) for topic in pair)]
    depths = [] if "right" in named else _depth_pairs(images, named)
    for candidates, other in ((complete, "right"), (depths, "depth"), (pairs, "right")):
        if candidates:
            left, second = min(candidates, key=_rank)
            return {"left": left, other: second}
    raise DataError(f"no left and right images, nor an image with depth, are among the topics; {_listing(types)}")


def _stereo_pairs(images: list[str], named: Mapping[str, str]) -> list[tuple[str, str]]:
    pairs = [
        (left, right)
        for left in images
        for one, other in _SIDES
        if one in left and (right := left.replace(one, other)) in images and "depth" not in left
    ]
    return [pair for pair in pairs if named.get("left", pair[0]) == pair[0] and named.get("right", pair[1]) == pair[1]]


def _depth_pairs(images: list[str], named: Mapping[str, str]) -> list[tuple[str, str]]:
    depths = [named["depth"]] if "depth" in named else [topic for topic in images if _is_depth(topic)]
    pattern = re.compile(r"colou?r|rgb|left")
    colours = [topic for topic in images if pattern.search(topic) and "depth" not in topic]
    colours = [named["left"]] if "left" in named else colours
    return [(colour, depth) for colour in colours for depth in depths]


def _is_depth(topic: str) -> bool:
    """Whether it is depth that may be registered to another image (RealSense's ``depth/image_rect_raw`` never is)."""
    plain = _TRANSPORTS.sub("", topic)
    lossy = topic.endswith("/compressed")
    own_view = plain.endswith("depth/image_rect_raw") and not _REGISTERED.search(plain)
    return "depth" in plain and not lossy and not own_view and "confidence" not in plain


def _rank(pair: tuple[str, str]) -> tuple[bool, bool, bool, int, str]:
    """Smaller is better: rectified, registered, uncompressed, then the shortest name."""
    left, other = pair
    compressed = any(_TRANSPORTS.search(topic) for topic in pair)
    unregistered = "depth" in other and not _REGISTERED.search(other)
    return not is_rectified(left), unregistered, compressed, len(left) + len(other), left


def _find_info(image: str, types: Mapping[str, str]) -> str | None:
    plain = _TRANSPORTS.sub("", image)
    candidates = (f"{plain.rpartition('/')[0]}/camera_info", f"{plain}/camera_info")
    return next((topic for topic in candidates if types.get(topic) == CAMERA_INFO), None)


def _info(image: str, types: Mapping[str, str]) -> str:
    info = _find_info(image, types)
    if info is None:
        raise DataError(f"no camera_info is beside '{image}'; name its topic, or record it; {_listing(types)}")
    return info


def _ground_truth(types: Mapping[str, str]) -> str | None:
    fitting = sorted(topic for topic, kind in types.items() if _TRUTH.search(topic) and kind in POSE_TYPES)
    return fitting[0] if fitting else None


def _listing(types: Mapping[str, str]) -> str:
    shown = [f"{topic} ({kind.rpartition('/')[2]})" for topic, kind in sorted(types.items())][:20]
    return "the bag holds: " + (", ".join(shown) if shown else "nothing")
