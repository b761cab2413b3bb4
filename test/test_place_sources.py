"""Places to learn from and the judge of what was learned; none of this needs torch."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from network_samples import place as picture

from vloc_ros.data.output import write_image
from vloc_ros.data.places import Picture, PlaceDataset
from vloc_ros.errors import ConfigError, DataError
from vloc_ros.training.augmentation import AugmentationSettings
from vloc_ros.training.place_numbers import PlaceNumbers
from vloc_ros.training.place_sources import DatasetPlaces, PhotoPlaces, SimulatedPlaces, StaticPlaces
from vloc_ros.training.place_validation import PlaceValidation, PlaceValidationSettings
from vloc_ros.training.place_views import ImageCache, PlaceImageSettings, altered_view, chosen_views, plain_view
from vloc_ros.training.places import Place, PlaceSource, PlaceView
from vloc_ros.training.sources.rendering import FORMAT, INVERSE_DEPTH_STEPS

WIDTH, HEIGHT, FOCAL, DEPTH = 64, 48, 50.0, 2.0


def one_colour(level: int) -> np.ndarray:
    return np.full((20, 30, 3), level, dtype=np.uint8)


def simulated(folder: Path, shifts: list[float]) -> Path:
    """A site before a wall: place k is seen by two cameras side by side, ``shifts[k]`` metres to the right, by day and at night."""
    mount = np.eye(4).tolist()
    camera = {"width": WIDTH, "height": HEIGHT, "fx": FOCAL, "fy": FOCAL, "cx": 31.5, "cy": 23.5, "baseline": 0.2}
    (folder / "wall").mkdir(parents=True)
    (folder / "set.json").write_text(json.dumps({"format": FORMAT, "camera": camera, "base_T_camera": mount}))
    views = []
    for place, shift in enumerate(shifts):
        for view in range(2):
            pose = np.eye(4)
            pose[0, 3] = shift + 0.1 * view
            depth = f"{place}_{view}.depth.png"
            write_image(folder / "wall" / depth, np.full((HEIGHT, WIDTH), INVERSE_DEPTH_STEPS / DEPTH, dtype=np.uint16))
            images = []
            for condition in ("day", "night"):
                name = f"{place}_{view}_{condition}.png"
                write_image(folder / "wall" / name, one_colour(100 + place))
                images.append({"condition": condition, "image": name, "inverse_depth": depth})
            views.append({"place": place, "view": view, "world_T_camera": pose.tolist(), "images": images})
    (folder / "wall" / "views.json").write_text(json.dumps({"site": "wall", "seed": 1, "views": views}))
    return folder


def test_simulated_places_are_near_by_what_they_show(tmp_path):
    # 64 px at 50 px and 2 m are 2.56 m of wall: a shift of 1.28 m leaves half of it, 2.3 m a tenth.
    source = SimulatedPlaces(simulated(tmp_path, [0.0, 1.28, 2.3, 100.0]))
    assert len(source) == 4 and source.place(1).name == "sim:wall:1" and source.place(1).kind == "sim"
    assert [sorted(source.near(index)) for index in range(4)] == [[1], [0, 2], [1], []]
    views = source.place(0).views
    assert [(view.condition, view.pose) for view in views] == [("day", 0), ("night", 0), ("day", 1), ("night", 1)]
    assert source.place(2).views[0].read()[0, 0].tolist() == [102, 102, 102]
    with pytest.raises(DataError, match="is no set of simulated views"):
        SimulatedPlaces(tmp_path / "wall")


def test_fixed_cameras_and_photos(tmp_path):
    for camera in ("a", "b", "c"):
        for hour in range(3):
            write_image(tmp_path / camera / f"{hour}.png", picture(ord(camera), 1.0 - 0.2 * hour))
    source = StaticPlaces(tmp_path, exclude=("c",))
    assert [source.place(k).name for k in range(len(source))] == ["static:a", "static:b"]
    assert [view.condition for view in source.place(0).views] == ["#0", "#1", "#2"] and not source.near(0)
    photos = PhotoPlaces(tmp_path)
    assert len(photos) == 9 and sorted(photos.near(2)) == [0, 1, 3, 4, 5, 6, 7, 8] and len(photos.near(2)) == 8
    assert 3 in photos.near(2) and 2 not in photos.near(2) and 9 not in photos.near(2)
    assert len(photos.place(4).views) == 1
    with pytest.raises(DataError, match="no folder"):
        PhotoPlaces(tmp_path / "nothing")


def dataset(positives: list[list[int]]) -> PlaceDataset:
    pictures = tuple(Picture(f"p{k}", partial(one_colour, k)) for k in range(5))
    return PlaceDataset("set", pictures[: len(positives)], pictures, tuple(np.array(p, dtype=np.int64) for p in positives))


def test_places_of_a_data_set():
    source = DatasetPlaces(dataset([[0, 1], [], [1, 2], [4]]))
    assert [source.place(k).name for k in range(len(source))] == ["dataset:set:p0", "dataset:set:p2", "dataset:set:p3"]
    assert [sorted(source.near(k)) for k in range(3)] == [[1], [0], []]  # both of the first show picture 1
    assert [view.condition for view in source.place(1).views] == ["queries", "database", "database"]
    assert [int(view.read()[0, 0, 0]) for view in source.place(1).views] == [2, 1, 2]
    with pytest.raises(DataError, match=r"widen truth\.radius_m"):
        DatasetPlaces(dataset([[], []]))


class Listed(PlaceSource):
    """Places of a list, and what is near what."""

    def __init__(self, places: list[list[PlaceView]], near: dict[int, set[int]] | None = None) -> None:
        self.places, self.known = places, near or {}

    def __len__(self) -> int:
        return len(self.places)

    def place(self, index: int) -> Place:
        return Place(f"list:{index}", tuple(self.places[index]))

    def near(self, index: int) -> set[int]:
        return self.known.get(index, set())


def test_numbers_say_which_places_are_different():
    sources = [Listed([[], [], []], {0: {1}, 1: {0}}), Listed([[], []])]
    numbers = PlaceNumbers(sources)
    first, second, third = (numbers.number(0, index) for index in range(3))
    mirror, other = numbers.number(0, 0, mirrored=True), numbers.number(1, 1)
    assert len({first, second, third, mirror, other}) == 5
    different = numbers.different(np.array([first, second, third, mirror, other, first]))
    expected = np.ones((6, 6), dtype=bool)
    for a, b in ((0, 1), (0, 5), (1, 5)):  # near, the same, near
        expected[a, b] = expected[b, a] = False
    np.fill_diagonal(expected, False)
    assert np.array_equal(different, expected)


def test_views_are_chosen_from_as_many_conditions_as_there_are():
    place = Place("p", tuple(PlaceView(condition, partial(one_colour, 1)) for condition in ("day", "day", "day", "night", "fog")))
    rng = np.random.default_rng(0)
    for _ in range(20):
        assert {place.views[view].condition for view in chosen_views(place, 3, rng)} == {"day", "night", "fog"}
        assert sorted(chosen_views(place, 5, rng)) == [0, 1, 2, 3, 4]
    assert len(chosen_views(place, 7, rng)) == 7


def test_views_of_an_image():
    image = picture(3, colour=True)
    settings = PlaceImageSettings(size=64, grey=0.0)
    still = PlaceImageSettings(size=64, grey=0.0, zoom=1.0, shift=0.0, rotation_deg=0.0, perspective=0.0)
    plain = AugmentationSettings(strength=0.0)
    square = np.asarray(ImageCache(1).image((0, 0), lambda: image))
    assert square.shape == (224, 224, 3)
    unmoved = altered_view(square, np.random.default_rng(1), still, plain, False)
    assert np.abs(unmoved.astype(float) - plain_view(square, 64)).mean() < 4.0
    mirrored = altered_view(square, np.random.default_rng(1), still, plain, True)
    assert np.array_equal(mirrored, unmoved[:, ::-1])
    moved = [altered_view(square, np.random.default_rng(seed), settings, plain, False) for seed in (1, 1, 2)]
    assert np.array_equal(moved[0], moved[1]) and not np.array_equal(moved[0], moved[2])
    grey = altered_view(square, np.random.default_rng(1), PlaceImageSettings(size=64, grey=1.0), plain, False)
    assert np.ptp(grey.astype(int), axis=2).max() == 0


def test_what_was_read_is_kept_as_far_as_it_fits():
    read: list[int] = []

    def reading(number: int) -> np.ndarray:
        read.append(number)
        return one_colour(number)

    place = Place("p", tuple(PlaceView("", partial(reading, k)) for k in range(20)))
    cache = ImageCache(1)  # a million bytes: six images of 224 x 224 x 3
    for _ in range(2):
        for view in range(20):
            assert int(cache.image((5, view), place.views[view].read)[0, 0, 0]) == view
    assert len(read) == 20 + 14


class TestValidation:
    @staticmethod
    def describe(images):
        """Brightness as an angle; black has nothing to describe."""
        angles = np.array([image.mean() / 255.0 * np.pi for image in images])
        vectors = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
        vectors[[image.max() == 0 for image in images]] = 0.0
        return vectors

    @staticmethod
    def view(condition: str, level: int, pose: int | None = None) -> PlaceView:
        return PlaceView(condition, partial(one_colour, level), pose)

    def test_each_condition_is_looked_for_in_another(self):
        places = [
            [self.view("day", 50), self.view("night", 60)],
            [self.view("day", 100), self.view("night", 110)],
            [self.view("day", 150), self.view("fog", 105)],  # its fog looks like the day of place 1
        ]
        validation = PlaceValidation([Listed(places)])
        assert [int(image[0, 0, 0]) for image in validation.database()] == [50, 100, 150]
        figures = validation(self.describe)
        assert figures == {"task": 0.5, "list:fog>day/recall_1": 0.0, "list:night>day/recall_1": 1.0}
        # If places 1 and 2 are near each other, neither is a wrong answer for the other.
        figures = PlaceValidation([Listed(places, {1: {2}, 2: {1}})])(self.describe)
        assert figures["task"] == 1.0

    def test_the_very_same_pose_is_no_answer(self):
        places = [
            [self.view("day", 50, 0), self.view("night", 50, 0), self.view("day", 90, 1)],
            [self.view("day", 70, 0), self.view("night", 70, 0)],
        ]
        figures = PlaceValidation([Listed(places)])(self.describe)
        # Only the first place has a day of another pose, and 70 is nearer to 50 than 90 is.
        assert figures["list:night>day/recall_1"] == 0.0

    def test_images_without_named_conditions_are_one_group(self):
        places = [[self.view("#0", 50), self.view("#1", 55)], [self.view("#0", 100), self.view("#1", 0)]]
        figures = PlaceValidation([Listed(places)])(self.describe)
        # Black cannot be described; of the four answers the black query is wrong, and so is what is looked for among the black.
        assert set(figures) == {"task", "list/recall_1"} and figures["task"] == 0.5

    def test_places_are_chosen_evenly_and_what_cannot_be_judged_is_said(self):
        read: list[int] = []

        def reading(level: int) -> np.ndarray:
            read.append(level)
            return one_colour(level)

        places = [[PlaceView(condition, partial(reading, 20 * k)) for condition in ("day", "night")] for k in range(1, 11)]
        PlaceValidation([Listed(places)], PlaceValidationSettings(places=5))(self.describe)
        assert sorted(set(read)) == [20, 60, 100, 140, 180]
        with pytest.raises(ConfigError, match="in one condition each"):
            PlaceValidation([Listed([[self.view("day", 5)], [self.view("day", 9)]])])(self.describe)
        with pytest.raises(ConfigError, match="at least one source"):
            PlaceValidation([])
