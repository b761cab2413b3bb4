"""What people look at: the RViz configuration and the Foxglove layout show topics that nodes publish, as messages of that type."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from vloc_ros.interfaces import NODES, SERVICES, TOPICS

ROOT = Path(__file__).resolve().parent.parent
LAYOUT = ROOT / "config" / "foxglove_layout.json"
RVIZ = ROOT / "rviz" / "teach_repeat.rviz"
PUBLISHED = {topic for node in NODES.values() for topic in node.publishes}
HEARD = {topic for node in NODES.values() for topic in node.subscribes}
RVIZ_TYPES = {
    "Path": "nav_msgs/msg/Path",
    "MarkerArray": "visualization_msgs/msg/MarkerArray",
    "PoseWithCovariance": "geometry_msgs/msg/PoseWithCovarianceStamped",
    "Odometry": "nav_msgs/msg/Odometry",
    "Image": "sensor_msgs/msg/Image",
}
# What the 3D panel of Foxglove draws, of the types that are published here.
DRAWN = {
    "nav_msgs/msg/Path",
    "visualization_msgs/msg/MarkerArray",
    "geometry_msgs/msg/PoseWithCovarianceStamped",
    "sensor_msgs/msg/CameraInfo",
    "sensor_msgs/msg/Image",
}


# --- RViz


def displays() -> list[dict[str, Any]]:
    return list(yaml.safe_load(RVIZ.read_text())["Visualization Manager"]["Displays"])


def test_rviz_shows_what_is_published_as_what_it_is():
    shown = [display for display in displays() if "Topic" in display]
    assert len(shown) >= 8
    for display in shown:
        topic, kind = display["Topic"]["Value"], display["Class"].removeprefix("rviz_default_plugins/")
        assert topic in PUBLISHED and TOPICS[topic].types == (RVIZ_TYPES[kind],), display["Name"]


def test_rviz_shows_nothing_twice():
    topics = [display["Topic"]["Value"] for display in displays() if "Topic" in display]
    names = [display["Name"] for display in displays()]
    assert len(set(topics)) == len(topics) and len(set(names)) == len(names)


def test_what_an_operator_says_in_rviz_is_heard():
    tools = yaml.safe_load(RVIZ.read_text())["Visualization Manager"]["Tools"]
    (said,) = [tool["Topic"]["Value"] for tool in tools if "Topic" in tool]
    assert said in HEARD


# --- Foxglove


@pytest.fixture(scope="module")
def layout() -> dict[str, Any]:
    return dict(json.loads(LAYOUT.read_text(encoding="utf-8")))


def panels(layout: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    return {name: panel for name, panel in layout["configById"].items() if name.startswith(f"{kind}!")}


def placed(part: Any) -> Iterator[str]:
    """Panels of the arrangement."""
    if isinstance(part, str):
        yield part
        return
    assert set(part) == {"direction", "first", "second", "splitPercentage"}
    assert part["direction"] in ("row", "column") and 0 < part["splitPercentage"] < 100
    yield from placed(part["first"])
    yield from placed(part["second"])


def test_each_panel_has_its_place(layout):
    assert sorted(placed(layout["layout"])) == sorted(layout["configById"])
    assert {name.split("!")[0] for name in layout["configById"]} == {
        "3D",
        "Image",
        "RawMessages",
        "DiagnosticSummary",
        "Plot",
        "CallService",
    }


def test_the_3d_panel_shows_what_it_can_draw(layout):
    (panel,) = panels(layout, "3D").values()
    for topic in panel["topics"]:
        assert topic.removeprefix("/") in PUBLISHED and set(TOPICS[topic.removeprefix("/")].types) <= DRAWN, topic
    assert panel["followTf"] == "base_link"
    said = panel["publish"]["poseEstimateTopic"].removeprefix("/")
    assert said in HEARD and TOPICS[said].types == ("geometry_msgs/msg/PoseWithCovarianceStamped",)


@pytest.mark.parametrize(
    ("kind", "field", "type_"),
    [
        ("Image", ("imageMode", "imageTopic"), "sensor_msgs/msg/Image"),
        ("RawMessages", ("topicPath",), "diagnostic_msgs/msg/DiagnosticStatus"),
        ("DiagnosticSummary", ("topicToRender",), "diagnostic_msgs/msg/DiagnosticArray"),
    ],
)
def test_the_panels_show_what_is_published_as_what_it_is(layout, kind, field, type_):
    for name, panel in panels(layout, kind).items():
        value: Any = panel
        for key in field:
            value = value[key]
        topic = value if value in TOPICS else value.removeprefix("/")
        assert topic in PUBLISHED and TOPICS[topic].types == (type_,), name


def test_images_have_their_calibration(layout):
    for panel in panels(layout, "Image").values():
        if "calibrationTopic" in panel["imageMode"]:
            topic = panel["imageMode"]["calibrationTopic"].removeprefix("/")
            assert topic in PUBLISHED and TOPICS[topic].types == ("sensor_msgs/msg/CameraInfo",)


def field_type(message: str, path: str) -> str:
    """Type of a field of a message, ``twist.twist.linear.x`` or ``pose.covariance[0]``; KeyError when there is none."""
    package, _, name = message.split("/")
    kind = message
    for part in path.split("."):
        package, name = kind.split("/")[0], kind.split("/")[-1]
        fields = getattr(import_module(f"{package}.msg"), name).get_fields_and_field_types()
        bare, index = re.fullmatch(r"(\w+)(\[\d+\])?", part).groups()  # type: ignore[union-attr]
        kind = fields[bare]
        assert ("[" in kind) == (index is not None), f"{message}: {path}"
        kind = kind.split("[")[0]
    return kind


def test_the_plots_are_of_numbers_that_the_messages_have(layout):
    pytest.importorskip("rclpy")
    paths = [line["value"] for panel in panels(layout, "Plot").values() for line in panel["paths"]]
    assert len(paths) >= 4
    for path in paths:
        topic, _, field = path.removeprefix("/").partition(".")
        assert topic in PUBLISHED, path
        assert field_type(TOPICS[topic].types[0], field) == "double", path
    with pytest.raises(KeyError):
        field_type("nav_msgs/msg/Odometry", "twist.twist.linear.w")


def test_the_buttons_call_services_that_are_served(layout):
    for name, panel in panels(layout, "CallService").items():
        service = SERVICES[panel["serviceName"].removeprefix("/")]
        expected = {"data": False} if service.type == "std_srvs/srv/SetBool" else {}
        assert json.loads(panel["requestPayload"]) == expected, f"{name}: a button of a layout never makes the robot drive"
