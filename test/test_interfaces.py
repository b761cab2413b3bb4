"""The table of topics, and what is made from it: the files of the repository are in step with it, and the policy grants no more."""

from __future__ import annotations

import ast
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from test_house_rules import dotted

from vloc_ros.cli import main
from vloc_ros.config import keys
from vloc_ros.errors import ConfigError
from vloc_ros.interfaces import EVERY_NODE, NODES, SERVICES, TOPICS
from vloc_ros.interfaces.description import resolved
from vloc_ros.interfaces.files import GENERATED
from vloc_ros.interfaces.parameters import PARAMETERS, parameters_of, reference
from vloc_ros.interfaces.picture import LANES, OUTSIDE, message_flow_svg, rows
from vloc_ros.interfaces.policy import policy_xml

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("name", GENERATED)
def test_the_file_is_as_the_code_makes_it(name):
    assert (ROOT / name).read_text(encoding="utf-8") == GENERATED[name](), "run `make docs`"


def test_the_table_has_each_name_once_and_uses_each():
    used = {name for node in NODES.values() for name in (*node.publishes, *node.subscribes)}
    assert used == set(TOPICS)
    assert {name for node in NODES.values() for name in node.serves} == set(SERVICES)
    for node in NODES.values():
        assert len(set(node.publishes)) == len(node.publishes) and len(set(node.subscribes)) == len(node.subscribes)
        assert set(node.only_with) <= {*node.publishes, *node.subscribes}
        assert set(node.calls) <= set(SERVICES)
    assert set(NODES) == {path.stem for path in (ROOT / "vloc_ros" / "nodes").glob("[a-z]*.py")} == set(PARAMETERS)


def called_services() -> set[str]:
    """Names of the services that the nodes call, from their code: a client may live for a moment only."""
    found = set()
    for folder in ("ros", "nodes"):
        for path in (ROOT / "vloc_ros" / folder).glob("*.py"):
            for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(call, ast.Call) and dotted(call.func).endswith(".create_client"):
                    assert isinstance(call.args[1], ast.Constant), f"{path}: a client of a name that is not written there"
                    found.add(call.args[1].value)
    return found


def test_the_table_has_every_client():
    assert {name for node in NODES.values() for name in node.calls} == called_services() != set()


@pytest.mark.parametrize(
    ("name", "namespace", "expected"),
    [
        ("/tf", "/robot1", "/tf"),
        ("pose", "/", "/pose"),
        ("pose", "/robot1", "/robot1/pose"),
        ("~/state", "/robot1", "/robot1/driver/state"),
        ("~/state", "/", "/driver/state"),
    ],
)
def test_names_are_expanded_as_ros_does(name, namespace, expected):
    assert resolved(name, namespace, "driver") == expected


# --- the policy


def rights(xml: str) -> dict[str, dict[str, set[str]]]:
    """Full names by right, of each node."""
    found: dict[str, dict[str, set[str]]] = {}
    for profile in ElementTree.fromstring(xml).iter("profile"):
        node, namespace = profile.attrib["node"], profile.attrib["ns"]
        for group in profile:
            (right,) = group.attrib
            assert group.attrib[right] == "ALLOW"
            names = {resolved(item.text or "", namespace, node) for item in group}
            found.setdefault(node, {})[right] = names
    return found


def test_each_node_has_an_enclave_and_what_the_table_says():
    tree = ElementTree.fromstring(policy_xml())
    assert [enclave.attrib["path"] for enclave in tree.iter("enclave")] == [f"/vloc_ros/{name}" for name in NODES]
    granted = rights(policy_xml("/robot1"))
    for name, node in NODES.items():
        expected = {"publish": node.publishes, "subscribe": node.subscribes, "reply": node.serves, "request": node.calls}
        of_rclpy = {"publish": EVERY_NODE.publishes, "reply": EVERY_NODE.serves}
        for right, names in expected.items():
            full = {resolved(each, "/robot1", name) for each in (*names, *of_rclpy.get(right, ()))}
            assert granted[name].get(right, set()) == full


def test_only_the_follower_drives_and_only_it_and_localisation_are_told_where_the_robot_is():
    granted = rights(policy_xml())
    assert [name for name in granted if "/cmd_vel" in granted[name]["publish"]] == ["path_follower"]
    assert [name for name in granted if "/initialpose" in granted[name].get("subscribe", ())] == ["localization"]
    assert [name for name in granted if "/clock" in granted[name]["publish"]] == ["simulator", "player"]
    assert "/ground_truth/odometry" not in {name for node in granted.values() for name in node.get("subscribe", ())}


def test_no_wild_card():
    assert "*" not in policy_xml() and "DENY" not in policy_xml()


def test_remapped_topics_are_granted_by_their_new_names(capsys):
    remap = ["--remap", "left/image_rect:=/camera/infra1/image_rect_raw", "--remap", "odom:=wheels"]
    assert main(["policy", "localization", "--namespace", "robot1", *remap]) == 0
    granted = rights(capsys.readouterr().out)
    assert set(granted) == {"localization"}
    assert {"/camera/infra1/image_rect_raw", "/robot1/wheels"} < granted["localization"]["subscribe"]
    assert not {"/robot1/left/image_rect", "/robot1/odom"} & granted["localization"]["subscribe"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--remap", "lft:=/a"], "no node has a topic 'lft'"),
        (["--remap", "odom"], "not of the form TOPIC:=NAME"),
        (["--remap", "odom:=/*"], "is not a name of ROS"),
        (["--remap", "odom:=a b"], "is not a name of ROS"),
        (["--remap", "odom:=</topic>"], "is not a name of ROS"),
        (["--remap", "odom:=../x"], "is not a name of ROS"),
        (["--namespace", "robot*"], "is not a name of ROS"),
        (["driver"], "there is no node 'driver'"),
    ],
)
def test_what_would_grant_something_else_is_refused(arguments, sentence, capsys):
    assert main(["policy", *arguments]) == 1
    captured = capsys.readouterr()
    assert sentence in captured.err and captured.out == "" and len(captured.err.strip().splitlines()) == 1


def test_an_empty_name_is_refused():
    with pytest.raises(ConfigError, match="is not a name of ROS"):
        policy_xml(remappings={"odom": "/"})


# --- parameters


def test_the_reference_has_every_parameter_of_every_node():
    sections = reference().split("\n## ")[1:]
    assert [section.split("\n", 1)[0] for section in sections] == list(PARAMETERS)
    for section, name in zip(sections, PARAMETERS, strict=True):
        rows_of = [line.split(" | ") for line in section.splitlines() if line.startswith("| `")]
        expected = [key.name for key in parameters_of(name)]
        assert [row[0].strip("|` ") for row in rows_of][: len(expected)] == expected
        assert all(line.replace("\\|", "").count("|") == 7 for line in section.splitlines() if line.startswith("|"))


def test_every_parameter_is_described():
    undescribed = [key.name for configs in PARAMETERS.values() for config in configs for key in keys(config) if len(key.doc) < 5]
    assert undescribed == []


# --- the picture


def test_the_picture_shows_every_topic_and_every_node():
    svg = message_flow_svg()
    ElementTree.fromstring(svg)
    assert set(LANES) == {*NODES, *OUTSIDE}
    drawn = [topic for row in rows() for topic in row.topics]
    assert sorted(drawn) == sorted(TOPICS)
    for name in (*drawn, *LANES):
        assert name in svg
    for row in rows():
        assert row.publishers and row.subscribers, f"{row.topics}: nobody at one end"
        assert "".join(row.label).replace(" ", "") == "".join(f"{topic}," for topic in row.topics)[:-1]
