"""Training of the homography network: pairs as it sees them, its losses, and runs from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from data_samples import texture  # noqa: E402

from vloc_ros.cli import main  # noqa: E402
from vloc_ros.config import from_dict  # noqa: E402
from vloc_ros.data.output import write_image  # noqa: E402
from vloc_ros.data.weights import load_weights  # noqa: E402
from vloc_ros.networks import Backbone  # noqa: E402
from vloc_ros.networks.dhe import corners, patch_centres  # noqa: E402
from vloc_ros.networks.two_stage import random_two_stage  # noqa: E402
from vloc_ros.networks.two_stage_files import load_two_stage, save_two_stage  # noqa: E402
from vloc_ros.training import run_folder  # noqa: E402
from vloc_ros.training.augmentation import AugmentationSettings  # noqa: E402
from vloc_ros.training.homography_feed import (  # noqa: E402
    Cut,
    HomographyFeed,
    PatchImageSettings,
    mirrored,
    random_cuts,
    squeezed,
    whole,
)
from vloc_ros.training.homography_objective import (  # noqa: E402
    HomographyObjective,
    HomographyObjectiveSettings,
    patch_loss,
    place_loss,
    warp_loss,
)
from vloc_ros.training.homography_registry import settings_of  # noqa: E402
from vloc_ros.training.pairs import PairSource, TrainingPair  # noqa: E402
from vloc_ros.training.positive_pairs import PositivePairs  # noqa: E402
from vloc_ros.training.sampling import Weighted  # noqa: E402
from vloc_ros.training.settings import TrainingSettings  # noqa: E402
from vloc_ros.training.vpr_sources import Shot, VprSource  # noqa: E402

TINY = ["--set", "training.epochs=2", "--set", "training.samples=4", "--set", "training.batch=2", "--set", "training.workers=0"]


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    """One thread, and no pictures of curves."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(run_folder, "write_curves", lambda *_: None)
    yield
    torch.set_num_threads(before)


def moved(number: int, width: int = 320, height: int = 240, du: int = 24, dv: int = 10) -> TrainingPair:
    """A texture and the same moved by whole pixels."""
    large = texture(number, True, (width + du, height + dv))
    v, u = np.mgrid[:height, :width].astype(np.float32)
    warp = np.stack([u - du, v - dv], -1)
    warp[(warp < 0).any(-1)] = np.nan
    return TrainingPair(large[:height, :width].copy(), large[dv:, du:].copy(), warp.astype(np.float32), None, f"moved:{number}:x")


class Moved(PairSource):
    def __len__(self) -> int:
        return 4

    def pair(self, index: int, rng: np.random.Generator) -> TrainingPair:
        return moved(index)


def photos(folder: Path, count: int = 3) -> Path:
    for number in range(count):
        write_image(folder / f"{number}.png", texture(number, True, (160, 120)))
    return folder


def test_targets_of_whole_images_are_the_truth_in_shares():
    sample = squeezed(pair := moved(1), whole(pair.image_a), whole(pair.image_b), 256)
    known = np.isfinite(sample.targets).all(1)
    shift = patch_centres(16).numpy()[known] - sample.targets[known]
    np.testing.assert_allclose(shift, np.broadcast_to([24 / 320 * 256, 10 / 240 * 256], shift.shape), atol=0.6)  # of whole pixels
    assert 0.7 < known.mean() < 1.0, "what b does not show is not known"


@pytest.mark.parametrize("flip", [False, True])
def test_targets_of_cuts_show_the_same(flip):
    pair = moved(2)
    sample = squeezed(pair, Cut(40, 20, 240, 200), Cut(10, 5, 260, 210), 256)
    sample = mirrored(sample, 256) if flip else sample
    a, b = (cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (0, 0), 2) for image in (sample.image_a, sample.image_b))
    known = np.isfinite(sample.targets).all(1)
    centres = patch_centres(16).numpy()[known]
    inner = (np.minimum(sample.targets[known], 255 - sample.targets[known]) > 6).all(1)
    grey_a, grey_b = (_at(image, at[inner]) for image, at in ((a, centres), (b, sample.targets[known])))
    assert inner.sum() > 100
    assert np.corrcoef(grey_a, grey_b)[0, 1] > 0.97
    assert np.corrcoef(grey_a, _at(b, centres[inner]))[0, 1] < 0.7, "or the test says nothing"


def _at(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    return cv2.remap(image.astype(np.float32), (points - 0.5).astype(np.float32)[None], None, cv2.INTER_LINEAR)[0]


def test_random_cuts_stay_inside_and_overlap():
    pair, settings, rng = moved(3), PatchImageSettings(whole=0.0, min_area=0.3), np.random.default_rng(1)
    shares = []
    for _ in range(50):
        cuts = random_cuts(pair, rng, settings)
        for cut in cuts:
            assert 0 <= cut.left <= 320 - cut.width and 0 <= cut.top <= 240 - cut.height
            assert cut.width * cut.height >= 0.28 * 320 * 240
        shares.append(np.isfinite(squeezed(pair, *cuts, 64).targets).all(1).mean())
    assert np.mean(shares) > 0.5


def test_the_feed_prepares_what_the_network_takes_and_repeats_itself():
    settings = from_dict(TrainingSettings, {"samples": 8, "batch": 2, "workers": 0})
    feed = HomographyFeed(
        [Weighted(Moved(), 1.0, "moved")], [], settings, PatchImageSettings(), AugmentationSettings(), Backbone.CCT_SMALL.size
    )
    made = [feed.sample(Moved(), 1, np.random.default_rng(5), True) for _ in range(2)]
    assert np.array_equal(made[0].image_a, made[1].image_a) and np.array_equal(made[0].targets, made[1].targets, equal_nan=True)
    other = feed.sample(Moved(), 2, np.random.default_rng(5), True)
    batch = feed.on_device(feed.collate([made[0], made[1], other]), torch.device("cpu"))
    assert batch.images.shape == (6, 3, 256, 256) and batch.targets.shape == (3, 256, 2)
    assert batch.scenes[0] == batch.scenes[1] != batch.scenes[2]


def test_patches_that_are_where_they_belong_cost_nothing():
    generator = torch.Generator().manual_seed(1)
    a = torch.nn.functional.normalize(torch.randn(1, 64, 16, 16, generator=generator), dim=1)
    b = torch.roll(a, (1, 2), (2, 3))  # down by one patch, along by two
    targets = patch_centres(16)[None] + torch.tensor([32.0, 16.0])
    targets[(targets > 256).any(2)] = float("nan")
    loss, right = patch_loss(a, b, targets, 0.02)
    assert float(loss) < 1e-3 and right == 1.0
    wrong, found = patch_loss(a, torch.roll(b, 5, 3), targets, 0.02)
    assert float(wrong) > 10.0 and found < 0.1
    nothing, _ = patch_loss(a, b, torch.full_like(targets, float("nan")), 0.02)
    assert float(nothing) == 0.0


def test_a_truth_between_two_patches_is_shared():
    b = torch.nn.functional.normalize(torch.randn(1, 64, 16, 16, generator=torch.Generator().manual_seed(1)), dim=1)
    targets = torch.full((1, 256, 2), float("nan"))
    targets[0, 0] = torch.tensor([8.0 + 12.0, 8.0])  # three quarters of the way from the first patch to the second

    def cost(share: float) -> float:
        a = torch.zeros_like(b)
        a[0, :, 0, 0] = (1 - share) * b[0, :, 0, 0] + share * b[0, :, 0, 1]
        return float(patch_loss(torch.nn.functional.normalize(a, dim=1), b, targets, 0.2)[0])

    assert cost(0.7) < min(cost(0.0), cost(1.0))


def test_places_that_may_be_the_same_are_no_negatives():
    a = torch.eye(3)
    scenes = torch.tensor([1, 1, 2])
    alike = torch.stack([a[0], a[0], a[2]])  # the second shows what the first does, and belongs to its scene
    loss, right = place_loss(alike, alike, scenes, 0.05)
    assert float(loss) < 1e-6 and right == 1.0
    confused, _ = place_loss(alike, alike, torch.tensor([1, 3, 2]), 0.05)
    assert float(confused) == pytest.approx(2 / 3 * np.log(2), abs=1e-3)


def test_the_warp_loss_is_least_at_the_truth_and_its_gradient_leads_there():
    size = 256
    truth = torch.tensor([[1.05, 0.03, -8.0], [-0.02, 0.97, 6.0], [2e-4, -1e-4, 1.0]])
    sources = patch_centres(16)[None]
    mapped = torch.cat([sources[0], torch.ones(256, 1)], 1) @ truth.T
    targets = (mapped[:, :2] / mapped[:, 2:])[None]
    square = (corners(size) + 0.0)[None]
    wanted = torch.cat([corners(size), torch.ones(4, 1)], 1) @ truth.T
    exact = torch.cat([square, (wanted[:, :2] / wanted[:, 2:])[None]], 1)
    loss, near = warp_loss(exact, sources, targets, size)
    assert float(loss) < 5e-3 and near == 1.0
    points = torch.cat([square, square], 1).requires_grad_()
    optimizer = torch.optim.Adam([points], lr=0.5)
    first = float(warp_loss(points, sources, targets, size)[0].detach())
    for _ in range(200):
        optimizer.zero_grad()
        warp_loss(points, sources, targets, size)[0].backward()
        optimizer.step()
    assert float(warp_loss(points, sources, targets, size)[0].detach()) < 0.1 * first


def test_what_is_no_homography_has_no_gradient_and_nothing_near():
    targets = patch_centres(16)[None]
    flat = torch.tensor([[[0.0, 0.0], [256.0, 0.0], [128.0, 0.0], [64.0, 0.0]] * 2]).requires_grad_()
    loss, near = warp_loss(flat, targets, targets, 256)
    loss.backward()
    assert near == 0.0 and torch.isfinite(flat.grad).all() and float(flat.grad[:, 4:].abs().sum()) == 0.0


def test_the_homography_teaches_the_backbone_only_if_it_may():
    network = random_two_stage(Backbone.CCT_SMALL).train()
    sample = squeezed(pair := moved(1), whole(pair.image_a), whole(pair.image_b), 256)
    settings = from_dict(TrainingSettings, {"samples": 2, "batch": 1, "workers": 0})
    feed = HomographyFeed([Weighted(Moved(), 1.0, "m")], [], settings, PatchImageSettings(), AugmentationSettings(), 256)
    batch = feed.on_device(feed.collate([sample]), torch.device("cpu"))
    for through in (True, False):
        network.zero_grad()
        objective = HomographyObjective(HomographyObjectiveSettings(rei=0.0, warp=1.0, through=through), 256)
        loss, terms = objective(network, batch, 0)
        loss.backward()
        taught = sum(float(p.grad.abs().sum()) for p in network.place.encoder.parameters() if p.grad is not None)
        assert (taught > 0.0) == through and terms["warp"] > 0.0
        assert float(network.regression.points.weight.grad.abs().sum()) > 0.0


def test_it_trains_from_random_weights_and_goes_on_alike(tmp_path, capsys):
    data = ["--data", f"homography:{photos(tmp_path / 'photos')}", "--held-out", f"homography:{tmp_path / 'photos'}"]
    more = [*TINY, "--set", "training.validation_samples=2"]
    assert main(["train", "dhe", *data, *more, "--out", str(tmp_path / "run")]) == 0
    network, card = load_two_stage(tmp_path / "run" / "best.safetensors")
    assert card.network == "dhe" and card.backbone == "cct_small" and "homography:photos" in card.trained_on
    rows = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    assert len(rows) == 2 and {"patch", "place", "warp", "near", "task"} <= set(rows[0])
    # published: from there, the homography network alone
    args = ["train", "dhe", "--start", str(tmp_path / "run" / "best.safetensors"), *data, *TINY, "--json"]
    assert main([*args, "--out", str(tmp_path / "second"), "--set", "training.learning_rate=0.001"]) == 0
    second, after = load_two_stage(tmp_path / "second" / "best.safetensors")
    before, made = network.state_dict(), second.state_dict()
    changed = {name for name in made if not torch.equal(made[name], before[name])}
    assert changed and all(name.startswith("regression.") for name in changed)
    assert after.parent == card.sha256


def test_a_run_in_two_parts_ends_as_one_in_one(tmp_path):
    data = ["--data", f"homography:{photos(tmp_path / 'photos')}", *TINY, "--set", "training.validation_samples=0"]
    data += ["--set", "training.schedule=constant"]
    first = [part.replace("training.epochs=2", "training.epochs=1") for part in data]
    assert main(["train", "dhe", *data, "--out", str(tmp_path / "one")]) == 0
    assert main(["train", "dhe", *first, "--out", str(tmp_path / "two")]) == 0
    assert main(["train", "dhe", *data, "--out", str(tmp_path / "two")]) == 0
    one, two = (load_weights(tmp_path / name / "best.safetensors")[0] for name in ("one", "two"))
    assert all(np.array_equal(one[name], two[name]) for name in one)


def test_the_published_settings():
    settings = settings_of("published")
    training, objective = settings.training, settings.objective
    assert (training.epochs, training.steps_per_epoch, training.batch, training.learning_rate) == (100, 2000, 16, 1e-4)
    assert (training.rate_step * training.steps_per_epoch, training.rate_factor) == (10_000, 0.8)
    assert (objective.rei, objective.patch, objective.place, objective.warp, objective.rei_threshold_px) == (
        1.0,
        0.0,
        0.0,
        0.0,
        24.0,
    )
    assert settings.images.min_area == 0.7 and settings.learned.value == "nothing"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--recipe", "published", "--data", "homography:{photos}", "--out", "{tmp}/run"], "--start"),
        (["--data", "homography:{photos}"], "--out"),
        (["--data", "nonsense:{photos}", "--out", "{tmp}/run"], "nonsense"),
        (["--data", "tree:{photos}", "--out", "{tmp}/run"], "photos"),
        (
            ["--network", "cct14", "--start", "{tmp}/small.safetensors", "--data", "homography:{photos}", "--out", "{tmp}/run"],
            "--network",
        ),
    ],
)
def test_what_cannot_be_trained_is_said(tmp_path, capsys, arguments, said):
    photos(tmp_path / "photos")
    save_two_stage(tmp_path / "small.safetensors", random_two_stage(Backbone.CCT_SMALL), "nothing")
    values = {"photos": str(tmp_path / "photos"), "tmp": str(tmp_path)}
    assert main(["train", "dhe", *(part.format(**values) for part in arguments)]) != 0
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error


def test_pairs_of_places_are_a_query_and_a_positive_of_which_nothing_is_known():
    sizes = [(64, 48), (80, 60), (96, 48), (100, 50)]
    shots = tuple(Shot(f"#{k}", lambda k=k, size=size: texture(k, True, size)) for k, size in enumerate(sizes))
    rows = [np.array([2, 3])]
    pairs, rng = PositivePairs(VprSource("some", shots, np.array([1]), np.array([0, 2, 3]), rows, rows)), np.random.default_rng(1)
    assert len(pairs) == 1
    seen = set()
    for _ in range(10):
        pair = pairs.pair(0, rng)
        assert pair.image_a.shape == (60, 80, 3) and pair.warp.shape == (60, 80, 2) and not np.isfinite(pair.warp).any()
        seen.add(pair.image_b.shape)
        sample = squeezed(pair, *random_cuts(pair, rng, PatchImageSettings()), 64)
        assert sample.image_b.shape == (64, 64, 3) and not np.isfinite(sample.targets).any()
    assert seen == {(48, 96, 3), (50, 100, 3)}, "each positive has its turn, and nothing else"


@pytest.mark.parametrize("database", ["database", "gallery"])
def test_it_learns_from_a_tree_without_a_truth(tmp_path, database):
    for number in range(2):
        for folder, metres in ((database, 0), ("queries", 3)):
            name = f"@{1000.0 + 100 * number + metres:010.2f}@{5000.0:010.2f}@17@T@0@0@@@@@@@20200101@@.png"
            write_image(tmp_path / "tree" / "images" / "train" / folder / name, texture(number, True, (160, 120)))
    save_two_stage(tmp_path / "start.safetensors", random_two_stage(Backbone.CCT_SMALL), "nothing")
    start = ["--start", str(tmp_path / "start.safetensors"), "--data", f"tree:{tmp_path / 'tree'}"]
    assert main(["train", "dhe", *start, *TINY, "--out", str(tmp_path / "run")]) == 0
    rows = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    assert all("rei" in row and "warp" not in row for row in rows)
