"""Batches of tuples, what is learned from them, and the loop that does."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from network_samples import place

torch = pytest.importorskip("torch", reason="training needs torch")

from torch import nn  # noqa: E402
from training_samples import save_plain  # noqa: E402

from vloc_ros.calibration.tuples import OutlierPair, TrainingTuple, TupleSet  # noqa: E402
from vloc_ros.config import from_dict  # noqa: E402
from vloc_ros.errors import ConfigError, DataError  # noqa: E402
from vloc_ros.mapping.keyframe import KeyframeId  # noqa: E402
from vloc_ros.networks import Backbone, NetworkKind  # noqa: E402
from vloc_ros.networks.freezing import LearnedPart, freeze  # noqa: E402
from vloc_ros.networks.network import UncertaintyNetwork, random_network  # noqa: E402
from vloc_ros.networks.pooling import GemHead  # noqa: E402
from vloc_ros.networks.uncertainty import Described, VarianceHead  # noqa: E402
from vloc_ros.training import checkpoint, run_folder, tuple_feed  # noqa: E402
from vloc_ros.training.distributed import Group  # noqa: E402
from vloc_ros.training.loop import Training  # noqa: E402
from vloc_ros.training.run_folder import RunFolder  # noqa: E402
from vloc_ros.training.schedule import learning_rate, make_optimizer  # noqa: E402
from vloc_ros.training.settings import TrainingSettings  # noqa: E402
from vloc_ros.training.tuple_batch import collate  # noqa: E402
from vloc_ros.training.tuple_feed import TupleFeed, settings_for  # noqa: E402
from vloc_ros.training.tuple_losses import bayesian_triplet, kl_to_prior, kl_to_widened, triplet_margin  # noqa: E402
from vloc_ros.training.tuple_objective import TripletObjective, UncertaintyObjective, describe_in_parts  # noqa: E402
from vloc_ros.training.tuple_settings import (  # noqa: E402
    PUBLISHED_TRIPLET,
    PUBLISHED_UNCERTAINTY,
    OutlierLoss,
    TripletSettings,
    UncertaintySettings,
)

CPU = Group(0, 1, torch.device("cpu"))


def key(number: int) -> KeyframeId:
    return KeyframeId(0, number)


def picture(id: KeyframeId) -> np.ndarray:
    """Two keyframes of each place, the second one darker."""
    return place(id.keyframe // 2, brightness=1.0 - 0.4 * (id.keyframe % 2))


def some(tuples: int = 3, pairs: int = 2) -> TupleSet:
    """Tuples of places 0, 1, ... with the places after them as negatives, one more for each; outlier pairs besides."""
    made = []
    for n in range(tuples):
        negatives = tuple(key(2 * (n + 1 + i)) for i in range(n + 1))
        made.append(TrainingTuple(key(2 * n), key(2 * n + 1), negatives, 1.0, 0))
    return TupleSet(tuple(made), tuple(OutlierPair(key(20 + n), key(30 + n), 1.0, 0) for n in range(pairs)))


class Small(UncertaintyNetwork):
    """The heads as they are, on one convolution: for tests that take many steps."""

    def __init__(self, seed: int = 0, backbone: Backbone = Backbone.MOBILENETV3) -> None:
        nn.Module.__init__(self)
        torch.manual_seed(seed)
        self.kind, self.backbone, self.whitening = NetworkKind.UNCERTAINTY, backbone, None
        self.encoder = nn.Sequential(nn.Conv2d(3, 8, 16, stride=16), nn.ReLU())
        self.pool, self.variance = GemHead(8), VarianceHead(8)
        self.variance.start_at(1.0 / backbone.channels, torch.Generator().manual_seed(seed))


class Given(Small):
    """A network that looks its descriptors up: image number i is filled with i."""

    def __init__(self, means: torch.Tensor, variances: torch.Tensor) -> None:
        super().__init__()
        self.means, self.variances = nn.Parameter(means), nn.Parameter(variances)

    def forward(self, images: torch.Tensor) -> Described:
        rows = images[:, 0, 0, 0].long()
        return Described(self.means[rows], self.variances[rows])


def numbered(batch):
    """The batch with images that say which row they are."""
    return batch._replace(images=torch.arange(len(batch.images)).float()[:, None, None, None].expand(-1, 3, 2, 2))


# --- batches


def test_each_image_is_prepared_once_and_found_again():
    asked = []

    def read(id):
        asked.append(id)
        return picture(id)

    items = some()
    batch = collate([*items.tuples, *items.pairs], read)
    assert len(asked) == len(set(asked)) == len(batch.images) and set(asked) == set(items.keyframes)
    assert batch.samples == 5 and batch.negatives.shape == (3, 3)
    assert (batch.negatives >= 0).sum(1).tolist() == [1, 2, 3]
    for row, item in enumerate(items.tuples):
        rows = [batch.anchors[row], batch.positives[row], *batch.negatives[row][batch.negatives[row] >= 0]]
        assert [asked[number] for number in rows] == list(item.keyframes)
    assert [(asked[q], asked[o]) for q, o in zip(batch.queries, batch.others, strict=True)] == [p.keyframes for p in items.pairs]


def test_an_image_that_is_missing_is_an_error_and_an_empty_batch_is_not():
    def missing(id):
        raise DataError(f"no image of {id}")

    with pytest.raises(DataError, match="no image of"):
        collate(some().tuples, missing)
    batch = collate([], missing)
    loss, terms = TripletObjective()(Small(), batch, 0)
    assert batch.samples == 0 and loss.item() == 0.0 and not loss.requires_grad and terms == {}


# --- objectives


@pytest.fixture
def given():
    items = some()
    items = dataclasses.replace(items, tuples=(dataclasses.replace(items.tuples[0], weight=0.5), *items.tuples[1:]))
    batch = numbered(collate([*items.tuples, *items.pairs], picture))
    generator = torch.Generator().manual_seed(0)
    means = nn.functional.normalize(torch.randn(len(batch.images), 255, generator=generator), dim=1)
    return batch, Given(means, torch.rand(len(batch.images), generator=generator) / 256)


def rows_of(batch, number: int) -> tuple[int, int, list[int]]:
    return int(batch.anchors[number]), int(batch.positives[number]), [int(n) for n in batch.negatives[number] if n >= 0]


def test_the_loss_of_descriptors_is_a_weighted_mean_over_tuples_and_pairs(given):
    batch, network = given
    loss, terms = TripletObjective(TripletSettings(outlier_weight=3.0, outliers=OutlierLoss.MEAN_SQUARE))(network, batch, 0)
    m = network.means.detach()
    tuples = []
    for number in range(3):
        a, p, ns = rows_of(batch, number)
        tuples.append(sum(max(0.0, float((m[a] - m[p]).norm() + 0.1**0.5 - (m[a] - m[n]).norm())) for n in ns) / len(ns))
    pairs = [-float((m[q] - m[o]).square().mean()) for q, o in zip(batch.queries, batch.others, strict=True)]
    assert loss.item() == pytest.approx((0.5 * tuples[0] + tuples[1] + tuples[2] + 3.0 * sum(pairs)) / 5, rel=1e-4)
    assert terms["triplet"] == pytest.approx(sum(tuples) / 3, rel=1e-4) and terms["outlier"] == pytest.approx(
        sum(pairs) / 2, rel=1e-4
    )


def test_the_loss_of_variances_is_bayesian_and_stays_near_the_prior(given):
    batch, network = given
    s = UncertaintySettings(prior_weight=0.01, outlier_weight=2.0)
    loss, terms = UncertaintyObjective(s)(network, batch, 0)
    prior, expected, divergences = 1.0 / 256, 0.0, []

    def at(rows) -> Described:
        return Described(network.means[rows], network.variances[rows])

    for number, weight in enumerate((0.5, 1.0, 1.0)):
        a, p, ns = rows_of(batch, number)
        present = torch.ones(1, len(ns), dtype=torch.bool)
        divergences.append(kl_to_prior(at([a]), prior) + kl_to_prior(at([p]), prior) + kl_to_prior(at(ns), prior).mean())
        one = bayesian_triplet(at([a]), at([p]), at(torch.tensor([ns])), present) + 0.01 * divergences[-1]
        expected += weight * one.item()
    for q, o in zip(batch.queries, batch.others, strict=True):
        expected += 2.0 * kl_to_widened(network.variances[torch.stack([q, o])], prior).mean().item()
    assert loss.item() == pytest.approx(expected / 5, rel=1e-4)
    assert terms["prior"] == pytest.approx(float(torch.stack(divergences).mean().detach()), rel=1e-4)


@pytest.mark.parametrize("at_once", [1, 4, 100])
def test_parts_give_the_gradient_of_the_whole(at_once):
    """Gradients are accumulated part by part; none depends on what else is in its batch."""
    network, images = Small(), torch.rand(10, 3, 64, 64)
    gradients = []
    for parts in (100, at_once):
        network.zero_grad()
        described = describe_in_parts(network, images, parts)
        (described.mean[:5] @ described.mean[5:].T).sum().add(described.variance.sum()).backward()
        gradients.append([parameter.grad.clone() for parameter in network.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-6)


def test_parts_go_through_a_real_network_and_leave_frozen_weights_alone():
    network = random_network(NetworkKind.UNCERTAINTY, Backbone.MOBILENETV3)
    freeze(network, LearnedPart.HEADS)
    network.train()
    items = some(1, 1)
    batch = collate([*items.tuples, *items.pairs], picture)
    batch = batch._replace(images=batch.images[:, :, ::4, ::4])
    loss, terms = UncertaintyObjective(UncertaintySettings(images_at_once=2))(network, batch, 0)
    loss.backward()
    touched = {name.split(".")[0] for name, parameter in network.named_parameters() if parameter.grad is not None}
    assert touched == {"pool", "variance"} and np.isfinite(loss.item()) and terms["variance"] == pytest.approx(1.0, rel=1e-3)


def test_a_network_without_variance_learns_descriptors_too():
    network = random_network(NetworkKind.GEM, Backbone.MOBILENETV3)
    freeze(network, LearnedPart.HEADS)
    batch = collate(some(1, 0).tuples, picture)
    loss, terms = TripletObjective()(network, batch._replace(images=batch.images[:, :, ::4, ::4]), 0)
    loss.backward()
    assert network.pool.fc.weight.grad.norm() > 0.0 and terms.keys() == {"triplet", "too_near"}


# --- the feed


def published(items: TupleSet, preset: dict[str, object], **changes: object) -> TrainingSettings:
    return settings_for(from_dict(TrainingSettings, preset | {"device": "cpu", "epochs": 3} | changes), items)


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
def test_an_epoch_holds_all_tuples_and_then_all_pairs_once(batch):
    items = some(4, 3)
    settings = published(items, PUBLISHED_TRIPLET, batch=batch)
    feed = TupleFeed(items, TupleSet(), picture, settings)
    each = settings.steps_per_epoch
    portions = list(feed.batches(0, 2 * each, CPU))
    orders = []
    for epoch in range(2):
        tags = [tag for portion in portions[epoch * each : (epoch + 1) * each] for tag in portion.tags]
        assert sorted(tags) == sorted(str(item) for item in (*items.tuples, *items.pairs))
        assert all(tag.startswith("the training tuple") for tag in tags[:4])
        orders.append(tags)
    assert orders[0] != orders[1]
    assert all(batch <= portion.count < 2 * batch or each == 1 for portion in portions)
    (again,) = feed.batches(2 * each - 1, 2 * each, CPU)
    assert again.tags == portions[-1].tags and torch.equal(again.content.images, portions[-1].content.images)


def test_processes_share_a_batch():
    items = some(4, 1)
    feed = TupleFeed(items, items, picture, published(items, PUBLISHED_TRIPLET, batch=5))
    shares = [next(feed.batches(0, 1, Group(rank, 3, CPU.device))).tags for rank in range(3)]
    assert sum(shares, ()) == next(feed.batches(0, 1, CPU)).tags
    assert [portion.count for portion in feed.held_out(CPU)] == [5]


def test_what_cannot_be_fed_is_said():
    with pytest.raises(ConfigError, match="no tuples to learn from"):
        TupleFeed(TupleSet(), TupleSet(), picture, TrainingSettings())
    with pytest.raises(ConfigError, match=r"training.samples must be 5, .* not 3000"):
        TupleFeed(some(), TupleSet(), picture, TrainingSettings())


# --- the loop


def test_published_schedule_and_optimizer():
    settings = published(some(4, 0), PUBLISHED_UNCERTAINTY, batch=2, epochs=12)
    rates = [learning_rate(step, settings) for step in range(settings.steps)]
    assert rates == pytest.approx([1e-4] * 10 + [5e-5] * 10 + [2.5e-5] * 4)
    optimizer = make_optimizer(Small(), settings)
    assert type(optimizer) is torch.optim.SGD
    assert {name: optimizer.defaults[name] for name in ("momentum", "weight_decay", "nesterov")} == {
        "momentum": 0.9,
        "weight_decay": 1e-3,
        "nesterov": False,
    }


def train(folder: Path, objective, epochs: int, seed: int = 0, **changes: object):
    """A small network on small pictures."""
    items = some(6, 4)
    settings = published(items, PUBLISHED_TRIPLET, epochs=epochs, **changes)
    feed = TupleFeed(items, some(2, 1), picture, settings)
    network = Small(seed)
    run = RunFolder(folder, {"training.schedule": "step"} | feed.settings(), save_plain, "tuples")
    with run.claimed(CPU):
        training = Training(network, objective, feed, settings, run, CPU)
        return training.run(), training


LIVELY = {"learning_rate": 0.05, "gradient_clip": 1.0}
"""For few steps. Without clipping, a variance that shoots over makes a loss of thousands and the next step overflows."""


@pytest.fixture
def undrawn(monkeypatch):
    """To draw curves takes as long as so small a training itself."""
    monkeypatch.setattr(run_folder, "write_curves", lambda *_: None)
    monkeypatch.setattr(tuple_feed, "collate", small_collate)


def small_collate(items, image_of, size):
    batch = collate(items, image_of, size)
    return batch._replace(images=batch.images[:, :, ::4, ::4])


@pytest.mark.parametrize("objective", [TripletObjective(), UncertaintyObjective()], ids=["triplet", "uncertainty"])
def test_the_loop_learns_from_tuples_and_goes_on_exactly(tmp_path, undrawn, objective):
    """Nothing of the loop knows of tuples: with SGD, too, a run that went on equals one that never stopped."""
    outcome, whole = train(tmp_path / "whole", objective, 8, **LIVELY)
    rows = whole.state.history
    assert outcome.steps == 16 and rows[-1]["loss"] < 0.9 * rows[0]["loss"]
    train(tmp_path / "parts", objective, 3, **LIVELY)
    _, parts = train(tmp_path / "parts", objective, 8, seed=1, **LIVELY)
    assert parts.resumed
    ours, theirs = (checkpoint.read(tmp_path / name).tensors for name in ("whole", "parts"))
    assert any(name.endswith("momentum_buffer") for name in ours) and ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


def test_outlier_pairs_get_more_uncertain_than_tuples(tmp_path, undrawn):
    _, trained = train(tmp_path, UncertaintyObjective(UncertaintySettings(prior_weight=0.01)), 20, **LIVELY)
    first, last = trained.state.history[0], trained.state.history[-1]
    assert last["outlier_variance"] > 1.4 * last["variance"] and last["outlier_variance"] > 3.0
    assert last["outlier"] < 0.3 * first["outlier"] and last["bayesian"] < 0.1 * first["bayesian"]


def test_the_margin_loss_is_the_one_that_is_configured(given):
    batch, network = given
    a, p, ns = rows_of(batch, 2)
    m = network.means.detach()
    present = torch.ones(1, len(ns), dtype=torch.bool)
    wide, _ = triplet_margin(m[[a]], m[[p]], m[torch.tensor([ns])], present, margin=1.0)
    only = batch._replace(anchors=batch.anchors[2:], positives=batch.positives[2:], negatives=batch.negatives[2:])
    only = only._replace(weights=batch.weights[2:], queries=batch.queries[:0], others=batch.others[:0])
    loss, _ = TripletObjective(TripletSettings(margin=1.0))(network, only._replace(pair_weights=batch.pair_weights[:0]), 0)
    assert loss.item() == pytest.approx(wide.item(), rel=1e-5)
