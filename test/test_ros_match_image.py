"""The picture of a match: made only while somebody looks, and not more often than asked for."""

from __future__ import annotations

import time

import numpy as np
import pytest
import ros_samples as samples
from sensor_msgs.msg import Image

from vloc_ros.localization import FrameResult, State
from vloc_ros.mapping import KeyframeId
from vloc_ros.mapping.state import MatchView
from vloc_ros.ros.images import image_from_ros
from vloc_ros.ros.node_settings import LocalizationNodeSettings
from vloc_ros.ros.outputs import Outputs

LIVE = np.full((48, 64), 100, np.uint8)
PIXELS = np.array([[10.0, 10.0], [40.0, 30.0]], dtype=np.float32)
KEYFRAME = KeyframeId(1, 7)
RESULT = FrameResult(
    5, State.LOCALISED, None, None, None, None, None, True, KEYFRAME, 2, 0, MatchView(KEYFRAME, PIXELS, PIXELS + np.float32(3.0))
)


@pytest.fixture
def probe():
    with samples.probe(samples.ros_environment()) as listener:
        yield listener


def draw(outputs: Outputs) -> None:
    outputs.matches(RESULT, LIVE, lambda id: np.full_like(LIVE, 50) if id == KEYFRAME else None, "camera")


def test_nobody_looks_and_nothing_is_drawn(probe):
    outputs = Outputs(probe.node, LocalizationNodeSettings(publish_tf=False, match_rate=0.0))
    assert not outputs.wants_matches
    received = probe.listen(Image, "matches/image")
    probe.wait(lambda: outputs.wants_matches, "the interest of a subscriber")
    draw(outputs)
    assert outputs.wants_matches, "0: a picture of every frame"
    probe.wait(lambda: received, "the picture")
    picture = image_from_ros(received[0])
    assert picture.shape == (48 + 18, 128, 3) and (picture[40, 5] == 100).all() and (picture[40, 69] == 50).all()
    assert len(np.unique(picture[:48].reshape(-1, 3), axis=0)) > 4, "the matches are drawn in colours"


def test_pictures_come_at_most_so_often(probe):
    outputs = Outputs(probe.node, LocalizationNodeSettings(publish_tf=False, match_rate=2.0))
    probe.listen(Image, "matches/image")
    probe.wait(lambda: outputs.wants_matches, "the interest of a subscriber")
    began = time.monotonic()
    draw(outputs)
    while not outputs.wants_matches:
        assert time.monotonic() - began < 5.0
        time.sleep(0.01)
    assert time.monotonic() - began >= 0.5
