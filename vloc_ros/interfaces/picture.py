"""The picture of the message flow as SVG: a lane for each node, a line for each kind of message. Drawn from the table."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, replace
from xml.sax.saxutils import escape

from vloc_ros.interfaces.description import NodeInterface
from vloc_ros.interfaces.table import NODES, TOPICS

_CAMERA = tuple(name for name, topic in TOPICS.items() if topic.group == "camera" and name != "depth/camera_info")
_DRONE = ("image", "image/compressed", "camera_info", "range", "pressure", "imu")
_SHOWN = (
    *("pose", "path", "state", "odometry", "matches/image", "/tf", "/diagnostics", "path_follower/state", "ground_truth/odometry"),
    *("keyframes", "pose_graph/path", "pose_graph/markers", "pose_graph/heartbeat", "depth/camera_info"),
    *("fix", "footprint", "aerial/pose", "aerial/origin"),
)
OUTSIDE = {
    node.name: node
    for node in (
        NodeInterface("camera", "its driver", publishes=_CAMERA),
        NodeInterface("robot", "its base", publishes=("odom",), subscribes=("cmd_vel",)),
        NodeInterface("drone", "its autopilot", publishes=_DRONE, subscribes=("fix",)),
        NodeInterface("you", "RViz, Foxglove, scripts", publishes=("initialpose", "simulator/kidnap"), subscribes=_SHOWN),
    )
}
"""Who else takes part."""
LANES = (
    *("camera", "player", "simulator", "localization", "path_follower", "robot"),
    *("place_recognition", "pose_graph", "calibration", "drone", "aerial", "you"),
)
_COLOURS = {
    "camera": "#7a4f9a",
    "odometry and truth": "#6b6b6b",
    "localisation": "#1f6fb2",
    "driving": "#c0392b",
    "loop closures": "#2b8a3e",
    "aerial": "#0f8b8d",
    "all nodes": "#8a6d1a",
}
_LABEL_PX, _LANE_PX, _HEAD_PX, _ROW_PX, _LINE_PX, _MARGIN_PX = 276, 122, 84, 22, 15, 16
_LABEL_LETTERS = 40
_FONT = "font-family='DejaVu Sans, Verdana, sans-serif'"


@dataclass(frozen=True)
class Row:
    """Topics that the same nodes publish and hear, and some of those only with certain settings."""

    group: str
    publishers: tuple[str, ...]
    subscribers: tuple[str, ...]
    at_times: tuple[str, ...]
    topics: tuple[str, ...] = ()

    @property
    def label(self) -> list[str]:
        """The names in lines."""
        return textwrap.wrap(", ".join(self.topics), _LABEL_LETTERS, break_long_words=False, break_on_hyphens=False)

    @property
    def height(self) -> int:
        """In pixels."""
        return _ROW_PX + _LINE_PX * (len(self.label) - 1)


def rows() -> list[Row]:
    """What is drawn: the topics of the table, together where the same nodes use them, in the order of their groups."""
    together: dict[Row, list[str]] = {}
    for topic in TOPICS.values():
        publishers, subscribers = _lanes_with("publishes", topic.name), _lanes_with("subscribes", topic.name)
        at_times = tuple(lane for lane in (*publishers, *subscribers) if topic.name in _node(lane).only_with)
        together.setdefault(Row(topic.group, publishers, subscribers, at_times), []).append(topic.name)
    found = [replace(row, topics=tuple(names)) for row, names in together.items()]
    return sorted(found, key=lambda row: list(_COLOURS).index(row.group))


def _lanes_with(attribute: str, topic: str) -> tuple[str, ...]:
    return tuple(lane for lane in LANES if topic in getattr(_node(lane), attribute))


def _node(lane: str) -> NodeInterface:
    return OUTSIDE[lane] if lane in OUTSIDE else NODES[lane]


def message_flow_svg() -> str:
    """The picture as the text of an SVG file."""
    drawn, body = rows(), []
    top = y = _HEAD_PX + 2 * _MARGIN_PX
    group = ""
    for row in drawn:
        if row.group != group:
            group = row.group
            y += 8
            body.append(_text(_MARGIN_PX, y + 12, group, 12, _COLOURS[group], bold=True))
            y += 20
        body += _row(row, y)
        y += row.height
    width, height = _LABEL_PX + _LANE_PX * len(LANES) + _MARGIN_PX, y + 3 * _MARGIN_PX
    head = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' width='{width}' height='{height}'>",
        f"<rect width='{width}' height='{height}' fill='#ffffff'/>",
        *(part for lane in LANES for part in _lane(lane, top, y)),
    ]
    return "\n".join([*head, *body, *_legend(y + _MARGIN_PX + 12), "</svg>", ""])


def _x(lane: str) -> int:
    return _LABEL_PX + _LANE_PX * LANES.index(lane) + _LANE_PX // 2


def _lane(lane: str, top: int, bottom: int) -> Iterable[str]:
    node, x, half = _node(lane), _x(lane), _LANE_PX // 2 - 4
    fill, edge = ("#ffffff", "stroke-dasharray='4 3'") if lane in OUTSIDE else ("#e9eff6", "")
    yield f"<line x1='{x}' y1='{_HEAD_PX + _MARGIN_PX}' x2='{x}' y2='{bottom}' stroke='#c9ced6' stroke-width='1'/>"
    yield (
        f"<rect x='{x - half}' y='{_MARGIN_PX}' width='{2 * half}' height='{_HEAD_PX}' rx='6' fill='{fill}' "
        f"stroke='#5b6b7f' {edge}/>"
    )
    yield _text(x, _MARGIN_PX + 18, node.name, 10.5, "#1b2733", bold=True, anchor="middle")
    for number, line in enumerate(textwrap.wrap(node.doc, 18)):
        yield _text(x, _MARGIN_PX + 34 + 12 * number, line, 9, "#3d4b5a", anchor="middle")


def _row(row: Row, y: int) -> Iterable[str]:
    colour, middle = _COLOURS[row.group], y + row.height // 2
    for number, line in enumerate(row.label):
        yield _text(_MARGIN_PX + 8, y + 15 + _LINE_PX * number, line, 10.5, "#1b2733")
    ends = [_x(lane) for lane in (*row.publishers, *row.subscribers)]
    yield f"<line x1='{min(ends)}' y1='{middle}' x2='{max(ends)}' y2='{middle}' stroke='{colour}' stroke-width='1.6'/>"
    for lane in row.subscribers:
        fill = "#ffffff" if lane in row.at_times else colour
        for side in sorted({-1 if _x(other) < _x(lane) else 1 for other in row.publishers}):
            yield _arrow(_x(lane), middle, side, colour, fill)
    for lane in row.publishers:
        yield _dot(_x(lane), middle, colour, "#ffffff" if lane in row.at_times else colour)


def _dot(x: int, y: int, colour: str, fill: str) -> str:
    return f"<circle cx='{x}' cy='{y}' r='4.5' fill='{fill}' stroke='{colour}' stroke-width='1.5'/>"


def _arrow(x: int, y: int, side: int, colour: str, fill: str) -> str:
    """A triangle whose tip is on the lane; ``side``: from the left (-1) or from the right (1)."""
    base = x + 11 * side
    return f"<path d='M {x} {y} L {base} {y - 5.5} L {base} {y + 5.5} Z' fill='{fill}' stroke='{colour}' stroke-width='1.5'/>"


def _legend(y: int) -> Iterable[str]:
    grey, x = "#3d4b5a", _MARGIN_PX + 8
    yield _dot(x, y - 4, grey, grey)
    yield _text(x + 12, y, "publishes", 10.5, grey)
    yield _arrow(x + 100, y - 4, -1, grey, grey)
    yield _text(x + 110, y, "hears", 10.5, grey)
    yield _dot(x + 170, y - 4, grey, "#ffffff")
    yield _arrow(x + 195, y - 4, -1, grey, "#ffffff")
    yield _text(x + 206, y, "only with some settings; dashed boxes are not part of this package", 10.5, grey)


def _text(x: float, y: float, text: str, size: float, colour: str, *, bold: bool = False, anchor: str = "start") -> str:
    weight = " font-weight='bold'" if bold else ""
    return f"<text x='{x}' y='{y}' {_FONT} font-size='{size}'{weight} fill='{colour}' text-anchor='{anchor}'>{escape(text)}</text>"
