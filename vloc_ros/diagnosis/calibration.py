"""From camera_info messages to a camera, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vloc_ros.data.calibration import VIRTUAL_BASELINE
from vloc_ros.diagnosis.facts import Array, CameraInfoFacts, StreamFacts, TopicFacts
from vloc_ros.diagnosis.finding import Check, Finding, error, fine, warning
from vloc_ros.errors import CalibrationError
from vloc_ros.geometry.camera import StereoCamera


class BaselineError(CalibrationError):
    """Two camera_info messages describe one camera, or two that stand the wrong way round."""


def stereo_camera(left: CameraInfoFacts, right: CameraInfoFacts, baseline: float = 0.0) -> StereoCamera:
    """The rectified camera that a pair of messages describes.

    Args:
        left: of the left (or first infrared) camera.
        right: of the right camera.
        baseline: overrides the one in the messages when positive [m].

    Raises:
        CalibrationError: a message is empty or inconsistent, or the two do not describe one rectified pair.
    """
    left_P, right_P = projection("left", left), projection("right", right)
    if (left.width, left.height) != (right.width, right.height):
        raise CalibrationError(
            f"left camera_info is of {left.width}x{left.height} images but right camera_info of {right.width}x{right.height}; "
            "both must be of one rectified pair"
        )
    if baseline > 0.0:
        right_P = right_P.copy()
        right_P[0, 3] = left_P[0, 3] - left_P[0, 0] * baseline
    between = left_P[0, 3] - right_P[0, 3]
    if between == 0.0:
        raise BaselineError(
            "the baseline is zero: P[3] is the same in left and right camera_info; "
            "calibrate the two cameras as a stereo pair, or set camera.baseline"
        )
    if between / left_P[0, 0] < 0.0:
        raise BaselineError(
            f"the baseline has the wrong sign, {between / left_P[0, 0]:.4g} m: left and right are swapped; "
            "swap their topics (images and camera_info)"
        )
    return StereoCamera.from_projection_matrices(left_P, right_P, left.width, left.height)


def rgbd_camera(rgb: CameraInfoFacts, baseline: float) -> StereoCamera:
    """The virtual stereo camera of an RGB-D camera with registered depth.

    Args:
        rgb: of the colour camera.
        baseline: of the virtual right camera [m]; 0 for the one that all readers of RGB-D recordings use.

    Raises:
        CalibrationError: the message is empty or inconsistent.
    """
    P = projection("rgb", rgb)
    return StereoCamera(
        rgb.width, rgb.height, float(P[0, 0]), float(P[1, 1]), float(P[0, 2]), float(P[1, 2]), baseline or VIRTUAL_BASELINE
    )


def camera_of(calibrations: Sequence[CameraInfoFacts], baseline: float) -> StereoCamera:
    """The camera of one message (RGB-D) or two (stereo).

    Raises:
        CalibrationError: as :func:`stereo_camera` and :func:`rgbd_camera`.
    """
    if len(calibrations) == 1:
        return rgbd_camera(calibrations[0], baseline)
    return stereo_camera(calibrations[0], calibrations[1], baseline)


def projection(name: str, info: CameraInfoFacts) -> Array:
    """(3, 4) projection matrix of a message.

    Raises:
        CalibrationError: it is empty, not finite, or of a part of the image.
    """
    P = info.P
    if info.width < 1 or info.height < 1:
        raise CalibrationError(f"{name} camera_info is of {info.width}x{info.height} images; an empty one: calibrate the camera")
    if not np.all(np.isfinite(P)):
        raise CalibrationError(
            f"the projection matrix of {name} camera_info holds values that are not numbers; calibrate the camera"
        )
    if P[0, 0] == 0.0:
        also = " and K is zero" if not np.any(info.K) else ""
        raise CalibrationError(f"the projection matrix of {name} camera_info is empty (fx = 0){also}; calibrate the camera")
    if max(info.binning) > 1:
        raise CalibrationError(
            f"{name} camera_info asks for {info.binning[0]}x{info.binning[1]} binning, which is not supported; "
            "publish images and camera_info of one size"
        )
    x, y, *size = info.roi
    if tuple(size) not in ((0, 0), (info.width, info.height)) or x or y:
        raise CalibrationError(f"{name} camera_info has a region of interest, which is not supported; publish whole images")
    return P


def check_calibration(calibrations: Sequence[CameraInfoFacts], baseline: float) -> list[Finding]:
    """Whether camera_info describes a camera, with a baseline that can be."""
    try:
        camera = camera_of(calibrations, baseline)
    except BaselineError as problem:
        return [fine(Check.CALIBRATION, "camera_info is filled in"), _refusal(Check.BASELINE, problem)]
    except CalibrationError as problem:
        return [_refusal(Check.CALIBRATION, problem)]
    size = f"{camera.width}x{camera.height}, fx {camera.fx:.1f} px"
    found = [fine(Check.CALIBRATION, f"camera_info is of {size}")]
    if len(calibrations) == 2:
        found.append(fine(Check.BASELINE, f"the baseline is {camera.baseline:.4f} m"))
    return found


def _refusal(check: Check, problem: CalibrationError) -> Finding:
    sentence, _, remedy = str(problem).partition("; ")
    return error(check, sentence, remedy or "calibrate the camera")


def size_trouble(name: str, size: tuple[int, int], wanted: tuple[int, int]) -> str | None:
    """What is wrong with an image of another size than camera_info says, in one sentence; None when it is of that size."""
    if size == wanted:
        return None
    return (
        f"the {name} image is {size[0]}x{size[1]} but camera_info describes {wanted[0]}x{wanted[1]} images; "
        "use the camera_info of the same (rectified, resized) images"
    )


def check_sizes(names: Sequence[str], streams: Sequence[StreamFacts], calibrations: Sequence[CameraInfoFacts]) -> Finding | None:
    """Whether the images are of the size that camera_info says; None when that is not known."""
    seen = [(name, stream.size) for name, stream in zip(names, streams, strict=True) if stream.size is not None]
    if not seen or not calibrations or min(calibrations[0].width, calibrations[0].height) < 1:
        return None
    wanted = (calibrations[0].width, calibrations[0].height)
    for name, size in seen:
        trouble = size_trouble(name, size, wanted)
        if trouble is not None:
            sentence, _, remedy = trouble.partition("; ")
            return error(Check.IMAGE_SIZE, sentence, remedy)
    return fine(Check.IMAGE_SIZE, f"the images are {wanted[0]}x{wanted[1]}, as camera_info says")


def check_distortion(topic: TopicFacts, name: str, info: CameraInfoFacts) -> Finding:
    """Whether a topic that is to be rectified holds raw images.

    The camera_info of a rectified image may well give distortion: ``image_proc`` repeats that of the raw image, and P holds for the
    rectified one. So the distortion counts only where the topic is not called rectified, or where P makes no difference to K.
    """
    distorted = bool(np.any(np.abs(info.D) > 1e-9))
    if not distorted:
        return fine(Check.DISTORTION, f"{name} camera_info gives no distortion")
    base = topic.name.removesuffix("/compressed").rsplit("/", 1)[-1]
    if "rect" in base:
        return fine(
            Check.DISTORTION, f"{name} camera_info gives the distortion of the raw image, and {topic.name} is rectified by its name"
        )
    return warning(
        Check.DISTORTION,
        f"{topic.name} seems not to be rectified: its name does not say so, and {name} camera_info gives distortion",
        "run image_proc or stereo_image_proc, and remap to its image_rect",
    )
