"""Local features judged by known truth: the truths, the numbers, the data sets, and the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from vloc_ros.cli import main
from vloc_ros.data.places import Picture
from vloc_ros.errors import ConfigError, DataError
from vloc_ros.evaluation.feature_run import evaluate_features
from vloc_ros.evaluation.feature_scores import judge, summarise
from vloc_ros.evaluation.grief_pairs import open_grief
from vloc_ros.evaluation.judged_pairs import HomographyTruth, JudgedPair, ShiftTruth, WarpTruth, warped_pair
from vloc_ros.evaluation.static_cameras import PairChoice, nights, open_static
from vloc_ros.features import FeatureExtractor, Features, MatchSettings, Metric, create_extractor, match

SIZE = (320, 240)
HOMOGRAPHY = np.array([[0.96, 0.07, 10.0], [-0.05, 0.98, 14.0], [4e-5, -3e-5, 1.0]])
STAMPS = ("20240101_120000", "20240102_120000", "20240103_000000", "20240104_000000", "20240501_120000")


def scene(seed: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A grey picture with structure at several scales."""
    rng = np.random.default_rng(seed)
    total = np.zeros((size[1], size[0]))
    for cells in (12, 40, 120):
        coarse = rng.normal(size=(cells * size[1] // size[0], cells)).astype(np.float32)
        total += cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    return np.clip(128 + 40 * total, 0, 255).astype(np.uint8)


def picture(image: np.ndarray, name: str = "image") -> Picture:
    return Picture(name, lambda: image)


def pair_of(a: np.ndarray, b: np.ndarray, truth: Any, data: str = "made up", condition: str = "easy") -> JudgedPair:
    return JudgedPair(picture(a, "a"), picture(b, "b"), truth, data, "group", condition)


class Grid(FeatureExtractor):
    """One key point per window, always at its centre, described by the pixels around it: what must not fool the evaluation."""

    name, metric, descriptor_size, fingerprint = "grid", Metric.COSINE, 121, "grid"

    def __init__(self, max_features: int) -> None:
        self.max_features = max_features

    def extract(self, image: np.ndarray) -> Features:
        u, v = np.meshgrid(np.arange(8, image.shape[1] - 8, 16), np.arange(8, image.shape[0] - 8, 16))
        points = np.stack([u.ravel(), v.ravel()], axis=1)
        patches = np.stack([image[v - 5 : v + 6, u - 5 : u + 6].ravel() for u, v in points]).astype(np.float32)
        patches -= patches.mean(axis=1, keepdims=True)
        patches /= np.linalg.norm(patches, axis=1, keepdims=True) + 1e-6
        one = np.ones(len(points), dtype=np.float32)
        return Features(points.astype(np.float32), one, one, patches, one * np.nan)


class Refusing(Grid):
    def extract(self, image: np.ndarray) -> Features:
        raise DataError("no such image please")


# --- truths


def test_truths_lead_there_and_back() -> None:
    rng = np.random.default_rng(1)
    points = rng.uniform([40, 40], [280, 200], (50, 2))
    grid = np.stack(np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1])), axis=-1)
    homography = HomographyTruth(HOMOGRAPHY)
    warp = homography.b_of_a(grid.reshape(-1, 2)).reshape(grid.shape).astype(np.float32)
    for truth, exact in ((homography, 1e-9), (ShiftTruth((5.0, -3.0)), 1e-9), (WarpTruth(warp, SIZE), 1.5)):
        assert np.abs(truth.a_of_b(truth.b_of_a(points)) - points).max() <= exact
        assert (truth.errors(points, truth.b_of_a(points)) <= 1e-9).all()
        assert truth.errors(points, truth.b_of_a(points) + np.array([0.0, 4.0])) == pytest.approx(4.0)
    assert np.abs(WarpTruth(warp, SIZE).b_of_a(points) - homography.b_of_a(points)).max() < 0.1


def test_what_is_not_known_is_never_right() -> None:
    warp = np.full((20, 30, 2), np.nan, dtype=np.float32)
    warp[5, 7] = (3.0, 4.0)
    truth = WarpTruth(warp, (30, 20))
    assert truth.errors(np.array([[7.0, 5.0], [8.0, 9.0], [90.0, 0.0]]), np.array([[3.0, 4.0]] * 3)).tolist() == [
        0.0,
        np.inf,
        np.inf,
    ]
    with pytest.raises(DataError, match="invertible"):
        HomographyTruth(np.zeros((3, 3)))


def test_vertical_slack_forgives_only_the_vertical() -> None:
    truth = ShiftTruth((10.0, 0.0), vertical_slack_px=64.0)
    there = np.array([[20.0, 60.0], [20.0, 66.0], [24.0, 0.0]])
    assert truth.errors(np.array([[10.0, 0.0]] * 3), there).tolist() == [0.0, 2.0, 4.0]


# --- numbers


def features(points: list[tuple[float, float]], rows: list[int]) -> Features:
    """Key points whose descriptors are equal exactly where their rows are."""
    count = len(points)
    one = np.ones(count, dtype=np.float32)
    return Features(np.array(points, dtype=np.float32).reshape(-1, 2), one, one, np.eye(8, dtype=np.float32)[rows], one)


def test_numbers_by_hand() -> None:
    a = features([(10, 10), (20, 10), (30, 10), (95, 10)], [0, 1, 2, 3])  # the last is not in b
    b = features([(20, 10), (31, 12), (60, 60), (2, 2)], [0, 1, 2, 5])  # the last is not in a
    score = judge(
        a, b, match(a, b, Metric.COSINE, MatchSettings()), ((100, 100), (100, 100)), ShiftTruth((10.0, 0.0)), Metric.COSINE
    )
    assert (score.keypoints, score.visible, score.repeated, score.right) == ((4, 4), 3, 2, 2)
    assert score.errors == pytest.approx([0.0, np.hypot(1, 2), np.hypot(20, 50)])
    summary = summarise([score])
    assert summary.right_share == pytest.approx(200 / 3) and summary.matching_score == pytest.approx(200 / 3)
    assert summary.repeatability == pytest.approx(200 / 3) and summary.enough_share == 0.0
    assert score.matched[1].tolist() == [20.0, 10.0, 31.0, 12.0]


def test_nothing_found_counts_as_zero() -> None:
    none, some = features([], []), features([(1, 1)], [0])
    for a, b in ((none, some), (some, none), (none, none)):
        found = match(a, b, Metric.COSINE, MatchSettings())
        score = judge(a, b, found, ((9, 9), (9, 9)), ShiftTruth((0.0, 0.0)), Metric.COSINE)
        assert (score.right, score.repeated, len(score.errors)) == (0, 0, 0)
        assert summarise([score]).matching_score == summarise([score]).right_share == 0.0


@pytest.mark.parametrize("name", ["sift", "orb"])
def test_an_easy_homography_is_found_and_a_wrong_truth_is_not(name: str) -> None:
    a = scene()
    b = cv2.warpPerspective(a, HOMOGRAPHY, SIZE)
    extractor = create_extractor(name, 500)
    pairs = [pair_of(a, b, HomographyTruth(HOMOGRAPHY)), pair_of(a, b, ShiftTruth((-60.0, 50.0)), condition="wrong truth")]
    found = evaluate_features({name: extractor}, pairs).summaries()
    right, wrong = found["made up", "easy"][0], found["made up", "wrong truth"][0]
    assert right.right_share > 90.0 and right.matching_score > 35.0 and right.enough_share == 100.0
    assert right.repeatability is not None and right.repeatability > 40.0
    assert wrong.right_share < 5.0 and wrong.nearest_share < 5.0


def test_a_refused_image_is_a_failure_and_not_left_out() -> None:
    a = scene()
    found = evaluate_features({"grid": Grid(99), "refusing": Refusing(99)}, [pair_of(a, a, ShiftTruth((0.0, 0.0)))])
    good, bad = found.summaries()["made up", "easy"]
    assert (good.pairs, good.failed, bad.pairs, bad.failed) == (1, 0, 1, 1)
    assert bad.right == bad.matching_score == bad.enough_share == 0.0
    assert found.results[1].extract_ms is None and found.results[0].extract_ms is not None


def test_pairs_of_training() -> None:
    a = scene()
    b = np.roll(a, (6, 4), axis=(0, 1))
    grid = np.stack(np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1])), axis=-1)
    pair = warped_pair((a, b), (grid + np.array([4, 6])).astype(np.float32), "training", "0", "noon>night")
    found = evaluate_features({"orb": create_extractor("orb", 300)}, [pair])
    assert found.summaries()["training", "noon>night"][0].right_share > 95.0
    with pytest.raises(DataError, match="no pair"):
        evaluate_features({"orb": create_extractor("orb", 300)}, [])
    with pytest.raises(ConfigError, match="at least one"):
        evaluate_features({}, [pair])


# --- fixed cameras


@pytest.fixture
def camera(tmp_path: Path) -> Path:
    """Five images of one view: two days, two nights, and a day in another season."""
    folder = tmp_path / "cameras" / "yard"
    folder.mkdir(parents=True)
    for k, stamp in enumerate(STAMPS):
        image = scene(3).astype(np.float64) * (0.25 if stamp.endswith("000000") and "_000000" in stamp else 1.0)
        noisy = image + np.random.default_rng(k).normal(0.0, 2.0, image.shape)
        assert cv2.imwrite(str(folder / f"{stamp}.png"), np.clip(noisy, 0, 255).astype(np.uint8))
    return folder


def test_conditions_and_cuts(camera: Path) -> None:
    pairs = open_static([camera.parent], PairChoice(moved=0))
    conditions = sorted(pair.condition for pair in pairs)
    assert conditions == ["day-day", *["day-night"] * 6, "night-night", *["season"] * 2]
    assert all(pair.group == "yard" and pair.data == "static" for pair in pairs)
    shifts = {pair.truth.shift_px for pair in pairs}  # type: ignore[attr-defined]
    assert len(shifts) > 5 and any(u % 2 for u, _ in shifts) and any(u % 2 == 0 for u, _ in shifts)
    pair = next(pair for pair in pairs if pair.condition == "day-day")
    a, b = pair.image_a.read().astype(int), pair.image_b.read().astype(int)
    assert a.shape == b.shape == (SIZE[1] - 21, SIZE[0] - 21)
    inner = np.stack(np.meshgrid(np.arange(40, 260), np.arange(40, 180)), axis=-1).reshape(-1, 2)
    there = pair.truth.b_of_a(inner).astype(int)
    away = np.abs(a[inner[:, 1], inner[:, 0]] - b[there[:, 1], there[:, 0]])
    assert away.mean() < 4.0 < np.abs(a - b).mean()


def test_the_same_seed_chooses_the_same_pairs(camera: Path) -> None:
    def chosen(seed: int) -> list[tuple[str, str]]:
        return [(pair.name, pair.condition) for pair in open_static([camera], PairChoice(pairs=2, seed=seed))]

    assert chosen(1) == chosen(1) != chosen(2)
    assert sum(condition == "day-night" for _, condition in chosen(1)) == 2


def test_a_grid_shows(camera: Path) -> None:
    pairs = [pair for pair in open_static([camera], PairChoice(moved=6)) if pair.data == "grid"]
    for pair in pairs:
        u, v = pair.truth.shift_px  # type: ignore[attr-defined]
        parity = {"unmoved": u == v == 0, "moved evenly": u % 2 == v % 2 == 0 != u, "moved oddly": u % 2 == v % 2 == 1}
        assert parity[pair.condition]
    found = evaluate_features({"grid": Grid(1000)}, pairs).summaries()
    unmoved, even, odd = (found["grid", name][0] for name in ("unmoved", "moved evenly", "moved oddly"))
    assert unmoved.repeatability == 100.0 and unmoved.matching_score > 90.0
    assert even.matching_score < 0.5 * unmoved.matching_score and odd.matching_score < 0.5 * unmoved.matching_score


def test_nights() -> None:
    assert nights([150.0, 20.0, 140.0, 25.0, 120.0]) == [False, True, False, True, False]
    assert nights([110.0, 100.0, 105.0, 95.0]) == [False] * 4
    assert nights([30.0]) == [False]


def test_what_is_no_camera(tmp_path: Path, camera: Path) -> None:
    empty, single, mixed, small = (tmp_path / name for name in ("empty", "single", "mixed", "small"))
    for folder, sizes in ((empty, []), (single, [SIZE]), (mixed, [SIZE, SIZE[::-1]]), (small, [(40, 40)] * 2)):
        folder.mkdir()
        for k, size in enumerate(sizes):
            assert cv2.imwrite(str(folder / f"{k}.png"), scene(k, size))
    for folder, text in ((empty, "empty"), (single, "at least two"), (mixed, "did the camera change"), (small, "too small")):
        with pytest.raises(DataError, match=text):
            open_static([folder])
    with pytest.raises(DataError, match="not a folder"):
        open_static([tmp_path / "absent"])


# --- GRIEF


def grief(folder: Path, shift: int = 12) -> Path:
    """Two months of place 1, the second showing all ``shift`` pixels further right and 9 lower."""
    (folder / "images").mkdir(parents=True)
    (folder / "ground_truth").mkdir()
    wide = scene(5, (420, 260))
    assert cv2.imwrite(str(folder / "images" / "0101.jpg"), wide[20:240, 50:370])
    assert cv2.imwrite(str(folder / "images" / "0201.jpg"), wide[11:231, 50 - shift : 370 - shift])
    (folder / "ground_truth" / "location_1.txt").write_text(f"0 {shift} 3\n{-shift} 0 4\n1 2 0\n")
    return folder


def test_grief_shifts_have_the_right_sign(tmp_path: Path) -> None:
    pairs = open_grief(grief(tmp_path / "grief"))
    assert [(pair.image_a.name, pair.image_b.name) for pair in pairs] == [("0101", "0201")]  # month 3 is missing
    summary = evaluate_features({"sift": create_extractor("sift", 400)}, pairs).summaries()["grief", "season"][0]
    assert summary.right_share > 95.0 and summary.repeatability is None


def test_what_is_not_grief(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no GRIEF data set"):
        open_grief(tmp_path)
    folder = grief(tmp_path / "grief")
    table = folder / "ground_truth" / "location_1.txt"
    for text, reason in (("0 1\n", "as many numbers"), ("0 x\n1 0\n", "no matrix"), ("", "as many numbers")):
        table.write_text(text)
        with pytest.raises(DataError, match=reason):
            open_grief(folder)
    table.write_text("0 1\n1 0\n")
    (folder / "images" / "0201.jpg").unlink()
    with pytest.raises(DataError, match="no two images"):
        open_grief(folder)


# --- the command


def test_command(camera: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["evaluate", "features", "--features", "sift_fast,orb", "--static", str(camera), "--pairs", "2", "--moved", "1"]
    arguments += ["--grief", str(grief(tmp_path / "grief")), "--max-features", "300"]
    assert main([*arguments, "--out", str(tmp_path / "out"), "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert [own["name"] for own in values["extractors"]] == ["sift_fast", "orb"]
    parts = {(row["data"], row["part"]) for row in values["extractors"][0]["conditions"]}
    assert {("static", "day-night"), ("static", "season"), ("grid", "moved oddly"), ("grief", "season")} <= parts
    assert {row["part"] for row in values["extractors"][0]["groups"]} >= {"yard", "place 1"}
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("data:image/jpeg") == 2 * len({part for part in parts if part[1] != "all"})
    assert "sift_fast" in page and json.loads((tmp_path / "out" / "report.json").read_text())["pairs"] == values["pairs"]
    assert main(arguments) == 0
    assert "NN right" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--features", "orb"], "nothing to evaluate on"),
        (["--features", "nothing", "--static", "."], "unknown features 'nothing'"),
        (["--features", "orb,orb", "--static", "."], "names 'orb' twice"),
        (["--features", "orb", "--static", ".", "--max-features", "0"], "at least 1"),
        (["--features", "absent.safetensors", "--static", "."], "absent.safetensors"),
    ],
)
def test_command_refuses(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "features", *arguments]) == 1
    assert text in capsys.readouterr().err
