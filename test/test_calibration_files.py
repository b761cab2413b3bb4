"""The published calibrator's files: stems are names, never positions; what is damaged says where."""

import cv2
import numpy as np
import pytest
from calibration_samples import k
from map_samples import create, image, teach

from vloc_ros.calibration.published_files import (
    FILTERED,
    INLIERS,
    NAMES,
    OUTLIERS,
    TRIPLETS,
    read_samples,
    triplets_of,
    write_pairs,
    write_samples,
    write_triplets,
)
from vloc_ros.calibration.published_mining import PUBLISHED_FILTER, FilterSettings, Triplet, filter_triplets
from vloc_ros.calibration.tuples import TrainingTuple, TupleSet
from vloc_ros.config import from_dict
from vloc_ros.errors import DataError, MapError
from vloc_ros.mapping.store import MapStore


@pytest.fixture
def folder(tmp_path):
    """A run whose queue dropped frames: image 7 is the third file."""
    (tmp_path / "samples").mkdir()
    for number in (2, 5, 7, 300, 450):
        cv2.imwrite(str(tmp_path / "samples" / f"{number:09d}.png"), np.full((4, 4), number % 256, np.uint8))
    (tmp_path / TRIPLETS).write_text("300 2 450 7\n450 5\n")
    (tmp_path / INLIERS).write_text("2 300\n")
    (tmp_path / OUTLIERS).write_text("")
    return tmp_path


def test_numbers_are_stems_and_not_positions(folder):
    samples = read_samples(folder)
    assert samples.triplets == (Triplet(k(300), k(2), (k(450), k(7))), Triplet(k(450), k(5), ()))
    assert samples.inliers == ((k(2), k(300)),) and samples.outliers == samples.filtered == ()
    assert samples.images[k(7)].name == "000000007.png" and len(samples.images) == 5
    assert read_samples(folder, session=3).triplets[0].anchor == k(300, 3)
    settings = from_dict(FilterSettings, PUBLISHED_FILTER)
    tuples = filter_triplets(samples.triplets, samples.inliers, samples.outliers, settings, 1)
    assert tuples == TupleSet((TrainingTuple(k(300), k(2), (k(450),), 1.0, 1),)), "7 is within 100 of 2"


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        (TRIPLETS, "300 2 450\n300 3 7\n", "triplets.txt line 2 names image 3, which is not there: numbers are stems"),
        (TRIPLETS, "300\n", "triplets.txt line 1 does not hold the numbers of an anchor"),
        (TRIPLETS, "300 2 -7\n", "line 1 does not hold"),
        (TRIPLETS, "300 2 7.0\n", "line 1 does not hold"),
        (TRIPLETS, "300 2 300\n", "line 1 names an image twice"),
        (FILTERED, "300 2 x\n", "filtered_triplets.txt line 1 does not hold"),
        (INLIERS, "2 300\n2 300 7\n", "inliers.txt line 2 does not hold two numbers"),
        (OUTLIERS, "5 ٧\n", "outliers.txt line 1 does not hold two numbers"),
        (NAMES, "2 s1/k9\n5\n", "keyframes.txt line 2 is not a number of its own"),
        (NAMES, "2 s1/k9\n5 k3\n", "keyframes.txt line 2: 'k3' is not a keyframe name"),
        (NAMES, "2 s1/k9\n5 s1/k9\n", "names a keyframe twice"),
        (NAMES, "2 s1/k300\n", "names some images .* and not others"),
        ("samples/0300.png", "", "have the same number"),
        ("samples/frame.png", "", "not named by a number"),
    ],
)
def test_what_is_wrong_is_named(folder, name, text, reason):
    (folder / name).write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=reason):
        read_samples(folder)


def test_a_folder_without_the_files_is_none(tmp_path):
    with pytest.raises(DataError, match=r"has none of triplets\.txt"):
        read_samples(tmp_path)
    with pytest.raises(DataError, match="cannot be read"):
        read_samples(tmp_path / "nowhere")


def test_a_map_goes_out_and_comes_back(tmp_path):
    path = teach(tmp_path / "site.vloc", keyframes=4, sessions=2)
    triplets = [Triplet(k(1, 2), k(2), (k(4), k(4, 2))), Triplet(k(3), k(1), ())]
    filtered = TupleSet((TrainingTuple(k(1, 2), k(2), (k(4),), 1.0, 3),))
    out = tmp_path / "out"
    with MapStore.open(path, read_only=True) as store:
        store_ids = [keyframe.id for keyframe in store.keyframes()]
        numbers = write_samples(out, store, triplets, filtered, [(k(2), k(1, 2))], [(k(3), k(1, 2))])
        with pytest.raises(DataError, match="is not an empty folder"):
            write_samples(out, store, triplets, filtered, [], [])
        stored = store.image(k(1, 2))
    assert sorted(numbers.values()) == list(range(8)), "positions in the sorted folder are the numbers"
    names = sorted(file.name for file in (out / "samples").iterdir())
    assert [names[numbers[id]] for id in store_ids] == [f"{n:09d}.png" for n in range(8)]
    assert (out / TRIPLETS).read_text() == "4 1 3 7\n2 0\n" and (out / FILTERED).read_text() == "4 1 3\n"
    samples = read_samples(out)
    assert samples.triplets == tuple(triplets) and samples.filtered == triplets_of(filtered)
    assert samples.inliers == ((k(2), k(1, 2)),) and samples.outliers == ((k(3), k(1, 2)),)
    np.testing.assert_array_equal(cv2.imread(str(samples.images[k(1, 2)]), cv2.IMREAD_GRAYSCALE), stored)
    assert np.abs(stored.astype(float) - image((2, 1))).mean() < 5.0


def test_what_cannot_be_written_is_named(tmp_path):
    with pytest.raises(DataError, match="keyframe s1/k3 has no number"):
        write_pairs(tmp_path / INLIERS, [(k(1), k(3))], {k(1): 0})
    with pytest.raises(DataError, match="keyframe s1/k4 has no number"):
        write_triplets(tmp_path / TRIPLETS, [Triplet(k(1), k(1), (k(4),))], {k(1): 0})
    path = teach(tmp_path / "blind.vloc", keyframes=2, with_image=False)
    with MapStore.open(path, read_only=True) as store, pytest.raises(MapError, match="has no image of keyframe s1/k1"):
        write_samples(tmp_path / "out", store, [], TupleSet(), [], [])
    with create(tmp_path / "empty.vloc") as store:
        assert write_samples(tmp_path / "none", store, [], TupleSet(), [], []) == {}
