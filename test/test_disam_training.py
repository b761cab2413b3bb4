"""Training of DISAM: what is drawn, that it learns, goes on where it was killed, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from vloc_ros.cli import main  # noqa: E402
from vloc_ros.config import replace  # noqa: E402
from vloc_ros.data.condition_folders import condition_folders  # noqa: E402
from vloc_ros.data.images import read_image  # noqa: E402
from vloc_ros.errors import ConfigError, DataError, TrainingError  # noqa: E402
from vloc_ros.networks.disam_files import load_disam  # noqa: E402
from vloc_ros.networks.disam_form import DisamForm, Stage  # noqa: E402
from vloc_ros.networks.disam_preprocessing import disam_images  # noqa: E402
from vloc_ros.networks.domains import random_domains  # noqa: E402
from vloc_ros.networks.translation import random_translation  # noqa: E402
from vloc_ros.training import checkpoint, run_folder  # noqa: E402
from vloc_ros.training.condition_feed import ConditionFeed, ConditionImageSettings  # noqa: E402
from vloc_ros.training.condition_fitting import fit_classifier  # noqa: E402
from vloc_ros.training.disam_objective import DisamObjective, DisamObjectiveSettings, Margin  # noqa: E402
from vloc_ros.training.disam_registry import settings_of  # noqa: E402
from vloc_ros.training.disam_training import DisamJob, train_disam  # noqa: E402
from vloc_ros.training.disam_validation import centred_by_condition, same_names  # noqa: E402
from vloc_ros.training.distributed import Group  # noqa: E402
from vloc_ros.training.registry import DataSpec  # noqa: E402

SMALL = {
    "channels": 4,
    "width": 32,
    "height": 32,
    "discriminator_channels": 4,
    "pool": 3,
    "training": {"samples": 8, "batch": 2, "epochs": 2, "decay_epochs": 1, "workers": 0, "checkpoint_every": 1},
    "images": {"hard_negatives": 2},
    "compression": {"length": 4},
}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(run_folder, "write_curves", lambda *_: None)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def site(tmp_path) -> Path:
    """Six places by day and, darker, by night; those of one place have one name."""
    rng = np.random.default_rng(1)
    for place in range(6):
        day = cv2.resize(rng.integers(0, 255, (6, 6, 3), dtype=np.uint8), (48, 40), interpolation=cv2.INTER_CUBIC)
        for condition, image in (("day", day), ("night", day // 4)):
            folder = tmp_path / "site" / condition
            folder.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / f"{place:03}.png"), image)
    return tmp_path / "site"


def settings(**changes):
    return replace(replace(settings_of("small", Stage.COARSE), SMALL), changes)


def job(site: Path, held_out: bool = False, stage: Stage = Stage.COARSE, **changes) -> DisamJob:
    spec = DataSpec.parse(f"conditions:{site}", ("conditions",))
    return DisamJob(stage, settings(**changes), [spec], [spec] if held_out else [])


def feed(site: Path, **images) -> ConditionFeed:
    form = DisamForm(4, 32, 32, Stage.COARSE, ("day", "night"))
    chosen = replace(ConditionImageSettings(), images)
    return ConditionFeed(condition_folders(site), form, settings().training, chosen, "site")


ALONE = Group(0, 1, torch.device("cpu"))


def test_a_step_draws_two_conditions_and_follows_from_its_number(site):
    made = [portion.content for portion in feed(site, hard_negatives=2).batches(0, 8, ALONE)]
    assert {batch.conditions for batch in made} == {(0, 1), (1, 0)}
    for batch in made:
        bright, dark = (batch.first, batch.second) if batch.conditions == (0, 1) else (batch.second, batch.first)
        assert bright.mean() > dark.mean() + 0.2 and batch.first.shape == (2, 3, 32, 32)
    again = [portion.content for portion in feed(site, hard_negatives=2).batches(5, 6, ALONE)]
    assert torch.equal(again[0].first, made[5].first) and again[0].conditions == made[5].conditions


def test_candidates_come_in_the_second_part_of_the_training(site):
    counts = [portion.content.candidates.shape[1] for portion in feed(site, hard_negatives=2, hard_from=0.5).batches(0, 8, ALONE)]
    assert counts == [0, 0, 0, 0, 2, 2, 2, 2]


def test_one_of_two_images_is_mirrored_and_candidates_are_as_the_second(tmp_path):
    slope = np.tile(np.linspace(0, 255, 48, dtype=np.uint8)[None, :, None], (40, 1, 3))
    for condition in ("day", "night"):
        (tmp_path / condition).mkdir()
        cv2.imwrite(str(tmp_path / condition / "a.png"), slope)

    def rises(images):
        return (images[..., -1] > images[..., 0]).flatten(1).all(dim=1)

    for portion in feed(tmp_path, hard_negatives=1, hard_from=0.0).batches(0, 8, ALONE):
        batch = portion.content
        assert torch.equal(rises(batch.first), ~rises(batch.second))
        assert torch.equal(rises(batch.candidates[:, 0]), rises(batch.second))
    for portion in feed(tmp_path, flip=False).batches(0, 4, ALONE):
        assert rises(portion.content.first).all() and rises(portion.content.second).all()


def test_every_loss_can_be_switched_off(site):
    form = DisamForm(4, 32, 32, Stage.FINE, ("day", "night"))
    network = random_translation(form, 4, 0, 1)
    batch = next(iter(feed(site).batches(0, 1, ALONE))).content
    full = DisamObjectiveSettings(sam=1000.0, cosine=1.0, sam_triplet=Margin.ADAPTIVE)
    _, terms = DisamObjective(full, 2)(network, batch, 1)
    assert set(terms) == {"deceive", "cycle", "latent", "discriminate", "sam", "triplet", "sam_triplet", "condition"}
    bare = DisamObjectiveSettings(latent=0.0, triplet=Margin.NONE, condition=0.0)
    loss, terms = DisamObjective(bare, 2)(network, batch, 1)
    assert set(terms) == {"deceive", "cycle", "latent", "discriminate"}
    assert loss.item() == pytest.approx(terms["deceive"] + 10.0 * terms["cycle"] + 0.5 * terms["discriminate"], rel=1e-5)


def test_weights_grow_with_the_epochs(site):
    network = random_translation(DisamForm(4, 32, 32, Stage.COARSE, ("day", "night")), 4, 0, 1)
    batch = next(iter(feed(site).batches(0, 1, ALONE))).content
    only = DisamObjectiveSettings(gan=0.0, cycle=0.0, triplet=Margin.NONE, condition=0.0)
    (first, terms), (last, _) = (DisamObjective(only, 4)(network, batch, epoch) for epoch in (0, 3))
    still = 0.5 * terms["discriminate"]
    assert last.item() - still == pytest.approx(4.0 * (first.item() - still), rel=1e-4)
    assert last.item() - still == pytest.approx(0.1 * terms["latent"], rel=1e-4)


def test_generators_and_discriminators_are_taught_by_their_own_losses_alone(site):
    network = random_translation(DisamForm(4, 32, 32, Stage.COARSE, ("day", "night")), 4, 0, 1)
    batch = next(iter(feed(site).batches(0, 1, ALONE))).content
    out = network(batch.first, batch.second, batch.candidates, *batch.conditions)
    torch.stack([part.mean() for side in (out.first, out.second) for part in side.deceived]).sum().backward(retain_graph=True)
    assert all(p.grad is None for p in network.discriminators.parameters())
    assert any(p.grad is not None for p in network.domains.decoders.parameters())
    network.zero_grad(set_to_none=True)
    torch.stack([part.mean() for side in (out.first, out.second) for part in (*side.real, *side.made)]).sum().backward()
    assert all(p.grad is None for p in network.domains.parameters())


def test_it_learns_and_keeps_the_best(site, tmp_path):
    outcome, _ = train_disam(job(site, held_out=True, training={"epochs": 3, "samples": 24}), tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    assert len(rows) == 3 and rows[-1]["cycle"] < rows[0]["cycle"] and {"recall_night", "condition_right"} <= set(rows[0])
    assert outcome.best == max(row["task"] for row in rows)
    network, card = load_disam(tmp_path / "run" / "best.safetensors")
    assert card.dimension == 4 and network.form.conditions == ("day", "night") and "day, night" in card.trained_on
    assert cv2.imread(str(tmp_path / "run" / "translations.png")) is not None


def test_a_run_that_was_killed_goes_on_as_if_nothing_had_been(site, tmp_path, monkeypatch):
    train_disam(job(site), tmp_path / "whole")

    def killed(progress):
        if progress.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_disam(job(site), tmp_path / "killed", killed)
    train_disam(job(site), tmp_path / "killed")
    whole, resumed = (checkpoint.read(tmp_path / name) for name in ("whole", "killed"))
    assert whole is not None and resumed is not None and set(whole.tensors) == set(resumed.tensors)
    for name, tensor in whole.tensors.items():
        assert torch.equal(tensor, resumed.tensors[name]), name


def test_conditions_may_share_blocks(site, tmp_path):
    train_disam(job(site, shared=2), tmp_path / "run")
    network, _ = load_disam(tmp_path / "run" / "best.safetensors")
    own, other = (network.encoders[k].state_dict() for k in (0, 1))
    equal = [name for name in own if torch.equal(own[name], other[name])]
    assert len(equal) == 2 * 5 and all(name.startswith(("rest.10.", "rest.11.")) for name in equal)
    equal = [n for n, value in network.decoders[0].state_dict().items() if torch.equal(value, network.decoders[1].state_dict()[n])]
    assert len(equal) == 2 * 5 and all(name.startswith(("layers.0.", "layers.1.")) for name in equal)


def test_a_run_takes_over_the_discriminators_of_the_one_it_begins_with(site, tmp_path):
    train_disam(job(site), tmp_path / "first")
    again = DisamJob(
        Stage.COARSE, settings(training={"learning_rate": 0.0}), job(site).data, start=tmp_path / "first/best.safetensors"
    )
    train_disam(again, tmp_path / "second")
    first, second = (checkpoint.read(tmp_path / name) for name in ("first", "second"))
    names = [name for name in first.tensors if "discriminators" in name and name.startswith("network.")]
    assert len(names) > 20 and all(torch.equal(first.tensors[name], second.tensors[name]) for name in names)


def test_the_fine_stage_begins_with_the_coarse_one(site, tmp_path):
    train_disam(job(site), tmp_path / "coarse")
    start = tmp_path / "coarse" / "best.safetensors"
    fine = replace(replace(settings_of("small", Stage.FINE), SMALL), {})
    spec = DataSpec.parse(f"conditions:{site}", ("conditions",))
    train_disam(DisamJob(Stage.FINE, fine, [spec], start=start), tmp_path / "fine")
    network, card = load_disam(tmp_path / "fine" / "best.safetensors")
    assert network.form.stage is Stage.FINE and card.parent == load_disam(start)[1].sha256
    other = DisamJob(Stage.FINE, replace(fine, {"channels": 6}), [spec], start=start)
    with pytest.raises(ConfigError, match="6 channels"):
        train_disam(other, tmp_path / "other")


def test_what_cannot_be_learned_from_is_refused(site, tmp_path):
    (tmp_path / "one" / "day").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "one" / "day" / "a.png"), np.zeros((40, 40, 3), np.uint8))
    with pytest.raises(DataError, match="two or more conditions"):
        train_disam(job(tmp_path / "one"), tmp_path / "run")
    with pytest.raises(DataError, match="there is no condition snow; there are day, night"):
        train_disam(DisamJob(Stage.COARSE, settings(), job(site).data, conditions=("day", "snow")), tmp_path / "run")
    (site / "night" / "002.png").write_bytes(b"not an image")
    with pytest.raises((DataError, TrainingError), match=r"002\.png"):
        train_disam(job(site, training={"samples": 40}), tmp_path / "run")


def test_names_are_the_truth_of_traverses(site):
    (site / "night" / "003.png").unlink()
    found = same_names(condition_folders(site), "day", 100)
    assert len(found.reference) == 6 and [rows.tolist() for rows in found.queries[0].positives] == [[0], [1], [2], [4], [5]]


def test_the_classifier_is_taught_to_the_end_and_nothing_else_changes(site):
    network = random_domains(DisamForm(4, 32, 32, Stage.COARSE, ("day", "night")), 3)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    files = condition_folders(site)
    fit_classifier(network, files)
    for number, name in enumerate(network.form.conditions):
        images = torch.from_numpy(disam_images([read_image(file) for file in files[name]], network.form))
        assert (network.logits(images).argmax(dim=1) == number).all()
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and all(name.startswith("classifier.") for name in changed)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_what_all_of_a_condition_have_in_common_is_not_judged():
    places = torch.eye(4)
    looks = {"day": torch.tensor([3.0, -1.0, 0.5, 0.0]), "night": torch.tensor([-2.0, 4.0, 1.0, 6.0])}
    reference, night = places + looks["day"], places + looks["night"]
    halves = (night[:2], night[2:])
    plain = (night @ reference.T).argmax(dim=1)
    made, one, other = centred_by_condition(["day", "night", "night"], [reference, *halves])
    assert torch.allclose(made.norm(dim=1), torch.ones(4))
    assert (torch.cat([one, other]) @ made.T).argmax(dim=1).tolist() == [0, 1, 2, 3] != plain.tolist()


def test_the_command(site, tmp_path, capsys):
    changes = [f"--set={key}={value}" for key, value in (("channels", 4), ("width", 32), ("height", 32), ("pool", 2))]
    changes += [f"--set=training.{key}={value}" for key, value in (("epochs", 1), ("samples", 4), ("batch", 2), ("workers", 0))]
    changes += ["--set=discriminator_channels=4", "--set=compression.length=4", "--set=compression.images=6"]
    run = ["train", "disam", "--stage", "coarse", "--data", f"conditions:{site}", "--out", str(tmp_path / "run"), *changes]
    assert main([*run, "--conditions", "night,day"]) == 0
    assert load_disam(tmp_path / "run" / "best.safetensors")[0].form.conditions == ("night", "day")
    assert main(["train", "disam", "--stage", "fine", "--show-settings"]) == 0
    shown = capsys.readouterr().out
    assert "sam: 1000.0" in shown and "hard_negatives: 4" in shown
    assert main(["train", "disam", "--stage", "coarse"]) != 0
