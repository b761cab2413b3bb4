"""What a check says: one finding with its level, one sentence, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum, unique
from typing import Any


class Level(IntEnum):
    """How bad it is."""

    OK = 0
    WARNING = 1
    ERROR = 2


@unique
class Group(Enum):
    """When a check is made."""

    MACHINE = "machine"
    """By `vloc doctor` in any case, and by a node at its start where it matters to it."""
    TOPICS = "topics"
    """By `vloc doctor` where rclpy is, and by nodes that have had no output for a while."""


@unique
class Check(Enum):
    """Everything that is looked at. The value is the name in tables and JSON."""

    ROS = "ros"
    PACKAGES = "packages"
    FEATURES = "features"
    MAP = "map"
    DISK = "disk"
    DOMAIN = "domain"
    PUBLISHER = "publisher"
    QOS = "qos"
    SILENCE = "silence"
    CAMERA_INFO = "camera_info"
    CALIBRATION = "calibration"
    BASELINE = "baseline"
    IMAGE_SIZE = "image_size"
    DISTORTION = "distortion"
    SKEW = "skew"
    CLOCK = "clock"
    RATE = "rate"
    TF = "tf"
    DECODING = "decoding"
    ROWS = "rows"
    MOMENT = "moment"
    EMITTER = "emitter"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        check: which.
        level: how bad it is.
        sentence: what is, or what is wrong; no full stop.
        remedy: what to do; empty where all is well.
        topic: what it is about; empty for no topic.
    """

    check: Check
    level: Level
    sentence: str
    remedy: str = ""
    topic: str = ""

    @property
    def text(self) -> str:
        """The sentence with the remedy."""
        return f"{self.sentence}; {self.remedy}" if self.remedy else self.sentence

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        texts = {"topic": self.topic, "sentence": self.sentence, "remedy": self.remedy}
        return {"check": self.check.value, "level": self.level.name.lower(), **texts}


def fine(check: Check, sentence: str, topic: str = "") -> Finding:
    """All is well."""
    return Finding(check, Level.OK, sentence, "", topic)


def warning(check: Check, sentence: str, remedy: str, topic: str = "") -> Finding:
    """It works, but not as it should."""
    return Finding(check, Level.WARNING, sentence, remedy, topic)


def error(check: Check, sentence: str, remedy: str, topic: str = "") -> Finding:
    """It cannot work like this."""
    return Finding(check, Level.ERROR, sentence, remedy, topic)
