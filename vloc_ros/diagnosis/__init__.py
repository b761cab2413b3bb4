"""What is wrong with an installation or with the input of a node, in one sentence each. Imports no ROS."""

from vloc_ros.diagnosis.camera import examine, examine_messages, examine_pixels, examine_topics
from vloc_ros.diagnosis.disk import check_disk
from vloc_ros.diagnosis.facts import (
    CameraFacts,
    CameraInfoFacts,
    ClockFacts,
    Publisher,
    Qos,
    StreamFacts,
    TfFacts,
    TopicFacts,
)
from vloc_ros.diagnosis.finding import Check, Finding, Level
from vloc_ros.diagnosis.topics import check_domain, check_topic

__all__ = [
    "CameraFacts",
    "CameraInfoFacts",
    "Check",
    "ClockFacts",
    "Finding",
    "Level",
    "Publisher",
    "Qos",
    "StreamFacts",
    "TfFacts",
    "TopicFacts",
    "check_disk",
    "check_domain",
    "check_topic",
    "examine",
    "examine_messages",
    "examine_pixels",
    "examine_topics",
]
