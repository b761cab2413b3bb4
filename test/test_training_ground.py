"""Ground to learn from: sites, random views whose homography is exact, and key points that land where they should."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from vloc_ros.config import replace  # noqa: E402
from vloc_ros.errors import DataError, TrainingError  # noqa: E402
from vloc_ros.training.augmentation import AugmentationSettings  # noqa: E402
from vloc_ros.training.ground_labels import (  # noqa: E402
    IGNORED,
    GroundPoints,
    LabelSettings,
    adapted,
    cell_labels,
    corners,
    kept_points,
    label_site,
    labelled_pixels,
    pair_labels,
    points_of,
    pooled,
)
from vloc_ros.training.ground_samples import correspondences  # noqa: E402
from vloc_ros.training.ground_sites import GroundImages, aerial_set, map_picture, open_ground  # noqa: E402
from vloc_ros.training.ground_views import (  # noqa: E402
    GroundChangeSettings,
    GroundView,
    GroundViewSettings,
    altered,
    drift,
    eased,
    homography,
    mapped,
    random_pair,
    season,
    seen,
)
from vloc_ros.training.registry import DataSpec  # noqa: E402

VIEW = GroundViewSettings(side=96, zoom_max=1.5, rotation_deg=60.0)


def chessboard(side: int = 400, square: int = 40) -> np.ndarray:
    rows, columns = np.mgrid[:side, :side] // square
    grey = np.where((rows + columns) % 2 == 0, 200, 40).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


@pytest.fixture
def board(tmp_path):
    write(tmp_path / "set" / "board" / "noon.png", chessboard())
    return aerial_set(tmp_path / "set", GroundImages(100))


def test_sites_have_their_conditions_and_images_beside_them_are_sites(tmp_path):
    for name in ("2019", "2021"):
        write(tmp_path / "a" / f"{name}.png", chessboard(200))
    write(tmp_path / "b" / "only.jpg", chessboard(160))
    write(tmp_path / "alone.png", chessboard(120))
    (tmp_path / "empty").mkdir()
    source = aerial_set(tmp_path, GroundImages(100))
    assert [(site.name, site.conditions, site.size) for site in source.sites] == [
        ("a", ("2019", "2021"), (200, 200)),
        ("b", ("only",), (160, 160)),
        ("alone", ("alone",), (120, 120)),
    ]
    assert source.image(0, 1).shape == (200, 200, 3) and source.image(2, 0, halved=True).shape == (60, 60, 3)


def test_a_large_map_is_parted_and_nothing_is_lost(tmp_path):
    image = np.random.default_rng(1).integers(0, 255, (1700, 2100, 3), dtype=np.uint8)
    write(tmp_path / "map.png", image)
    source = map_picture(tmp_path / "map.png", GroundImages(100))
    assert len(source) == 4
    whole = np.zeros_like(image)
    for number, site in enumerate(source.sites):
        left, top, width, height = site.box
        whole[top : top + height, left : left + width] = source.image(number, 0)[..., ::-1]
        assert left % 2 == 0 and top % 2 == 0
        assert source.image(number, 0, halved=True).shape[:2] == (height // 2, width // 2)
    assert np.array_equal(whole, image)


def test_what_does_not_fit_in_memory_is_read_again(tmp_path):
    for name in ("x", "y"):
        write(tmp_path / f"{name}.png", chessboard(200))
    images = GroundImages(0.15)
    source = aerial_set(tmp_path, images)
    assert np.array_equal(source.image(1, 0), chessboard(200))
    (tmp_path / "y.png").unlink()
    assert np.array_equal(source.image(0, 0), chessboard(200))
    with pytest.raises(DataError, match=r"y\.png"):
        source.image(1, 0)


def test_what_is_no_ground_is_refused_in_one_sentence(tmp_path):
    def opened(kind: str, path: Path):
        return open_ground([DataSpec(kind, path)], 100.0, 1.0)

    with pytest.raises(DataError, match="no folder of sites"):
        opened("aerial", tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no images"):
        opened("aerial", tmp_path / "empty")
    write(tmp_path / "set" / "s" / "a.png", chessboard(200))
    write(tmp_path / "set" / "s" / "b.png", chessboard(160))
    with pytest.raises(DataError, match=r"b\.png is 160x160 px and a\.png beside it 200x200 px"):
        opened("aerial", tmp_path / "set")
    write(tmp_path / "small" / "a.png", chessboard(40))
    with pytest.raises(DataError, match="64 px or more"):
        opened("aerial", tmp_path / "small")
    with pytest.raises(DataError, match="64 px or more"):
        opened("map", tmp_path / "small" / "a.png")
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"bad\.png"):
        opened("map", tmp_path / "bad.png")


def test_a_view_shows_the_site_where_its_homography_says(board):
    size = replace(VIEW, {"zoom_max": 2.5})
    for seed in range(12):  # some of them at half the resolution
        rng = np.random.default_rng(seed)
        for there in random_pair(np.array([200.0, 200.0]), rng, size):
            view, known = seen(board, 0, 0, there, 96)
            v, u = np.nonzero(known)
            at = mapped(np.linalg.inv(there), np.column_stack([u, v]))
            square = (at + 0.5) / 40.0
            inside = (np.abs(square - np.rint(square)) > 0.15).all(1)  # away from the edges of squares
            white = np.floor(square).sum(1) % 2 == 0
            shown = view[v, u, 0].astype(int)
            assert inside.sum() > 500
            assert (shown[inside & white] > 170).all() and (shown[inside & ~white] < 70).all()


def test_what_is_beyond_the_border_is_not_known(board):
    there = homography(np.array([0.0, 200.0]), 1.0, 0.0, np.zeros(2), VIEW)
    _, known = seen(board, 0, 0, there, 96)
    assert not known[:, :47].any() and known[:, 49:].all()


def test_the_geometry_of_a_view():
    there = homography(np.array([10.0, 20.0]), 2.0, np.pi / 2, np.zeros(2), VIEW)
    middle = 0.5 * 95.0
    assert np.allclose(mapped(there, np.array([[10.0, 20.0], [12.0, 20.0]])), [[middle, middle], [middle, middle + 1.0]])
    tilted = homography(np.array([0.0, 0.0]), 1.0, 0.0, np.array([0.2, 0.0]), VIEW)
    # Where the view ends on the right, everything is 1 + 0.2 times as far away as in the middle.
    assert mapped(tilted, np.array([[48.0, 0.0]]))[0, 0] - middle == pytest.approx(48.0 / 1.2)
    assert np.isnan(mapped(np.array([[1.0, 0, 0], [0, 1, 0], [0, -1, 1]]), np.array([[0.0, 2.0]]))).all()


def test_correspondences_show_the_same_and_nothing_that_is_unknown(board):
    rng = np.random.default_rng(4)
    views = []
    for there in random_pair(np.array([60.0, 200.0]), rng, VIEW):
        image, known = seen(board, 0, 0, there, 96)
        views.append(GroundView(image[..., 0], known, there))
    a, b = views
    b.known[:30] = False
    labels = np.full((12, 12), 64, np.uint8)
    labels[6, 9] = 3 * 8 + 5
    found = correspondences(a, b, labels, 80, rng)
    assert found[0, :2].tolist() == [9 * 8 + 5, 6 * 8 + 3]
    kept = found[np.isfinite(found).all(1)]
    assert len(kept) > 40 and np.isnan(found[len(kept) :]).all()
    b_H_a = b.view_H_site @ np.linalg.inv(a.view_H_site)
    assert np.allclose(mapped(b_H_a, kept[:, :2]), kept[:, 2:], atol=1e-3)
    u, v = np.rint(kept[:, 2:]).astype(int).T
    assert b.known[v, u].all() and (v >= 30).all()


def test_a_season_changes_colours_and_no_geometry():
    view = np.zeros((64, 64, 3), np.uint8)
    view[:, :32], view[:, 32:] = (60, 140, 60), (170, 60, 60)
    changes = GroundChangeSettings(recoloured=1.0, toned=0.0, inverted=0.0)
    brighter = set()
    for seed in range(20):
        made = season(view, np.random.default_rng(seed), changes)
        assert made.shape == (64, 64) and made[:, :32].std() == 0 and made[:, 32:].std() == 0
        brighter.add(bool(made[0, 0] > made[0, 40]))
    assert brighter == {True, False}


def test_a_changed_patch_is_not_known_any_more():
    grey = np.random.default_rng(0).integers(0, 255, (96, 96), dtype=np.uint8)
    known = np.ones((96, 96), bool)
    changes = GroundChangeSettings(patches=4, displaced=0.0)
    for seed in range(8):
        made, left = drift(grey, known, np.random.default_rng(seed), changes)
        assert np.array_equal(made[left], grey[left])
        assert left.all() or (made[~left] != grey[~left]).mean() > 0.9
    assert known.all()
    moved, left = drift(grey, known, np.random.default_rng(0), GroundChangeSettings(patches=0, displaced=1.0))
    assert left.all() and not np.array_equal(moved, grey)


def test_nothing_changes_where_nothing_may():
    view = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    known = np.ones((64, 64), bool)
    none = GroundChangeSettings(recoloured=0.0, toned=0.0, inverted=0.0, patches=0, displaced=0.0)
    made, left = altered(view, known, np.random.default_rng(1), none, AugmentationSettings(strength=0.0), True)
    assert np.array_equal(made, cv2.cvtColor(view, cv2.COLOR_RGB2GRAY)) and left.all()


def test_what_is_eased_grows_to_what_is_set():
    settings = (VIEW, GroundChangeSettings(patches=4), AugmentationSettings(strength=1.0))
    assert eased(*settings, 1.0) == settings
    view, changes, light = eased(*settings, 0.5)
    assert (view.rotation_deg, view.heading_deg, changes.patches, light.strength) == (30.0, VIEW.heading_deg, 2, 0.5)
    view, changes, light = eased(*settings, 0.0)
    assert view.rotation_deg == view.scale == view.perspective == changes.recoloured == changes.patches == 0
    assert light.strength == pytest.approx(0.3)


def squares(side: int = 256) -> np.ndarray:
    """Three bright squares on dark ground: twelve corners, and nothing else."""
    image = np.full((side, side, 3), 40, np.uint8)
    for left, top in ((40, 50), (150, 60), (90, 160)):
        image[top : top + 40, left : left + 40] = 210
    return image


CORNERS = [(x + dx, y + dy) for x, y in ((40, 50), (150, 60), (90, 160)) for dx in (0, 39) for dy in (0, 39)]


def test_adapted_corners_are_corners():
    grey = squares()[..., 0]
    for count in (1, 6):
        found = points_of(adapted(grey, corners, count, np.random.default_rng(0)), LabelSettings())
        assert len(found.scores) >= 12 and (np.diff(found.scores) <= 0).all()
        for corner in CORNERS:
            assert np.linalg.norm(found.pixels[:12] - corner, axis=1).min() < 4.0


def test_a_corner_of_one_condition_alone_counts_little(tmp_path):
    write(tmp_path / "s" / "a.png", squares())
    other = squares()
    other[160:200, 90:130] = 40
    write(tmp_path / "s" / "b.png", other)
    source = aerial_set(tmp_path, GroundImages(100))
    points = label_site(source, 0, corners, LabelSettings(homographies=2), 1)
    assert points.pixels[:8, 1].max() < 110
    heat = pooled([np.full((4, 4), 0.2, np.float32), np.full((4, 4), 0.6, np.float32)])
    assert np.allclose(heat, 0.4)


def test_labels_land_under_the_homography():
    points = GroundPoints(
        np.array([[100.0, 120.0], [101.0, 121.0], [130.0, 120.0], [390.0, 390.0]], np.float32), np.ones(4, np.float32)
    )
    there = homography(np.array([100.0, 120.0]), 2.0, np.pi / 2, np.zeros(2), VIEW)
    known = np.ones((96, 96), bool)
    known[90:] = False
    view = GroundView(np.zeros((96, 96), np.uint8), known, there)
    labels = cell_labels(points, np.array([1.0, 0.5, 0.4, 1.0], np.float32), view, 100.0)
    # Turned by a quarter, what is 15 px to the right is below; the second is less than three pixels from the first and worth less.
    assert sorted(labelled_pixels(labels).tolist()) == [[48, 48], [48, 62]] or sorted(labelled_pixels(labels).tolist()) == [
        [48, 48],
        [48, 63],
    ]
    assert (labels[11] == IGNORED).all() and (labels[:11] != IGNORED).all()
    assert (cell_labels(points, np.zeros(4, np.float32), view, 100.0)[:11] == 64).all()
    few = cell_labels(points, np.array([1.0, 0.5, 0.4, 1.0], np.float32), view, 5000.0)
    assert labelled_pixels(few).tolist() == [[48, 48]]


def test_only_what_both_views_show_is_a_key_point():
    grey = squares(96 * 2)[..., 0]
    there = homography(np.array([70.0, 70.0]), 1.0, 0.0, np.zeros(2), VIEW)
    image = np.asarray(cv2.warpPerspective(grey, there, (96, 96)))
    known = np.ones((96, 96), bool)
    points = GroundPoints(np.array([[40.0, 50.0], [60.0, 100.0]], np.float32), np.array([0.5, 0.9], np.float32))
    labels = pair_labels(points, GroundView(image, known, there), GroundView(image, known, there), 100.0)
    expected = np.rint(mapped(there, points.pixels[:1])).astype(int).tolist()
    assert labelled_pixels(labels[0]).tolist() == expected == labelled_pixels(labels[1]).tolist()
    flat = GroundView(np.full((96, 96), 90, np.uint8), known, there)
    assert len(labelled_pixels(pair_labels(points, flat, flat, 100.0)[0])) == 0


def test_key_points_are_found_once_and_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / "points.npz"
    points = GroundPoints(np.array([[1.0, 2.0]], np.float32), np.array([0.5], np.float32))
    asked = []

    def made():
        asked.append(1)
        return points

    for _ in range(2):
        found = kept_points(path, made)
        assert np.array_equal(found.pixels, points.pixels) and np.array_equal(found.scores, points.scores)
    assert len(asked) == 1
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(TrainingError, match=r"points\.npz is damaged"):
        kept_points(path, made)
    np.savez(path, pixels=np.zeros((2, 2)), scores=np.zeros(3))
    with pytest.raises(TrainingError, match="shapes do not fit"):
        kept_points(path, made)
