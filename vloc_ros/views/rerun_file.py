"""A map and a run as a recording of Rerun (rerun.io): written to a file, or shown in its window."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vloc_ros.data.frame import Image
from vloc_ros.errors import ConfigError
from vloc_ros.evaluation.output import writing
from vloc_ros.mapping.keyframe import Keyframe, KeyframeId
from vloc_ros.mapping.state import FrameResult, State
from vloc_ros.pose_graph.labels import Label
from vloc_ros.views.scene import Scene

ImageOf = Callable[[KeyframeId], Image | None]
Progress = Callable[[Iterable[Any], int], Iterator[Any]]
_GREEN, _RED, _YELLOW, _GREY, _BLUE = (40, 180, 60), (220, 50, 50), (240, 200, 30), (150, 150, 150), (60, 140, 255)
_COLOURS = {Label.INLIER: _GREEN, Label.OUTLIER: _RED, Label.UNDECIDED: _YELLOW}
_STATES = {State.LOCALISED: _GREEN, State.DEAD_RECKONING: _YELLOW}
_JPEG_QUALITY = 80
_AXES_M = 0.5


def require_rerun() -> None:
    """Make sure that Rerun can be imported, without importing it.

    Raises:
        ConfigError: it is not installed; the text says how to get it.
    """
    if importlib.util.find_spec("rerun") is None:
        raise ConfigError("vloc view needs rerun-sdk, which is not installed: pip install --no-deps -r requirements/view.txt")


def write_recording(scene: Scene, image_of: ImageOf | None, out: Path | None, progress: Progress | None = None) -> int:
    """Write a scene to a file, or show it in a window.

    Args:
        scene: what to show.
        image_of: image of a keyframe; None leaves images out.
        out: file ``*.rrd``; None: a window of Rerun, which goes on when this returns.
        progress: wraps what is gone through, with its length.

    Returns:
        How many images are in it.

    Raises:
        ConfigError: Rerun is not installed.
        OutputError: the file cannot be written.
        MapError: an image is damaged.
    """
    require_rerun()
    import rerun

    recording = rerun.RecordingStream("vloc_ros", recording_id=scene.name)
    if out is None:
        recording.spawn()
    else:
        with writing(out):
            out.open("ab").close()  # Rerun says in several lines, and later, that it cannot write
        recording.save(out)
    watched: Progress = progress or (lambda items, _total: iter(items))
    _send_layout(recording, scene, image_of is not None)
    _send_map(recording, scene)
    keyframes = [keyframe for route in scene.routes for keyframe in route.keyframes]
    images = _send_keyframes(recording, watched(keyframes, len(keyframes)), image_of)
    if scene.run is not None:
        images += _send_run(recording, watched(scene.run.frames, len(scene.run.frames)), image_of)
    recording.flush()
    recording.disconnect()
    return images


def _send_layout(recording: Any, scene: Scene, images: bool) -> None:
    """Map on the left; images, curves and texts on the right."""
    from rerun import blueprint as views

    right: list[Any] = []
    if images:
        right.append(views.Spatial2DView(name="Keyframe", origin="image"))
    if scene.run is not None:
        right.append(views.TimeSeriesView(name="Inliers", origin="inliers"))
        right.append(views.TimeSeriesView(name="Uncertainty [m]", origin="uncertainty"))
        right.append(views.TextLogView(name="State", origin="state"))
    space = views.Spatial3DView(name=scene.name, origin="map")
    whole = views.Horizontal(space, views.Vertical(*right), column_shares=[3, 2]) if right else space
    recording.send_blueprint(views.Blueprint(whole))


def _send_map(recording: Any, scene: Scene) -> None:
    import rerun

    recording.log("map", rerun.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
    for route in scene.routes:
        names = [str(keyframe.id) for keyframe in route.keyframes]
        recording.log(f"map/{route.name}/route", rerun.LineStrips3D([route.positions], colors=[_GREY]), static=True)
        points = rerun.Points3D(route.positions, colors=[_BLUE], radii=[0.05], labels=names, show_labels=False)
        recording.log(f"map/{route.name}/keyframes", points, static=True)
    for lines in scene.closures:
        strips = rerun.LineStrips3D(lines.ends, colors=[_COLOURS[lines.label]])
        recording.log(f"map/closures/{lines.label.value}", strips, static=True)


def _send_keyframes(recording: Any, keyframes: Iterable[Keyframe], image_of: ImageOf | None) -> int:
    """One step of the time line ``keyframe`` for each; its number counts through all sessions."""
    import rerun

    shown = 0
    for number, keyframe in enumerate(keyframes):
        recording.set_time("keyframe", sequence=number)
        recording.log("map/here", _transform(keyframe.map_T_base), rerun.TransformAxes3D(_AXES_M))
        shown += _send_image(recording, keyframe.id, image_of)
    recording.reset_time()
    return shown


def _send_run(recording: Any, frames: Iterable[FrameResult], image_of: ImageOf | None) -> int:
    """One step of the time line ``time`` for each frame; the image is that of the keyframe it was localised against."""
    import rerun

    shown, last_keyframe, last_state = 0, None, ""
    believed: list[FrameResult] = []
    for frame in frames:
        recording.set_time("time", timestamp=np.datetime64(frame.stamp_ns, "ns"))
        recording.log("inliers/map", rerun.Scalars(frame.inliers))
        recording.log("inliers/odometry", rerun.Scalars(frame.odometry_inliers))
        if frame.map_T_base is not None:
            believed.append(frame)
            recording.log("map/robot", _transform(frame.map_T_base), rerun.TransformAxes3D(_AXES_M))
        if frame.map_covariance is not None:
            recording.log("uncertainty/position", rerun.Scalars(float(np.sqrt(np.trace(frame.map_covariance[:3, :3])))))
        state = frame.state.value if frame.reason is None else f"{frame.state.value}: {frame.reason.value}"
        if state != last_state:
            level = rerun.TextLogLevel.INFO if frame.state is State.LOCALISED else rerun.TextLogLevel.WARN
            recording.log("state", rerun.TextLog(state, level=level))
        if frame.fix and frame.keyframe is not None and frame.keyframe != last_keyframe:
            last_keyframe = frame.keyframe
            shown += _send_image(recording, frame.keyframe, image_of)
        last_state = state
    recording.reset_time()
    positions = np.array([frame.map_T_base[:3, 3] for frame in believed if frame.map_T_base is not None]).reshape(-1, 3)
    colours = [_STATES.get(frame.state, _RED) for frame in believed]
    recording.log("map/run", rerun.Points3D(positions, colors=colours, radii=[0.04]), static=True)
    return shown


def _send_image(recording: Any, id: KeyframeId, image_of: ImageOf | None) -> int:
    import rerun

    image = None if image_of is None else image_of(id)
    if image is None:
        return 0
    recording.log("image", rerun.Image(image).compress(jpeg_quality=_JPEG_QUALITY))
    return 1


def _transform(map_T_base: Any) -> Any:
    import rerun

    return rerun.Transform3D(translation=map_T_base[:3, 3], mat3x3=map_T_base[:3, :3])
