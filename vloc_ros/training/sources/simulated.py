"""Pairs from the simulated world: one place, two poses, two lights, and the exact truth."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_ros.data.files import inside, naming, read_text
from vloc_ros.data.images import read_image
from vloc_ros.errors import DataError
from vloc_ros.geometry import se3
from vloc_ros.geometry.camera import StereoCamera
from vloc_ros.training.pairs import PairSource, StereoTruth, TrainingPair
from vloc_ros.training.sources.rendering import FORMAT, INVERSE_DEPTH_STEPS
from vloc_ros.training.sources.warp import warp_by_depth

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class View:
    """One rendered image.

    Attributes:
        site: name of the site.
        place: number of the place at the site.
        condition: in which it was rendered.
        world_T_camera: (4, 4) pose.
        image: its file.
        inverse_depth: file of its inverse depth.
    """

    site: str
    place: int
    condition: str
    world_T_camera: Array
    image: Path
    inverse_depth: Path


class SimulatedPairs(PairSource):
    """Pairs of a folder that :func:`vloc_ros.training.sources.rendering.render_training_set` made.

    Image a is that of the index, image b any other one of the same place that the generator picks.
    """

    def __init__(self, folder: Path, between: Collection[tuple[str, str]] | None = None, *, moved_only: bool = False) -> None:
        """Open a set; sites that are not complete yet are left out.

        Args:
            folder: of the set.
            between: the pairs (condition of a, condition of b) that are wanted; by default all.
            moved_only: leave out pairs of one pose, which flatter a detector that repeats its own grid.

        Raises:
            DataError: the folder is no set, is damaged, or has no pair that is wanted; the text names the file.
        """
        self.folder = folder
        self.camera, self.base_T_camera = _read_set(folder)
        views = [view for file in sorted(folder.glob("*/views.json")) for view in _read_views(file)]
        if not views:
            raise DataError(f"{folder} holds no complete site; render a set into it first")
        self.views = views
        self._between = None if between is None else frozenset(between)
        self._moved_only = moved_only
        places: dict[tuple[str, int], list[int]] = {}
        for number, view in enumerate(views):
            places.setdefault((view.site, view.place), []).append(number)
        self._partners = [
            (number, partners)
            for place in places.values()
            for number in place
            if len(partners := [other for other in place if other != number and self._wanted(views[number], views[other])]) > 0
        ]
        if not self._partners:
            asked = "any condition" if between is None else ", ".join(f"{a}>{b}" for a, b in between)
            raise DataError(f"{folder} has no two images of one place in {asked}; render more views or conditions")

    def _wanted(self, a: View, b: View) -> bool:
        if self._moved_only and np.array_equal(a.world_T_camera, b.world_T_camera):
            return False
        return self._between is None or (a.condition, b.condition) in self._between

    def __len__(self) -> int:
        """Images that can be the first of a pair."""
        return len(self._partners)

    def pair(self, index: int, rng: np.random.Generator) -> TrainingPair:
        """The image of the index and another one of its place.

        Raises:
            DataError: an image is missing or damaged; the text names it.
        """
        number, partners = self._partners[index]
        return self.pair_of(self.views[number], self.views[partners[int(rng.integers(len(partners)))]])

    def pair_of(self, a: View, b: View) -> TrainingPair:
        """The pair of two views of one site.

        Raises:
            DataError: an image is missing or damaged; the text names it.
        """
        inverse_a, inverse_b = (self.inverse_depth(view) for view in (a, b))
        b_T_a = se3.between(b.world_T_camera, a.world_T_camera)
        stereo = StereoTruth(self.camera, self._disparity(inverse_a), self._disparity(inverse_b), b_T_a, self.base_T_camera)
        return TrainingPair(
            self._image(a.image),
            self._image(b.image),
            warp_by_depth(self.camera, inverse_a, inverse_b, b_T_a),
            stereo,
            f"sim:{a.site}:{a.condition}>{b.condition}",
        )

    def _image(self, file: Path) -> NDArray[np.uint8]:
        image = read_image(file)
        if image.shape != (self.camera.height, self.camera.width, 3):
            raise DataError(
                f"{file} is of shape {image.shape} but the set's images are {self.camera.width}x{self.camera.height} RGB"
            )
        return image

    def inverse_depth(self, view: View) -> NDArray[np.float32]:
        """(H, W) inverse depth of a view [1/m], 0 in the sky.

        Raises:
            DataError: its file is missing or damaged; the text names it.
        """
        file = view.inverse_depth
        steps = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)  # read_depth would take the file for depth
        if steps is None or steps.dtype != np.uint16 or steps.shape != (self.camera.height, self.camera.width):
            size = f"{self.camera.width}x{self.camera.height}"
            raise DataError(f"{file} is missing or no depth image of {size} px and 16 bits; render it again")
        return np.asarray(steps / np.float32(INVERSE_DEPTH_STEPS), dtype=np.float32)

    def _disparity(self, inverse: NDArray[np.float32]) -> NDArray[np.float32]:
        scale = np.float32(self.camera.fx * self.camera.baseline)
        return np.where(inverse > 0.0, inverse * scale, np.float32(np.nan)).astype(np.float32)


def _read_json(file: Path) -> Any:
    with naming(file):
        try:
            return json.loads(read_text(file))
        except json.JSONDecodeError as error:
            raise DataError(f"is no JSON ({error}); render the set again") from error


def _read_set(folder: Path) -> tuple[StereoCamera, Array]:
    file = folder / "set.json"
    if not file.is_file():
        raise DataError(f"{folder} has no set.json; it is no set of simulated views")
    values = _read_json(file)
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise DataError(f"{file} is not of the format '{FORMAT}'; render the set again")
    try:
        base_T_camera = np.array(values["base_T_camera"], dtype=np.float64).reshape(4, 4)
        return StereoCamera(**values["camera"]), base_T_camera
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{file} is damaged ({error}); render the set again") from error


def _read_views(file: Path) -> list[View]:
    try:
        values = _read_json(file)
        return [
            View(
                values["site"],
                int(entry["place"]),
                image["condition"],
                np.array(entry["world_T_camera"], dtype=np.float64).reshape(4, 4),
                inside(file.parent, image["image"]),
                inside(file.parent, image["inverse_depth"]),
            )
            for entry in values["views"]
            for image in entry["images"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{file} is damaged ({error!r}); remove its folder and render it again") from error
