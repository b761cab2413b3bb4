"""Configuration: documentation, ranges, strict keys, YAML."""

from dataclasses import dataclass
from enum import Enum

import pytest
import yaml

from vloc_ros.config import dump_yaml, from_dict, keys, load_yaml, param, parse_assignments, replace, to_dict, to_flat_dict
from vloc_ros.errors import ConfigError
from vloc_ros.features import StereoMethod
from vloc_ros.settings import Settings


def test_every_key_is_documented():
    for key in keys(Settings()):
        assert key.doc, key.name
        if key.type in (int, float):
            assert key.min is not None and key.max is not None, f"{key.name} has no range"
            assert key.min <= key.value <= key.max, key.name


def test_yaml_round_trip_keeps_documentation(tmp_path):
    changed = replace(Settings(), {"stereo.method": "sgbm", "odometry.max_speed": 3, "features.max_features": 321})
    text = dump_yaml(changed)
    assert "# " in text and yaml.safe_load(text) == to_dict(changed)
    (tmp_path / "c.yaml").write_text(text)
    assert from_dict(Settings, load_yaml(tmp_path / "c.yaml")) == changed
    assert changed.stereo.method is StereoMethod.SGBM


def test_flat_values_are_plain_and_make_the_same_configuration_again():
    changed = replace(Settings(), {"stereo.method": "sgbm", "odometry.max_speed": 3})
    flat = to_flat_dict(changed)
    assert type(flat["stereo.method"]) is str and flat["stereo.method"] == "sgbm" and flat["odometry.max_speed"] == 3.0
    assert from_dict(Settings, flat) == changed
    assert to_flat_dict(changed, "a.") == {f"a.{name}": value for name, value in flat.items()}


def test_ros_parameter_files_are_understood(tmp_path):
    (tmp_path / "ros.yaml").write_text("/**:\n  ros__parameters:\n    odometry:\n      window_px: 33\n    features.name: orb\n")
    settings = from_dict(Settings, load_yaml(tmp_path / "ros.yaml"))
    assert settings.odometry.window_px == 33 and settings.features.name == "orb"


def test_an_unquoted_off_is_the_choice_of_that_name():
    """YAML 1.1, which ROS reads too, takes it for false: ``-p rectification:=off``."""

    class Correction(Enum):
        AUTO = "auto"
        OFF = "off"

    @dataclass(frozen=True)
    class Own:
        correction: Correction = param(Correction.AUTO, "how")

    assert from_dict(Own, yaml.safe_load("correction: off")).correction is Correction.OFF
    with pytest.raises(ConfigError, match="'correction' = True is not one of: auto, off"):
        from_dict(Own, {"correction": True})


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"odometry.windw_px": 3}, "unknown key 'odometry.windw_px'"),
        ({"odometry.window_px": -3}, "below its minimum"),
        ({"odometry.max_speed": 1e9}, "above its maximum"),
        ({"odometry.max_speed": "fast"}, "must be of type float"),
        ({"odometry.max_speed": float("nan")}, "not a number"),
        ({"odometry.window_px": 7.5}, "must be of type int"),
        ({"features.max_features": 10.5}, "must be of type int"),
        ({"features.max_features": True}, "must be of type int"),
        ({"stereo.method": "magic"}, "block, sgbm"),
        ({"odometry": 3}, "section"),
    ],
)
def test_wrong_values_name_the_key(values, says):
    with pytest.raises(ConfigError, match=says):
        from_dict(Settings, values)


@pytest.mark.parametrize("text", ["1e-1", "1E0", "+.5e1", "2.5e+0", "3.e0"])
def test_scientific_notation_is_a_number_of_float_keys_however_it_was_written(tmp_path, text):
    """Most of these YAML reads as text."""
    (tmp_path / "c.yaml").write_text(f"odometry:\n  max_speed: {text}\n")
    for values in (parse_assignments([f"odometry.max_speed={text}"]), load_yaml(tmp_path / "c.yaml")):
        assert from_dict(Settings, values).odometry.max_speed == float(text)


def test_what_is_text_stays_text():
    assert from_dict(Settings, parse_assignments(["features.name=1e3"])).features.name == "1e3"
    for assignment in ("odometry.max_speed='1'", "odometry.max_speed=1e", "odometry.window_px=1e1"):
        with pytest.raises(ConfigError, match="must be of type"):
            from_dict(Settings, parse_assignments([assignment]))


def test_assignments():
    assert parse_assignments(["a.b=3", "c=true", "d=x"]) == {"a.b": 3, "c": True, "d": "x"}
    with pytest.raises(ConfigError, match="key=value"):
        parse_assignments(["a.b"])


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "just text"])
def test_files_that_are_no_configuration(tmp_path, text):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"bad\.yaml"):
        load_yaml(tmp_path / "bad.yaml")


def test_missing_file(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        load_yaml(tmp_path / "none.yaml")
