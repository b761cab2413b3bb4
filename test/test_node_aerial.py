"""The node aerial as a process of its own: photos of a known place over real topics."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import ros_samples as samples
from aerial_samples import ORIGIN
from diagnostic_msgs.msg import DiagnosticArray
from flight_samples import FRAME, HEADING_DEG, HEIGHT_M, area_map, barometer, imu, info, laser, view
from geometry_msgs.msg import PoseWithCovarianceStamped
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from sensor_msgs.msg import CompressedImage, FluidPressure, Image, Imu, NavSatFix, NavSatStatus, Range
from std_srvs.srv import Trigger
from visualization_msgs.msg import Marker

from vloc_ros.ros.conversions import header, stamp_to_ns
from vloc_ros.ros.images import byte_array, image_to_ros

FIRST_NS = 1_000_000_000_000


@pytest.fixture(scope="module")
def area(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return area_map(tmp_path_factory.mktemp("area") / "area.vloc")


class Drone:
    """Its topics."""

    def __init__(self, probe: samples.Probe, node: samples.NodeProcess) -> None:
        self.probe, self.node, self.stamp_ns = probe, node, FIRST_NS
        self.fixes = probe.listen(NavSatFix, "fix")
        self.footprints = probe.listen(Marker, "footprint")
        self.poses = probe.listen(PoseWithCovarianceStamped, "aerial/pose")
        self.origins = probe.listen(NavSatFix, "aerial/origin", latched=True)
        self._diagnostics = probe.listen(DiagnosticArray, "/diagnostics")

    def calibrate(self, **changes: Any) -> None:
        message = info()
        for name, value in changes.items():
            setattr(message, name, value)
        self.probe.publish("camera_info", message)

    def feel(self, height: str = "range", height_m: float = HEIGHT_M, age_ns: int = 0, heading_deg: float = HEADING_DEG) -> None:
        """What the instruments say of the next image."""
        stamp_ns = self.stamp_ns + 1_000_000_000 - age_ns
        self.probe.publish("imu", imu(stamp_ns, heading_deg))
        if height == "range":
            self.probe.publish("range", laser(stamp_ns, height_m))
        elif height == "pressure":
            self.probe.publish("pressure", barometer(stamp_ns, height_m))

    def shoot(self, image: Any, topic: str = "image") -> NavSatFix:
        """Publish an image a second after the last; what the node says of it."""
        self.stamp_ns += 1_000_000_000
        kind = image_to_ros(image, header(self.stamp_ns, "camera")) if isinstance(image, np.ndarray) else image
        kind.header = header(self.stamp_ns, "camera")
        self.probe.publish(topic, kind)
        self.probe.wait(lambda: self.fixes and stamp_to_ns(self.fixes[-1].header.stamp) == self.stamp_ns, "the fix", 60.0)
        return self.fixes[-1]

    def turn(self, transition: int) -> None:
        """A transition of the node."""
        request = ChangeState.Request(transition=Transition(id=transition))
        assert self.probe.call("/aerial/change_state", request, ChangeState).success, self.node.output
        if transition == Transition.TRANSITION_DEACTIVATE:
            self.probe.wait(lambda: not any(self.probe.subscribers()), "the end of the subscriptions")
        elif transition == Transition.TRANSITION_ACTIVATE:
            self.probe.wait(lambda: all(self.probe.subscribers()), "subscribers after the pause")
            time.sleep(0.3)

    def said(self) -> dict[str, str]:
        """Diagnostics that are newer than this call."""
        count = len(self._diagnostics)
        self.probe.wait(lambda: len(self._diagnostics) > count + 1, "diagnostics")
        (status,) = self._diagnostics[-1].status
        return {pair.key: pair.value for pair in status.values} | {"message": status.message}


@contextmanager
def flying(area: Path, folder: Path, **parameters: Any) -> Iterator[Drone]:
    environment = samples.ros_environment()
    with (
        samples.probe(environment) as probe,
        samples.node("aerial", {"map": str(area), **parameters}, folder, environment) as node,
    ):
        node.wait_for_output("waiting for images", 180.0)
        yield Drone(probe, node)


def error_m(fix: NavSatFix, place: tuple[float, float]) -> float:
    return float(np.linalg.norm(FRAME.metres(np.array([[fix.latitude, fix.longitude]]))[0] - place))


def test_photos_become_positions_and_a_black_one_is_refused_with_its_reason(area: Path, tmp_path: Path) -> None:
    with flying(area, tmp_path) as drone:
        drone.calibrate()
        drone.feel()
        first = drone.shoot(view((20.0, -10.0)))
        assert first.status.status == NavSatStatus.STATUS_NO_FIX and math.isnan(first.latitude), "it awaits confirmation"
        drone.feel()
        fix = drone.shoot(view((28.0, -4.0)))
        assert fix.status.status == NavSatStatus.STATUS_FIX, drone.said()
        assert error_m(fix, (28.0, -4.0)) < 1.5
        assert fix.position_covariance_type == NavSatFix.COVARIANCE_TYPE_KNOWN and 0.0 < fix.position_covariance[0] < 25.0
        assert fix.header.frame_id == "camera"
        drone.probe.wait(lambda: drone.poses and drone.footprints[-1].action == Marker.ADD, "pose and footprint")
        pose = drone.poses[-1]
        assert pose.header.frame_id == drone.footprints[-1].header.frame_id == "map"
        position, q = pose.pose.pose.position, pose.pose.pose.orientation
        assert (position.x, position.y, position.z) == pytest.approx((28.0, -4.0, HEIGHT_M), abs=3.0)
        assert math.degrees(2.0 * math.atan2(q.z, q.w)) == pytest.approx(90.0 - HEADING_DEG, abs=3.0)
        corners = np.array([[p.x, p.y] for p in drone.footprints[-1].points[:4]])
        assert np.linalg.norm(corners.mean(axis=0) - (28.0, -4.0)) < 15.0
        assert (drone.origins[0].latitude, drone.origins[0].longitude) == pytest.approx((ORIGIN.lat, ORIGIN.lon), abs=1e-6)
        drone.feel()
        dark = drone.shoot(np.zeros((240, 320, 3), np.uint8))
        assert dark.status.status == NavSatStatus.STATUS_NO_FIX and math.isnan(dark.longitude)
        said = drone.said()
        assert (said["located"], said["refused_unconfirmed"], said["refused_blank_image"]) == ("1", "1", "1")
        assert said["last"].startswith("BLANK_IMAGE: the image is nearly uniform")
        assert said["message"] == "following" and "by range" in said["height"] and float(said["locate_ms_p50"]) > 0.0
        drone.probe.wait(lambda: drone.footprints[-1].action == Marker.DELETE, "the end of the footprint")
        answer = drone.probe.call("aerial/forget", Trigger.Request())
        assert answer.success and drone.said()["mode"] == "searching"
        drone.feel()
        assert drone.shoot(view((-30.0, 25.0))).status.status == NavSatStatus.STATUS_NO_FIX, "it must be confirmed again"
        assert drone.node.end() == 0, drone.node.output
    assert "1 images located, 3 refused" in drone.node.output


def test_compressed_images_and_height_by_pressure_on_the_whole_map_each_time(area: Path, tmp_path: Path) -> None:
    parameters = {
        "camera.transport": "compressed",
        "instruments.height": "pressure",
        "instruments.reference_messages": 3,
        "sequential": False,
    }
    with flying(area, tmp_path, **parameters) as drone:
        drone.calibrate()
        for _ in range(3):
            drone.feel("pressure", height_m=0.0)
        drone.stamp_ns += 5_000_000_000
        drone.feel("pressure")
        _, data = cv2.imencode(".jpg", cv2.cvtColor(view((-35.0, 15.0)), cv2.COLOR_RGB2BGR))
        fix = drone.shoot(CompressedImage(format="jpeg", data=byte_array(data)), "image/compressed")
        assert fix.status.status == NavSatStatus.STATUS_FIX and error_m(fix, (-35.0, 15.0)) < 2.0, drone.said()
        said = drone.said()
        assert said["height"] == "60.0 m by pressure" and said["reference_pressure"].startswith("96")


def test_old_readings_are_not_used_and_bad_messages_are_told(area: Path, tmp_path: Path) -> None:
    with flying(area, tmp_path, sequential=False) as drone:
        drone.stamp_ns += 1_000_000_000
        drone.probe.publish("image", image_to_ros(view((0.0, 0.0)), header(drone.stamp_ns, "camera")))
        drone.probe.wait(lambda: drone.said()["without_camera_info"] == "1", "the image without camera_info")
        drone.calibrate(width=0)
        assert "0x240 pixels" in drone.said()["problem_bad_calibration"]
        drone.calibrate()
        drone.feel(age_ns=2_000_000_000, height_m=150.0, heading_deg=0.0)  # wrong, and too old to count
        fix = drone.shoot(view((10.0, 30.0)))
        said = drone.said()
        assert said["height"] == "unknown" and said["heading"] == "unknown"
        assert "no attitude within 0.5 s of the image; no height within" in said["problem_stale_instruments"]
        assert fix.status.status == NavSatStatus.STATUS_NO_FIX or error_m(fix, (10.0, 30.0)) < 15.0
        drone.probe.publish(
            "range", Range(header=header(drone.stamp_ns, "laser"), range=float("inf"), min_range=1.0, max_range=90.0)
        )
        drone.probe.publish("pressure", FluidPressure(header=header(drone.stamp_ns, "baro"), fluid_pressure=950.0))
        assert "hectopascal" in drone.said()["problem_bad_input"]
        drone.probe.publish("imu", Imu(header=header(drone.stamp_ns, "base")))
        small = image_to_ros(view((0.0, 0.0))[:100], header(drone.stamp_ns, "camera"))
        drone.probe.publish("image", small)
        drone.probe.wait(lambda: drone.said()["damaged"] == "1", "the image of another size")
        drone.probe.publish(
            "image", Image(header=header(drone.stamp_ns, "c"), width=320, height=240, encoding="nonsense", step=320)
        )
        drone.probe.wait(lambda: drone.said()["damaged"] == "2", "the image of no encoding")
        drone.feel()
        fix = drone.shoot(view((10.0, 30.0)))
        assert error_m(fix, (10.0, 30.0)) < 1.5, "it goes on"
        assert drone.node.end() == 0, drone.node.output


def test_a_pause_shows_no_old_place_and_forgets_no_reference_and_silence_is_told(area: Path, tmp_path: Path) -> None:
    parameters = {"instruments.height": "pressure", "instruments.reference_messages": 3, "tracker.lost_after": 3.0}
    with flying(area, tmp_path, sequential=False, **parameters) as drone:
        drone.calibrate()
        drone.probe.wait(lambda: drone.feel("pressure", 0.0) or "reference_pressure" in drone.said(), "the reference pressure")
        drone.stamp_ns += 5_000_000_000
        drone.feel("pressure")
        assert drone.shoot(view((10.0, 30.0))).status.status == NavSatStatus.STATUS_FIX, drone.said()
        drone.probe.wait(lambda: drone.footprints and drone.footprints[-1].lifetime.sec == 3, "the footprint")
        drone.turn(Transition.TRANSITION_DEACTIVATE)
        drone.probe.wait(lambda: drone.footprints[-1].action == Marker.DELETE, "the end of the footprint")
        drone.turn(Transition.TRANSITION_ACTIVATE)
        drone.calibrate()
        drone.feel("pressure")
        fix = drone.shoot(view((20.0, -10.0)))
        assert fix.status.status == NavSatStatus.STATUS_FIX and error_m(fix, (20.0, -10.0)) < 2.0, drone.said()
        assert drone.said()["height"] == "60.0 m by pressure"
        drone.probe.wait(lambda: "no images" in drone.said()["message"], "the silence of the camera")
        assert drone.said()["problem_no_images"] == "no image has come for more than 3 s"
        drone.feel("pressure")
        drone.shoot(np.zeros((240, 320, 3), np.uint8))
        drone.probe.wait(lambda: "no position" in drone.said()["message"], "that it does not know where it is")
        assert "of the newest image: the image is nearly uniform" in drone.said()["problem_no_position"]
        for transition in ("DEACTIVATE", "CLEANUP", "CONFIGURE", "ACTIVATE"):
            drone.turn(getattr(Transition, f"TRANSITION_{transition}"))
        said = drone.said()
        assert "reference_pressure" not in said and said["located"] == "0" and "problem_no_position" not in said, "all is new"
        assert drone.node.end() == 0, drone.node.output
    assert "2 images located, 1 refused" in drone.node.output


def test_a_camera_that_is_mounted_backwards_is_told_until_it_was_located(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    with flying(area_map(tmp_path / "area.vloc", "superpoint"), tmp_path, sequential=False) as drone:
        drone.calibrate()
        drone.feel(heading_deg=HEADING_DEG + 180.0)
        assert drone.shoot(view((10.0, 30.0))).status.status == NavSatStatus.STATUS_NO_FIX
        assert drone.said()["last"].startswith("WRONG_HEADING: the homography says another heading")
        drone.feel()
        fix = drone.shoot(view((10.0, 30.0)))
        assert fix.status.status == NavSatStatus.STATUS_FIX and error_m(fix, (10.0, 30.0)) < 2.0, drone.said()
        drone.feel(heading_deg=HEADING_DEG + 180.0)
        assert drone.shoot(view((10.0, 30.0))).status.status == NavSatStatus.STATUS_NO_FIX
        assert drone.said()["refused_wrong_heading"] == "1", "no time is lost later on"


def test_without_a_map_it_says_so(area: Path, tmp_path: Path) -> None:
    environment = samples.ros_environment()
    taught = samples.teach_corridor(tmp_path / "site.vloc", samples.walk(2, step=0.3))
    for parameters, text in (
        ({}, "no map is named"),
        ({"map": str(tmp_path / "absent.vloc")}, "there is no map at"),
        ({"map": str(taught)}, "map of a taught route"),
        ({"map": str(area), "instruments.reference_pressure": 1013.25}, "is it in hectopascal"),
        ({"map": str(area), "features": "orb"}, "built with other features"),
        ({"map": str(area), "descriptor": "hog"}, "another global descriptor"),
    ):
        with samples.node("aerial", parameters, tmp_path, environment) as node:
            assert node.wait(60.0) != 0
        assert text in node.output and "Traceback" not in node.output
