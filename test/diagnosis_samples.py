"""Facts of a camera in good order, for tests that spoil one of them; and images with the dots of an emitter."""

from __future__ import annotations

from typing import Any

import numpy as np

from vloc_ros.diagnosis import (
    CameraFacts,
    CameraInfoFacts,
    Check,
    ClockFacts,
    Finding,
    Publisher,
    Qos,
    StreamFacts,
    TopicFacts,
)

S = 1_000_000_000
NOW = 1_760_000_000 * S
IMAGE, INFO = "sensor_msgs/msg/Image", "sensor_msgs/msg/CameraInfo"
NAMES = ("left", "right")


def topic(name: str, kind: str = IMAGE, **changes: Any) -> TopicFacts:
    usual = {"publishers": (Publisher("/camera", Qos(True), kind),), "heard": 30}
    return TopicFacts(name, kind, Qos(True), **(usual | changes))


def info(baseline: float = 0.0, **changes: Any) -> CameraInfoFacts:
    K = np.array([[200.0, 0.0, 159.5], [0.0, 200.0, 119.5], [0.0, 0.0, 1.0]])
    P = np.hstack([K, [[-200.0 * baseline], [0.0], [0.0]]])
    usual = {"width": 320, "height": 240, "K": K, "D": np.zeros(5), "P": P}
    return CameraInfoFacts(**(usual | changes))


def stream(name: str = "/left/image_rect", start_ns: int = NOW, step_s: float = 0.1, count: int = 20, lag_s: float = 0.03) -> Any:
    stamps = tuple(start_ns + round(index * step_s * S) for index in range(count))
    return StreamFacts(name, stamps, (lag_s,) * count, (320, 240), "camera")


def camera(**changes: Any) -> CameraFacts:
    usual = {
        "names": NAMES,
        "images": (topic("/left/image_rect"), topic("/right/image_rect")),
        "infos": (topic("/left/camera_info", INFO), topic("/right/camera_info", INFO)),
        "calibrations": (info(), info(0.2)),
        "streams": (stream("/left/image_rect"), stream("/right/image_rect")),
        "slop_s": 0.01,
        "paired": True,
        "baseline": 0.0,
        "clock": ClockFacts(False, NOW, 0),
    }
    return CameraFacts(**(usual | changes))


def of(findings: list[Finding], check: Check) -> list[Finding]:
    return [finding for finding in findings if finding.check is check]


def with_dots(image: np.ndarray, per_square: float = 60.0, gain: float = 50.0, seed: int = 0) -> np.ndarray:
    """Bright dots of a projector on a grey image, so many per 100x100 px; a D435 shows about a hundred at 848x480."""
    rng = np.random.default_rng(seed)
    lit = image.astype(np.float32)
    height, width = image.shape
    v, u = np.mgrid[-3:4, -3:4]
    for _ in range(int(per_square * image.size / 1e4)):
        y, x = rng.uniform(3, height - 4), rng.uniform(3, width - 4)
        i, j = int(y), int(x)
        spot = np.exp(-((v - y + i) ** 2 + (u - x + j) ** 2) / (2 * 0.9**2))
        lit[i - 3 : i + 4, j - 3 : j + 4] += gain * rng.uniform(0.5, 1.2) * spot
    return lit.clip(0, 255).astype(np.uint8)
