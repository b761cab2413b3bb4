"""Training of GLVL: that it learns, goes on where it was killed, writes both files of weights, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from vloc_ros.cli import main  # noqa: E402
from vloc_ros.config import replace  # noqa: E402
from vloc_ros.errors import ConfigError, DataError, TrainingError  # noqa: E402
from vloc_ros.networks.glvl import Glvl  # noqa: E402
from vloc_ros.networks.glvl_files import load_glvl, save_glvl, superpoint_of  # noqa: E402
from vloc_ros.networks.local_files import load_local_network, save_local_network  # noqa: E402
from vloc_ros.training import checkpoint, run_folder  # noqa: E402
from vloc_ros.training.distributed import Group  # noqa: E402
from vloc_ros.training.glvl_objective import GlvlLearner  # noqa: E402
from vloc_ros.training.glvl_registry import settings_of  # noqa: E402
from vloc_ros.training.glvl_training import GlvlJob, train_glvl  # noqa: E402
from vloc_ros.training.glvl_validation import GlvlValidator  # noqa: E402
from vloc_ros.training.ground_feed import GroundFeed  # noqa: E402
from vloc_ros.training.ground_labels import corners, label_site  # noqa: E402
from vloc_ros.training.ground_samples import GroundFeedSettings  # noqa: E402
from vloc_ros.training.ground_sites import open_ground  # noqa: E402
from vloc_ros.training.registry import DataSpec  # noqa: E402

TINY = {
    "width": 2,
    "blocks": "1-1-1-1",
    "descriptor": 8,
    "correspondences": 20,
    "view": {"side": 64, "zoom_max": 1.5},
    "labels": {"homographies": 2},
    "mining": {"negatives": 1, "refresh": 4},
    "training": {"samples": 8, "batch": 2, "epochs": 2, "workers": 0, "checkpoint_every": 1, "warm_up": 2, "cpu_bfloat16": False},
    "validation": {"queries": 4, "keypoints": 100},
}
ALONE = Group(0, 1, torch.device("cpu"))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(run_folder, "write_curves", lambda *_: None)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def ground(tmp_path) -> Path:
    """Two sites at noon and, in other colours, in autumn; and one in one condition."""
    rng = np.random.default_rng(1)
    for site in ("a", "b"):
        noon = cv2.resize(rng.integers(0, 255, (24, 24, 3), dtype=np.uint8), (160, 160), interpolation=cv2.INTER_CUBIC)
        for condition, image in (("noon", noon), ("autumn", 255 - noon // 2)):
            (tmp_path / "set" / site).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / "set" / site / f"{condition}.png"), image)
    cv2.imwrite(str(tmp_path / "set" / "c.png"), np.ascontiguousarray(noon[::-1]))
    return tmp_path / "set"


def settings(**changes):
    return replace(replace(settings_of("small"), TINY), changes)


def job(ground: Path, held_out: bool = False, **changes) -> GlvlJob:
    kept = ground.with_name("held_out")
    if held_out and not kept.exists():
        shutil.copytree(ground, kept)
    return GlvlJob(settings(**changes), [DataSpec("aerial", ground)], [DataSpec("aerial", kept)] if held_out else [])


def test_the_published_settings_build_the_published_network():
    published = settings_of("published")
    network = Glvl(published.form)
    assert sum(parameter.numel() for parameter in network.parameters()) == 25_945_732
    objective, mining, view = published.objective, published.mining, published.view
    assert (objective.margin, objective.hardest, objective.others, objective.descriptor) == (0.1, 10, 100, 1.0)
    assert (objective.descriptor_loss.value, objective.retrieval_loss.value) == ("hinge", "triplet")
    assert (mining.mining.value, mining.negatives, mining.refresh, mining.samples) == ("full", 10, 1000, 1000)
    assert (view.rotation_deg, view.scale, view.perspective) == (90.0, 0.2, 0.2)
    assert (published.training.optimizer.value, published.training.learning_rate) == ("adam", 1e-4)
    assert settings_of("small").form.vector == 512


def test_it_trains_validates_and_writes_both_files(ground, tmp_path):
    outcome, _ = train_glvl(job(ground, held_out=True), tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    assert len(rows) == 2 and outcome.best == max(row["task"] for row in rows)
    assert {"detector", "descriptor", "retrieval", "found", "matched", "recall", "located", "located_by_sift"} <= set(rows[0])
    network, card = load_glvl(tmp_path / "run" / "best.safetensors")
    assert network.form == settings().form and "random views of aerial:set" in card.trained_on
    local, local_card = load_local_network(tmp_path / "run" / "superpoint.safetensors")
    assert local_card.parent == card.sha256
    image = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        assert torch.equal(local(image).maps[0], superpoint_of(network)(image).maps[0])
    assert cv2.imread(str(tmp_path / "run" / "matches.png")) is not None
    assert len(list((tmp_path / "run" / "labels").glob("*.npz"))) == 3


def test_a_run_that_was_killed_goes_on_as_if_nothing_had_been(ground, tmp_path):
    """In the middle of a cache of mined places, with what balances the losses."""
    train_glvl(job(ground), tmp_path / "whole")

    def killed(progress):
        if progress.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_glvl(job(ground), tmp_path / "killed", killed)
    train_glvl(job(ground), tmp_path / "killed")
    whole, resumed = (checkpoint.read(tmp_path / name) for name in ("whole", "killed"))
    assert whole is not None and resumed is not None and set(whole.tensors) == set(resumed.tensors)
    for name, tensor in whole.tensors.items():
        assert torch.equal(tensor, resumed.tensors[name]), name
    assert int(whole.tensors["network.steps"]) == 8


def test_workers_change_nothing(ground, tmp_path):
    train_glvl(job(ground), tmp_path / "none")
    train_glvl(job(ground, training={"workers": 1}), tmp_path / "one")
    none, one = (checkpoint.read(tmp_path / name) for name in ("none", "one"))
    assert all(torch.equal(tensor, one.tensors[name]) for name, tensor in none.tensors.items())


def test_a_change_of_what_is_learned_is_refused(ground, tmp_path):
    train_glvl(job(ground), tmp_path / "run")
    with pytest.raises(ConfigError, match=r"objective\.balance"):
        train_glvl(job(ground, objective={"balance": "sum"}), tmp_path / "run")
    (ground / "c.png").unlink()
    with pytest.raises(ConfigError, match=r"data\.aerial:set"):
        train_glvl(job(ground), tmp_path / "run")


def test_key_points_are_found_once_for_a_run(ground, tmp_path):
    train_glvl(job(ground), tmp_path / "run")
    files = sorted((tmp_path / "run" / "labels").glob("*.npz"))
    stamps = [file.stat().st_mtime_ns for file in files]
    train_glvl(job(ground), tmp_path / "run")
    assert [file.stat().st_mtime_ns for file in files] == stamps
    files[0].write_bytes(b"?")
    with pytest.raises(TrainingError, match=r"00_00000_.*npz is damaged"):
        train_glvl(job(ground), tmp_path / "run")


def test_a_teacher_and_a_start_are_taken_up(ground, tmp_path):
    torch.manual_seed(5)
    first = Glvl(settings().form)
    save_glvl(tmp_path / "start.safetensors", first, "nothing")
    save_local_network(tmp_path / "teacher.safetensors", superpoint_of(first), "nothing")
    plain = job(ground, training={"learning_rate": 0.0, "epochs": 1})
    again = GlvlJob(plain.settings, plain.data, start=tmp_path / "start.safetensors", teacher=tmp_path / "teacher.safetensors")
    train_glvl(again, tmp_path / "run")
    network, card = load_glvl(tmp_path / "run" / "best.safetensors")
    assert torch.equal(network.stem.first[0].weight, first.stem.first[0].weight) and card.parent
    train_glvl(plain, tmp_path / "corners")
    names = [{file.name for file in (tmp_path / run / "labels").glob("*")} for run in ("run", "corners")]
    assert not names[0] & names[1]
    other = GlvlJob(replace(plain.settings, {"width": 3}), plain.data, start=tmp_path / "start.safetensors")
    with pytest.raises(ConfigError, match="give it the same width, blocks and descriptor"):
        train_glvl(other, tmp_path / "other")


def made_feed(ground: Path, folder: Path, **changes) -> GroundFeed:
    chosen = settings(**changes)
    sources = open_ground([DataSpec("aerial", ground)], 100.0, 1.5)
    points = [[label_site(entry.source, k, corners, chosen.labels, 1) for k in range(len(entry.source))] for entry in sources]
    parts = GroundFeedSettings(
        chosen.view, chosen.changes, chosen.augmentation, chosen.mining, chosen.correspondences, chosen.labels.per_view
    )
    return GroundFeed(sources, points, chosen.training, parts, folder)


def test_a_batch_knows_which_images_are_negatives(ground, tmp_path):
    feed = made_feed(ground, tmp_path)
    feed.mine_with(lambda shown: np.array([[float(one.tile)] for one in shown], dtype=np.float32))
    portions = list(feed.batches(0, 4, ALONE))
    for portion in portions:
        batch = portion.content
        assert batch.images.shape[1:] == (1, 64, 64) and 0.0 <= float(batch.images.min()) <= float(batch.images.max()) <= 1.0
        assert batch.labels.shape == (4, 8, 8) and batch.points_a.shape == (2, 20, 2)
        own = torch.eye(2, dtype=torch.bool)
        assert not batch.elsewhere[:, :2][own].any() and not batch.elsewhere[:, 2:4][own].any()
        assert (batch.negatives.sum(1) <= 1).all() and not (batch.negatives & ~batch.elsewhere).any()
        assert batch.negatives.sum() == len(batch.images) - 4
    again = next(iter(feed.batches(3, 4, ALONE))).content
    assert all(torch.equal(one, other) for one, other in zip(again, portions[3].content, strict=True))


def test_views_begin_alike_and_grow_apart(ground, tmp_path):
    feed = made_feed(ground, tmp_path, changes={"ease": 1.0}, augmentation={"strength": 0.0})
    feed.mine_with(lambda shown: np.array([[float(one.tile)] for one in shown], dtype=np.float32))
    first, *_, last = [portion.content for portion in feed.batches(0, 8, ALONE)]
    place = feed._told(0, False, ALONE)[0]
    same = feed.sampler.sample(place, np.random.default_rng(0), 0.0)
    known = np.isfinite(same.points).all(1)
    shifts = same.points[known, 2:] - same.points[known, :2]
    assert np.ptp(shifts, axis=0).max() < 1e-3  # only moved
    assert torch.isfinite(first.images).all() and torch.isfinite(last.images).all()


def test_sizes_that_do_not_fit_are_refused(ground, tmp_path):
    with pytest.raises(ConfigError, match=r"view\.side = 72 must be a multiple of 32"):
        made_feed(ground, tmp_path, view={"side": 72})
    with pytest.raises(ConfigError, match=r"mining\.refresh = 5 must be a multiple of training\.batch = 2"):
        made_feed(ground, tmp_path, mining={"refresh": 5})
    with pytest.raises(ConfigError, match="blocks = three"):
        settings(blocks="three").form  # noqa: B018


def test_sites_that_are_learned_from_are_not_held_out(ground, tmp_path):
    spec = DataSpec("aerial", ground)
    with pytest.raises(ConfigError, match="is learned from, so that it cannot be held out"):
        train_glvl(GlvlJob(settings(), [spec], [DataSpec("aerial", ground / ".." / ground.name)]), tmp_path / "run")


def test_a_damaged_image_is_named(ground, tmp_path):
    (ground / "a" / "noon.png").write_bytes(b"not an image")
    with pytest.raises(DataError, match=r"noon\.png"):
        train_glvl(job(ground), tmp_path / "run")


def test_the_validation_finds_what_is_the_same_place(ground):
    """SIFT locates views of textured ground in the same light; a network without any training does not."""
    for site in ("a", "b"):
        (ground / site / "autumn.png").unlink()
    sources = open_ground([DataSpec("aerial", ground)], 100.0, 1.5)
    chosen = settings(validation={"queries": 12})
    validator = GlvlValidator(sources, replace(chosen.view, {"scale": 0.05, "shift": 0.05}), chosen.validation)
    torch.manual_seed(0)
    untrained = GlvlLearner(Glvl(chosen.form)).eval()
    with torch.no_grad():
        found = validator(untrained)
        assert found == validator(untrained)
    assert found["task"] == pytest.approx(0.5 * (found["recall"] + found["located"]))
    assert found["located"] < found["located_by_sift"] <= 1.0


def test_the_command(ground, tmp_path, capsys):
    changes = ["width=2", "blocks=1-1-1-1", "descriptor=8", "correspondences=20", "view.side=64", "labels.homographies=1"]
    changes += ["mining.refresh=4", "training.samples=4", "training.batch=2", "training.epochs=1", "training.workers=0"]
    run = ["train", "glvl", "--data", f"aerial:{ground}", "--data", f"map:{ground / 'c.png'}:0.5", "--out", str(tmp_path / "run")]
    assert main([*run, "--balance", "alternate", *(f"--set={change}" for change in changes)]) == 0
    assert (tmp_path / "run" / "superpoint.safetensors").exists()
    assert main(["train", "glvl", "--size", "published", "--balance", "sum", "--show-settings"]) == 0
    shown = capsys.readouterr().out
    assert "balance: sum" in shown and "blocks: 3-4-6-3" in shown
    assert main(["train", "glvl"]) != 0
    assert main(["train", "glvl", "--data", "aerial:nowhere", "--out", str(tmp_path / "x")]) != 0
