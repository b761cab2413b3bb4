"""UTIAS Long-Term Localization and Mapping data set: many runs along one path, of which the first one taught it."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.calibration import FILE_NAME, Calibration, read_calibration
from vloc_ros.data.files import numbers, paired_images, parse_integer, read_rows, regular_stamps
from vloc_ros.data.frame import StereoFrame
from vloc_ros.data.loading import check_calibrated_size, stereo_frame
from vloc_ros.data.reader import DatasetReader, Trajectory, register
from vloc_ros.data.trajectory import increasing
from vloc_ros.errors import DataError
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.geometry.se3 import inverse, normalised

_log = logging.getLogger(__name__)

MULTISEASON = StereoCamera(512, 384, 388.425, 388.425, 253.502, 196.822, 0.239946)
IN_THE_DARK = StereoCamera(512, 384, 387.777, 387.777, 257.446, 197.718, 0.239965)
_T_sv = np.array(
    [
        [0.000796327, -1.0, 0.0, 0.119873],
        [-0.330472, -0.000263164, -0.943816, 1.49473],
        [0.943815, 0.000751586, -0.330472, 0.354804],
        [0.0, 0.0, 0.0, 1.0],
    ]
)
GRIZZLY_BASE_T_CAMERA = normalised(inverse(normalised(_T_sv)))
"""Pose of the Bumblebee's left camera on the Grizzly robot (x forward, y left, z up), pitched down by 19 degrees."""

_RUN = re.compile(r"run_(\d{6})")
_IMAGES = Path("images")
Vertex = tuple[int, int]


@register
class UtiasReader(DatasetReader):
    """One run: a folder ``run_NNNNNN``, or a path folder, of which the run with the lowest number (the teach run) is taken.

    A run holds ``images/left|right/NNNNNN.png`` named by vertex and ``timestamps_images.txt`` (else 10 Hz). Calibration: a
    ``calibration.yaml`` in the path folder, with its own ``base_T_camera`` if not the Grizzly's; without one, the published
    camera of the *in-the-dark* paths when a folder above the run is named so, else that of *multiseason*, the default.

    Truth is chained from the temporal transforms of the teach run (world: its first vertex); other runs hang on it by their
    spatial transforms. Both are of the vehicle frame. Vertices without a transform have no truth.
    """

    name = "utias"

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether it is a run folder with images, or holds one."""
        try:
            return _is_run(path) or (path.is_dir() and any(_is_run(child) for child in path.glob("run_*")))
        except OSError:
            return False

    def __init__(self, path: Path) -> None:
        self._run = _choose_run(Path(path))
        self._files = paired_images(self._run / _IMAGES / "left", self._run / _IMAGES / "right")
        self._vertices = [_vertex_number(left) for left, _ in self._files]
        calibration, source = self._read_calibration()
        self._camera = calibration.camera
        self._base_T_camera = GRIZZLY_BASE_T_CAMERA if calibration.base_T_camera is None else calibration.base_T_camera
        check_calibrated_size(self._files[0][0], self._camera, source)
        self._stamps = self._read_stamps()
        self._truth = self._read_truth()

    @property
    def run(self) -> int:
        """Number of the run."""
        return run_number(self._run)

    @property
    def vertices(self) -> list[int]:
        """Number of the vertex of each frame."""
        return list(self._vertices)

    @property
    def camera(self) -> StereoCamera:
        """The rectified camera."""
        return self._camera

    @property
    def base_T_camera(self) -> NDArray[np.float64]:
        """(4, 4) pose of the left camera on the vehicle."""
        return self._base_T_camera

    @property
    def stamps_ns(self) -> NDArray[np.int64]:
        """(N,) stamps of the vertices [ns]."""
        return self._stamps

    @property
    def ground_truth(self) -> Trajectory | None:
        """Poses of the left camera in the vehicle frame of the first teach vertex."""
        return self._truth

    def frame(self, index: int) -> StereoFrame:
        """Read one pair."""
        left, right = self._files[index]
        return stereo_frame(int(self._stamps[index]), left, right, self._camera)

    def _read_calibration(self) -> tuple[Calibration, Path]:
        for folder in (self._run.parent, self._run):
            if (folder / FILE_NAME).is_file():
                return read_calibration(folder / FILE_NAME), folder / FILE_NAME
        names = [re.sub(r"[-_ ]", "", folder.name.lower()) for folder in self._run.resolve().parents]
        chosen = next((name for name in names if "inthedark" in name or "multiseason" in name), "")
        if not chosen:
            _log.warning("%s: no folder is named multiseason or in-the-dark and there is no %s; taking the multiseason camera",
                         self._run, FILE_NAME)  # fmt: skip
        dark = "inthedark" in chosen and "multiseason" not in chosen
        return Calibration(IN_THE_DARK if dark else MULTISEASON), Path("the published UTIAS calibration")

    def _read_stamps(self) -> NDArray[np.int64]:
        path = self._run / "timestamps_images.txt"
        if not path.is_file():
            _log.info("%s is missing: the frames get stamps at 10 Hz", path)
            return regular_stamps(len(self._files))
        by_vertex = {}
        for line, fields in read_rows(path, ","):
            if len(fields) < 2:
                raise DataError(f"{path} line {line} must hold a vertex and a stamp; is the file cut off?")
            by_vertex[parse_integer(fields[0], path, line)] = parse_integer(fields[1], path, line)
        missing = [vertex for vertex in self._vertices if vertex not in by_vertex]
        if missing:
            raise DataError(f"{path} has no stamp for vertex {missing[0]} ({len(missing)} of {len(self._vertices)} lack one)")
        return np.array([by_vertex[vertex] for vertex in self._vertices], dtype=np.int64)

    def _read_truth(self) -> Trajectory | None:
        poses = _vertex_poses(self._run)
        known = [index for index, vertex in enumerate(self._vertices) if (self.run, vertex) in poses]
        if not known:
            _log.info("%s has no transforms to the teach run: no ground truth", self._run)
            return None
        world_T_camera = [poses[self.run, self._vertices[index]] @ self._base_T_camera for index in known]
        return increasing(self._stamps[known], world_T_camera)


def _is_run(path: Path) -> bool:
    return _RUN.fullmatch(path.resolve().name) is not None and all((path / _IMAGES / side).is_dir() for side in ("left", "right"))


def _choose_run(path: Path) -> Path:
    if _is_run(path):
        return path
    runs = run_folders(path)
    if not runs:
        raise DataError(f"{path} is no UTIAS run: neither it nor a folder run_NNNNNN in it holds images/left and images/right")
    if len(runs) > 1:
        _log.info("%s holds %d runs; reading %s", path, len(runs), runs[0].name)
    return runs[0]


def run_folders(path: Path) -> list[Path]:
    """The runs with images of a path, by number."""
    return sorted((child for child in path.glob("run_*") if _is_run(child)), key=run_number) if path.is_dir() else []


def run_number(run: Path) -> int:
    """Number of a run, of the name of its folder."""
    match = _RUN.fullmatch(run.resolve().name)
    assert match is not None
    return int(match[1])


def _vertex_number(image: Path) -> int:
    if not (image.stem.isascii() and image.stem.isdigit()):
        raise DataError(f"{image} is not named by the number of its vertex, like 000042.png")
    return int(image.stem)


def _vertex_poses(run: Path) -> dict[Vertex, NDArray[np.float64]]:
    """world_T_vehicle of every vertex of the teach run and of ``run``."""
    number = run_number(run)
    temporal = run / "transforms_temporal.txt"
    spatial = run / "transforms_spatial.txt"
    if not temporal.is_file():
        temporal = run.parent / "run_000000" / "transforms_temporal.txt"
    if not temporal.is_file():
        return {}
    poses: dict[Vertex, NDArray[np.float64]] = {}
    for this, following, next_T_this in read_transforms(temporal):
        if not poses:
            poses[this] = np.eye(4)
        if this not in poses:
            raise DataError(f"{temporal}: vertex {this} is not reached from the ones before it; is a line missing?")
        # The last transform closes the loop of a closed path; the pose of its target is known already.
        poses.setdefault(following, normalised(poses[this] @ inverse(next_T_this)))
    if spatial.is_file():
        for this, teach, teach_T_this in read_transforms(spatial):
            if this[0] == number and teach in poses:
                poses[this] = poses[teach] @ teach_T_this
    return poses


def read_transforms(path: Path) -> list[tuple[Vertex, Vertex, NDArray[np.float64]]]:
    """Rows (vertex, next vertex, next_T_vertex) of a transform file: run, pose, next run, next pose, 3x4 or 4x4 by rows."""
    result = []
    for line, fields in read_rows(path, ","):
        if len(fields) not in (16, 20):
            raise DataError(f"{path} line {line} has {len(fields)} columns instead of 16 or 20; is the file cut off?")
        row = numbers(fields, path, line)
        transform = np.vstack([row[4:16].reshape(3, 4), [0.0, 0.0, 0.0, 1.0]])
        if not np.allclose(transform[:3, :3] @ transform[:3, :3].T, np.eye(3), atol=1e-2):
            raise DataError(f"{path} line {line}: the transform is not rigid; is the file damaged?")
        result.append(((int(row[0]), int(row[1])), (int(row[2]), int(row[3])), normalised(transform)))
    return result
