"""One frame's result as a JSON object and back, to the last bit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_ros.errors import MapError
from vloc_ros.geometry.estimate import RejectReason
from vloc_ros.mapping.keyframe import KeyframeId
from vloc_ros.mapping.state import FrameResult, MatchView, State

Array = NDArray[np.float64]
Record = dict[str, Any]


def encode_frame(result: FrameResult, match_limit: int = 0) -> Record:
    """JSON object of a result; at most ``match_limit`` of its matches, spread evenly (0: none)."""
    record: Record = {
        "stamp_ns": int(result.stamp_ns),
        "state": result.state.value,
        "reason": None if result.reason is None else result.reason.name,
        "fix": bool(result.fix),
        "keyframe": None if result.keyframe is None else str(result.keyframe),
        "inliers": int(result.inliers),
        "odometry_inliers": int(result.odometry_inliers),
        "map_T_base": _encode_pose(result.map_T_base),
        "map_covariance": _encode_array(result.map_covariance),
        "odom_T_base": _encode_pose(result.odom_T_base),
        "odom_covariance": _encode_array(result.odom_covariance),
        "timings_ms": {str(name): _encode_number(value) for name, value in result.timings_ms.items()},
    }
    if match_limit > 0 and result.match is not None:
        record["match"] = _encode_match(result.match, match_limit)
    return record


def decode_frame(record: Record) -> FrameResult:
    """Inverse of :func:`encode_frame`.

    Raises:
        ValueError, KeyError, TypeError: the object is not such a record.
    """
    keyframe = record["keyframe"]
    return FrameResult(
        stamp_ns=int(record["stamp_ns"]),
        state=State(record["state"]),
        reason=None if record["reason"] is None else RejectReason[record["reason"]],
        odom_T_base=_decode_pose(record["odom_T_base"]),
        odom_covariance=_decode_array(record["odom_covariance"], (6, 6)),
        map_T_base=_decode_pose(record["map_T_base"]),
        map_covariance=_decode_array(record["map_covariance"], (6, 6)),
        fix=bool(record["fix"]),
        keyframe=None if keyframe is None else _keyframe(keyframe),
        inliers=int(record["inliers"]),
        odometry_inliers=int(record["odometry_inliers"]),
        match=_decode_match(record["match"]) if "match" in record else None,
        timings_ms={str(name): float(value) for name, value in record["timings_ms"].items()},
    )


def thin(match: MatchView, limit: int) -> MatchView:
    """At most ``limit`` of the matches, spread evenly over their order."""
    count = len(match.live_pixels)
    if count <= limit:
        return match
    chosen = np.linspace(0, count - 1, limit).round().astype(np.int64)
    return MatchView(match.keyframe, match.live_pixels[chosen], match.map_pixels[chosen])


def _keyframe(text: str) -> KeyframeId:
    try:
        return KeyframeId.parse(text)
    except MapError as error:
        raise ValueError(str(error)) from error


def _encode_number(value: float) -> float | str:
    # JSON has no NaN and no infinity; float() reads these texts back.
    number = float(value)
    return number if math.isfinite(number) else repr(number)


def _encode_array(array: Array | None) -> list[float | str] | None:
    return None if array is None else [_encode_number(value) for value in np.asarray(array, dtype=np.float64).ravel().tolist()]


def _encode_pose(pose: Array | None) -> list[float | str] | None:
    return None if pose is None else _encode_array(pose[:3])


def _decode_array(values: list[float | str] | None, shape: tuple[int, ...]) -> Array | None:
    return None if values is None else np.array([float(value) for value in values], dtype=np.float64).reshape(shape)


def _decode_pose(values: list[float | str] | None) -> Array | None:
    top = _decode_array(values, (3, 4))
    return None if top is None else np.vstack([top, [0.0, 0.0, 0.0, 1.0]])


def _encode_match(match: MatchView, limit: int) -> Record:
    kept = thin(match, limit)
    return {
        "keyframe": str(kept.keyframe),
        "live_pixels": kept.live_pixels.astype(np.float64).tolist(),
        "map_pixels": kept.map_pixels.astype(np.float64).tolist(),
    }


def _decode_match(record: Record) -> MatchView:
    pixels = [np.array(record[name], dtype=np.float32).reshape(-1, 2) for name in ("live_pixels", "map_pixels")]
    return MatchView(_keyframe(record["keyframe"]), pixels[0], pixels[1])
