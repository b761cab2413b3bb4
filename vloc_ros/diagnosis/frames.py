"""Where the camera sits on the robot: what tf says, and what the configuration says."""

from __future__ import annotations

import numpy as np

from vloc_ros.diagnosis.facts import Array, TfFacts
from vloc_ros.diagnosis.finding import Check, Finding, fine, warning
from vloc_ros.geometry import se3

_APART_M, _APART_RAD = 0.02, np.deg2rad(2.0)


def check_tf(tf: TfFacts) -> Finding | None:
    """Whether tf knows the way from the robot to the camera, and agrees with the configuration; None when that cannot be known."""
    if not tf.camera:
        return None
    if tf.transforms is None:
        return None if tf.publishers else _missing(tf, "nobody publishes /tf or /tf_static")
    found = chain(tf.transforms, tf.base, tf.camera)
    if found is None:
        known = sorted({frame for pair in tf.transforms for frame in pair})
        return _missing(tf, f"tf knows {', '.join(known[:8])}" if known else "nothing has come on /tf and /tf_static")
    if tf.mount is None:
        return _default_mount(tf, found)
    metres, radians = _apart(found, tf.mount)
    if metres > _APART_M or radians > _APART_RAD:
        return warning(
            Check.TF,
            f"tf puts {tf.camera} {metres:.3f} m and {np.rad2deg(radians):.1f} deg away from where base_T_camera puts it "
            f"on {tf.base}",
            "correct one of the two",
        )
    return fine(Check.TF, f"tf and base_T_camera agree where {tf.camera} is on {tf.base}")


def chain(transforms: dict[tuple[str, str], Array], base: str, frame: str) -> Array | None:
    """(4, 4) ``base_T_frame`` by any way through a graph of transforms; None when there is none."""
    edges: dict[str, list[tuple[str, Array]]] = {}
    for (parent, child), parent_T_child in transforms.items():
        edges.setdefault(parent, []).append((child, parent_T_child))
        edges.setdefault(child, []).append((parent, se3.inverse(parent_T_child)))
    known, waiting = {base: np.eye(4)}, [base]
    while waiting:
        at = waiting.pop()
        for other, at_T_other in edges.get(at, []):
            if other not in known:
                known[other] = known[at] @ at_T_other
                waiting.append(other)
    return known.get(frame) if base in edges or base == frame else None


def _missing(tf: TfFacts, why: str) -> Finding:
    mount = "base_T_camera is at its default" if tf.mount is None else "only base_T_camera says where the camera is"
    return warning(
        Check.TF,
        f"tf has no transform from {tf.base} to {tf.camera}: {why}, and {mount}",
        "publish it (robot_state_publisher or static_transform_publisher)"
        + ("" if tf.mount is not None else ", or set base_T_camera"),
    )


def _default_mount(tf: TfFacts, base_T_camera: Array) -> Finding:
    metres, radians = _apart(base_T_camera, se3.BASE_T_OPTICAL)
    if metres <= _APART_M and radians <= _APART_RAD:
        return fine(Check.TF, f"tf puts {tf.camera} at the origin of {tf.base}, as base_T_camera does by default")
    numbers = ", ".join(f"{value:.4g}" for value in (*base_T_camera[:3, 3], *se3.quaternion(base_T_camera)))
    return warning(
        Check.TF,
        f"tf puts {tf.camera} {metres:.3f} m and {np.rad2deg(radians):.1f} deg away from the default of base_T_camera, "
        "which is used",
        f"set base_T_camera to [{numbers}]",
    )


def _apart(a: Array, b: Array) -> tuple[float, float]:
    """Distance [m] and angle [rad] between two poses."""
    twist = se3.log(se3.inverse(a) @ b)
    return float(np.linalg.norm(a[:3, 3] - b[:3, 3])), float(np.linalg.norm(twist[3:]))
