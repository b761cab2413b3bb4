"""Sources of training pairs: one contract for all, and what each does with folders that are no good."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pair_samples import SITE, check_stereo, drive, same, similarity, textured

from vloc_ros.data.frame import to_grey
from vloc_ros.data.output import write_image
from vloc_ros.errors import ConfigError, DataError
from vloc_ros.geometry import se3
from vloc_ros.simulation import Renderer, named_condition, sites
from vloc_ros.training.pairs import PairSource
from vloc_ros.training.preview import pair_sheet, random_pairs
from vloc_ros.training.sources import (
    FIRST_TRAINING_SEED,
    HomographyPairs,
    HomographySettings,
    RecordingPairs,
    SetPlan,
    SimulatedPairs,
    StaticPairs,
    render_training_set,
)
from vloc_ros.training.sources.homographies import look, random_views, warp_between
from vloc_ros.training.sources.warp import there_and_back

PLAN = SetPlan(
    conditions=("noon", "night", "leaves_off"),
    always=(("noon",), ("night", "leaves_off")),
    places=1,
    views=3,
    per_view=2,
    scale=0.5,
)
SMALL = HomographySettings(width=160, height=120)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("views")
    assert render_training_set(folder, [SITE], PLAN) == 6
    return folder


@pytest.fixture(scope="module")
def cameras(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two fixed cameras; three images each, of which the second is darker."""
    root = tmp_path_factory.mktemp("cameras")
    for camera in range(2):
        scene = textured(camera)
        for hour, share in enumerate((1.0, 0.6, 0.9)):
            write_image(root / f"camera_{camera}" / f"{hour}.png", np.asarray(scene * share, dtype=np.uint8))
    return root


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    write_image(root / "colour.png", textured(5, 260, 140))
    write_image(root / "deeper" / "grey.png", textured(6, 100, 180, colours=1))
    return root


@pytest.fixture(scope="module")
def sources(rendered: Path, cameras: Path, pictures: Path) -> dict[str, PairSource]:
    return {
        "simulated": SimulatedPairs(rendered, between=[("noon", "noon")]),
        "static": StaticPairs(cameras, SMALL),
        "homography": HomographyPairs(pictures, SMALL),
        "recording": RecordingPairs(lambda: [drive()], "tiny"),
    }


KINDS = ("simulated", "static", "homography", "recording")


@pytest.mark.parametrize("kind", KINDS)
class TestContract:
    """What :class:`vloc_ros.training.pairs.PairSource` promises."""

    def test_shapes(self, sources: dict[str, PairSource], kind: str) -> None:
        source = sources[kind]
        assert len(source) >= 2
        for index in range(2):
            pair = source.pair(index, np.random.default_rng(index))
            assert pair.image_a.dtype == pair.image_b.dtype == np.uint8
            assert pair.image_a.shape == pair.image_b.shape
            assert pair.warp.dtype == np.float32 and pair.warp.shape == (*pair.image_a.shape[:2], 2)
            assert pair.tag
            check_stereo(pair)

    def test_warp_maps_a_pixel_to_what_looks_the_same(self, sources: dict[str, PairSource], kind: str) -> None:
        pairs = random_pairs(sources[kind], 4)
        right = [similarity(pair) for pair in pairs]
        # Were the warp wrong by a few pixels, or another pixel's, the images would not agree like this.
        wrong = [similarity(replace(pair, warp=pair.warp + np.float32(6.0))) for pair in pairs]
        assert min(right) >= 0.9
        assert all(r - w >= 0.02 for r, w in zip(right, wrong, strict=True))

    def test_unknown_is_not_a_number_and_known_is_inside(self, sources: dict[str, PairSource], kind: str) -> None:
        for pair in random_pairs(sources[kind], 4):
            known = np.isfinite(pair.warp)
            assert np.array_equal(known[..., 0], known[..., 1])
            assert 0.05 <= known[..., 0].mean() <= 1.0
            height, width = pair.image_b.shape[:2]
            positions = pair.warp[known[..., 0]]
            assert positions.min() >= 0.0 and (positions <= [width - 1, height - 1]).all()

    def test_only_the_generator_decides(self, sources: dict[str, PairSource], kind: str) -> None:
        source = sources[kind]
        first, again = (source.pair(1, np.random.default_rng(7)) for _ in range(2))
        assert same(first, again)
        others = [source.pair(1, np.random.default_rng(seed)) for seed in range(12)]
        assert not all(same(first, other) for other in others)


class TestSimulated:
    def test_a_set_broken_off_goes_on_where_it_was(self, rendered: Path, tmp_path: Path) -> None:
        folder = tmp_path / "set"
        shutil.copytree(rendered, folder)
        missing = [next((folder / "tiny").glob("*_night.png")), folder / "tiny" / "views.json"]
        wanted = [file.read_bytes() for file in missing]
        for file in missing:
            file.unlink()
        with pytest.raises(DataError, match="no complete site"):
            SimulatedPairs(folder)
        render_training_set(folder, [SITE], PLAN)
        assert [file.read_bytes() for file in missing] == wanted

    def test_each_view_is_seen_in_one_condition_of_each_group(self, rendered: Path) -> None:
        views = json.loads((rendered / "tiny" / "views.json").read_text())["views"]
        conditions = [{image["condition"] for image in view["images"]} for view in views]
        assert conditions == [{"noon", "night"}, {"noon", "leaves_off"}, {"noon", "night"}]

    def test_seasons_have_their_own_geometry(self, rendered: Path) -> None:
        source = SimulatedPairs(rendered)
        summer, bare = (next(v for v in source.views if v.condition == name) for name in ("noon", "leaves_off"))
        assert summer.inverse_depth.name.endswith("leaves0.depth.png") and bare.inverse_depth.name.endswith("bare0.depth.png")
        same_view = [v for v in source.views if np.array_equal(v.world_T_camera, bare.world_T_camera)]
        pair = source.pair_of(*same_view)
        known = np.isfinite(pair.warp[..., 0])
        grid = np.stack(np.meshgrid(*(np.arange(n) for n in pair.image_a.shape[1::-1])), axis=2)
        assert np.abs(pair.warp - grid)[known].max() <= 1e-3  # one pose: nothing moves, but leaves hide what twigs do not
        assert pair.stereo is not None
        solid = np.isfinite(pair.stereo.disparity_a)
        assert 0.5 < known[solid].mean() < 1.0

    def test_conditions_can_be_chosen(self, rendered: Path) -> None:
        source = SimulatedPairs(rendered, between=[("noon", "night")], moved_only=True)
        for pair in random_pairs(source, 5):
            assert pair.tag == "sim:tiny:noon>night"
            assert pair.stereo is not None and se3.translation_norm(pair.stereo.b_T_a) > 0.01
        with pytest.raises(DataError, match="noon>fog"):
            SimulatedPairs(rendered, between=[("noon", "fog")])

    def test_the_left_image_is_that_of_the_pair(self) -> None:
        renderer = Renderer(drive().world, named_condition("rain"), drive().rig, detail="fast")
        pose = drive().world_T_base[0]
        assert np.array_equal(renderer.left(pose, 5), renderer.stereo(pose, 5).left)

    def test_training_seeds_are_not_those_of_the_sites_that_are_driven(self) -> None:
        assert not {site.seed for site in sites(100)} & {site.seed for site in sites(100, FIRST_TRAINING_SEED)}

    def test_bad_sets(self, rendered: Path, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="another plan"):
            render_training_set(rendered, [SITE], replace(PLAN, views=2))
        with pytest.raises(ConfigError, match="at least one site"):
            render_training_set(tmp_path, [], PLAN)
        with pytest.raises(DataError, match=r"no set\.json"):
            SimulatedPairs(tmp_path)
        folder = tmp_path / "set"
        shutil.copytree(rendered, folder)
        source = SimulatedPairs(folder)
        image = source.views[0].image
        image.write_bytes(image.read_bytes()[:1000])
        with pytest.raises(DataError, match=image.name):
            source.pair_of(source.views[0], source.views[1])
        (folder / "tiny" / "views.json").write_text('{"site": "tiny"}')
        with pytest.raises(DataError, match=r"views\.json is damaged"):
            SimulatedPairs(folder)

    @pytest.mark.parametrize(
        "change",
        [
            {"always": ()},
            {"per_view": 1},
            {"per_view": 9},
            {"views": 0},
            {"across_m": 3.0},
            {"conditions": ("noon", "brunch")},
            {"always": (("fog",),)},
        ],
    )
    def test_bad_plans(self, change: dict[str, object]) -> None:
        if change == {"always": ()}:
            assert SetPlan(always=()).per_view == 5  # no group is fine
            return
        with pytest.raises(ConfigError):
            replace(PLAN, **change)  # type: ignore[arg-type]


class TestStatic:
    def test_cameras_are_chosen_by_name(self, cameras: Path) -> None:
        assert list(StaticPairs(cameras, SMALL, exclude=["*_1"]).cameras) == ["camera_0"]
        with pytest.raises(DataError, match="webcam"):
            StaticPairs(cameras, SMALL, include=["webcam*"])

    def test_blank_damaged_and_odd_images_are_left_out(
        self, cameras: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        folder = tmp_path / "camera"
        shutil.copytree(cameras / "camera_0", folder)
        write_image(folder / "black.png", np.zeros((150, 200, 3), dtype=np.uint8))
        write_image(folder / "grey.png", np.full((150, 200, 3), 128, dtype=np.uint8))
        write_image(folder / "small.png", textured(1, 80, 60))
        (folder / "cut.png").write_bytes((folder / "0.png").read_bytes()[:500])
        with caplog.at_level("INFO"):
            source = StaticPairs(folder, SMALL)
        assert [file.name for file in source.cameras["camera"]] == ["0.png", "1.png", "2.png"]
        assert "2 blank, 1 damaged, 1 of another size" in caplog.text and "cut.png" in caplog.text

    def test_too_few_images(self, cameras: Path, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="neither images nor folders"):
            StaticPairs(tmp_path, SMALL)
        (tmp_path / "one").mkdir()
        shutil.copy(cameras / "camera_0" / "0.png", tmp_path / "one")
        with pytest.raises(DataError, match="two images"):
            StaticPairs(tmp_path, SMALL)
        with pytest.raises(DataError, match="missing"):
            StaticPairs(tmp_path / "missing", SMALL)

    def test_the_partner_is_another_image(self, cameras: Path) -> None:
        source = StaticPairs(cameras, SMALL)
        for seed in range(8):
            pair = source.pair(1, np.random.default_rng(seed))  # image 1 is the dark one
            assert pair.tag == "static:camera_0"
            assert to_grey(pair.image_a).mean() < 0.85 * to_grey(pair.image_b).mean()


class TestHomography:
    def test_grey_stays_grey(self, pictures: Path) -> None:
        source = HomographyPairs(pictures, SMALL)
        assert [source.pair(k, np.random.default_rng(0)).image_a.ndim for k in range(2)] == [3, 2]

    def test_bad_folders(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="no images"):
            HomographyPairs(tmp_path)
        with pytest.raises(DataError, match="no folder"):
            HomographyPairs(tmp_path / "missing")
        (tmp_path / "broken.png").write_bytes(b"not an image")
        with pytest.raises(DataError, match=r"broken\.png"):
            HomographyPairs(tmp_path).pair(0, np.random.default_rng(0))

    def test_there_and_back_is_home(self) -> None:
        size = (200, 150)
        for seed in range(5):
            a, b = random_views(size, np.random.default_rng(seed), SMALL)
            there, back = warp_between(a, b, size, SMALL), warp_between(b, a, size, SMALL)
            known = np.isfinite(there[..., 0])
            home = there_and_back(there, back, 0.1)
            assert np.isfinite(home[..., 0]).sum() >= 0.95 * known.sum()  # all but some beside unknown pixels

    def test_a_large_image_is_averaged(self) -> None:
        stripes = np.zeros((900, 1200), dtype=np.uint8)
        stripes[:, ::2] = 255
        a, _ = random_views((1200, 900), np.random.default_rng(2), SMALL)
        assert np.abs(look(stripes, a, SMALL).astype(float) - 127.5).max() <= 40.0  # not black and white moire


def test_sheet_shows_pairs_of_several_sources(sources: dict[str, PairSource], rendered: Path) -> None:
    pairs = [pair for kind in KINDS for pair in random_pairs(sources[kind], 1)]
    plain = pair_sheet(pairs, columns=3, points=0, scale=0.5)
    marked = pair_sheet(pairs, columns=3, points=9, scale=0.5)
    height, width = pairs[0].image_a.shape[:2]
    assert marked.shape == (2 * round(height * 0.5), 3 * 2 * round(width * 0.5), 3)
    assert not np.array_equal(plain, marked)
    with pytest.raises(ConfigError):
        pair_sheet([])
