"""Losses of GLVL by hand-computed cases, and how they are balanced."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from vloc_ros.networks.glvl import Glvl  # noqa: E402
from vloc_ros.networks.glvl_form import GlvlForm, ResNetForm  # noqa: E402
from vloc_ros.training.distributed import Group  # noqa: E402
from vloc_ros.training.glvl_losses import (  # noqa: E402
    cell_loss,
    contrast_loss,
    descriptors_at,
    hinge_loss,
    place_contrast_loss,
    triplet_loss,
)
from vloc_ros.training.glvl_objective import (  # noqa: E402
    TASKS,
    Balance,
    DescriptorLoss,
    GlvlLearner,
    GlvlObjective,
    GlvlObjectiveSettings,
    RetrievalLoss,
)
from vloc_ros.training.ground_feed import GroundBatch  # noqa: E402
from vloc_ros.training.ground_labels import IGNORED  # noqa: E402

ALONE = Group(0, 1, torch.device("cpu"))


def test_cells_that_say_nothing_count_for_nothing():
    bins = torch.zeros(1, 65, 1, 3, requires_grad=True)
    labels = torch.tensor([[[64, 5, IGNORED]]], dtype=torch.uint8)
    loss = cell_loss(bins, labels)
    assert loss.item() == pytest.approx(math.log(65.0), rel=1e-6)
    loss.backward()
    assert bins.grad[0, :, 0, 2].abs().sum() == 0
    # Half of the softmax minus one at the label, of two cells.
    assert bins.grad[0, 5, 0, 1].item() == pytest.approx(0.5 * (1.0 / 65.0 - 1.0), rel=1e-5)
    assert cell_loss(bins, torch.full((1, 1, 3), IGNORED, dtype=torch.uint8)).item() == 0.0


def maps(*columns) -> torch.Tensor:
    """(1, 2, 1, N) descriptors of cells beside each other, from angles."""
    return torch.tensor([[[math.cos(a) for a in columns]], [[math.sin(a) for a in columns]]]).transpose(0, 1).reshape(1, 2, 1, -1)


def test_descriptors_are_read_at_the_centres_of_cells():
    found = descriptors_at(maps(0.0, math.pi / 2), torch.tensor([[[3.5, 3.5], [11.5, 3.5], [7.5, 3.5]]]))
    root = math.sqrt(0.5)
    assert torch.allclose(found[0], torch.tensor([[1.0, 0.0], [0.0, 1.0], [root, root]]), atol=1e-6)


def test_hinges_by_hand():
    a, b = maps(0.0, 0.0, 0.0, 0.0), maps(math.pi / 3, math.pi / 3, math.pi / 3, math.pi / 3)
    a, b = (m.repeat(1, 1, 4, 1).requires_grad_() for m in (a, b))
    points = torch.tensor([[[4.0, 4.0], [20.0, 20.0]]])
    unknown = points.clone()
    unknown[0, 1] = float("nan")
    torch.manual_seed(0)
    loss = hinge_loss(a, b, points, unknown, others=50, near_px=0.0)
    # Every dot product is 0.5: matches miss 1 by 0.5, non-matches exceed 0.2 by 0.3.
    assert loss.item() == pytest.approx(0.5 + 0.3, rel=1e-5)
    loss.backward()
    assert torch.isfinite(b.grad).all()
    step = b.detach() - 0.1 * b.grad / b.grad.norm()
    torch.manual_seed(0)
    assert hinge_loss(a.detach(), step, points, unknown, others=50, near_px=0.0).item() < loss.item()
    torch.manual_seed(0)
    assert hinge_loss(a, b, points, unknown, others=50, near_px=1e4).item() == pytest.approx(0.5, rel=1e-5)
    assert hinge_loss(a, a, points, points * float("nan"), 5, 0.0).item() == 0.0


def test_contrast_by_hand():
    a = maps(0.0, math.pi / 2)
    points = torch.tensor([[[3.5, 3.5], [11.5, 3.5]]])
    loss, matched = contrast_loss(a, a, points, points, temperature=0.5, near_px=1.0)
    assert loss.item() == pytest.approx(math.log(1.0 + math.exp(-2.0)), rel=1e-5) and matched.item() == 1.0
    loss, _ = contrast_loss(a, a, points, points, temperature=0.5, near_px=10.0)
    assert loss.item() == pytest.approx(0.0, abs=1e-6)  # the other is too near to be wrong
    swapped, none = contrast_loss(a, maps(math.pi / 2, 0.0), points, points, 0.5, 1.0)
    assert swapped.item() == pytest.approx(math.log(1.0 + math.exp(2.0)), rel=1e-5) and none.item() == 0.0
    nothing, _ = contrast_loss(a, a, points, points * float("nan"), 0.5, 1.0)
    assert nothing.item() == 0.0


def unit(*angles) -> torch.Tensor:
    return torch.tensor([[math.cos(a), math.sin(a)] for a in angles])


def test_triplets_by_hand():
    # Query at 0; its second view at 60 deg (distance 1); others at 90 deg (1.414) and 50 deg (0.845).
    vectors = unit(0.0, math.pi / 3, math.pi / 2, math.radians(50.0)).requires_grad_()
    chosen = torch.tensor([[False, False, True, True]])
    near = 2.0 * math.sin(math.radians(25.0))
    loss, found = triplet_loss(vectors, 1, chosen, margin=0.1, hardest=10)
    assert loss.item() == pytest.approx((1.0 + 0.1 - near) / 2.0, rel=1e-5) and found.item() == 0.0
    loss, _ = triplet_loss(vectors, 1, chosen, margin=0.1, hardest=1)
    assert loss.item() == pytest.approx(1.0 + 0.1 - near, rel=1e-5)
    loss.backward()
    assert vectors.grad[2].abs().sum() == 0 and vectors.grad[3].abs().sum() > 0
    easy, found = triplet_loss(vectors, 1, torch.tensor([[False, False, True, False]]), 0.1, 10)
    assert easy.item() == 0.0 and found.item() == 1.0
    assert triplet_loss(vectors, 1, torch.zeros(1, 4, dtype=torch.bool), 0.1, 10)[0].item() == 0.0


def test_places_by_contrast_by_hand():
    vectors = unit(0.0, math.pi / 3, math.pi / 2, 0.0)
    loss, found = place_contrast_loss(vectors, 1, torch.tensor([[False, False, True, False]]), 0.5)
    assert loss.item() == pytest.approx(math.log(1.0 + math.exp(-1.0)), rel=1e-5) and found.item() == 1.0
    _, found = place_contrast_loss(vectors, 1, torch.tensor([[False, False, True, True]]), 0.5)
    assert found.item() == 0.0


def learner() -> GlvlLearner:
    torch.manual_seed(0)
    return GlvlLearner(Glvl(GlvlForm(ResNetForm(2, (1, 1, 1, 1)), 4, 64)))


def batch() -> GroundBatch:
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.random((6, 1, 64, 64), dtype=np.float32))
    points = torch.from_numpy(rng.uniform(0, 63, (2, 20, 2)).astype(np.float32))
    labels = torch.from_numpy(rng.integers(0, 65, (4, 8, 8)).astype(np.uint8))
    mined = torch.tensor([[False] * 4 + [True, False], [False] * 5 + [True]])
    elsewhere = torch.tensor([[False, True, False, True, True, True], [True, False, True, False, True, True]])
    return GroundBatch(images, labels, points, points.flip(1), mined, elsewhere)


def learned(balance: Balance, epoch: int = 0, **settings):
    network = learner().train()
    torch.manual_seed(3)
    loss, terms = GlvlObjective(GlvlObjectiveSettings(balance=balance, **settings), ALONE)(network, batch(), epoch)
    if loss.requires_grad:
        loss.backward()
    return network, float(loss.detach()), terms


def moved(network: GlvlLearner, part: str) -> bool:
    found = [p.grad for name, p in network.named_parameters() if name.startswith(part)]
    return any(grad is not None and bool((grad != 0).any()) for grad in found)


def test_the_sum_teaches_all_parts_and_nothing_is_frozen():
    network, loss, terms = learned(Balance.SUM, detector=2.0, descriptor=0.5, retrieval=3.0)
    assert loss == pytest.approx(2.0 * terms["detector"] + 0.5 * terms["descriptor"] + 3.0 * terms["retrieval"], rel=1e-5)
    for name, parameter in network.named_parameters():
        if name != "variances":
            assert parameter.requires_grad and parameter.grad is not None and (parameter.grad != 0).any(), name


def test_the_published_alternation_learns_one_half_at_a_time():
    network, loss, terms = learned(Balance.ALTERNATE, epoch=6)
    assert loss == pytest.approx(terms["retrieval"]) and moved(network, "glvl.top") and not moved(network, "glvl.local")
    for epoch in (1, 5):
        network, loss, terms = learned(Balance.ALTERNATE, epoch=epoch)
        assert loss == pytest.approx(terms["detector"] + terms["descriptor"], rel=1e-5)
        assert moved(network, "glvl.local") and moved(network, "glvl.stem") and not moved(network, "glvl.top")


def test_balanced_losses_pull_the_shared_layer_alike():
    network, _, terms = learned(Balance.GRADIENTS)
    norms = []
    for name in TASKS:
        alone = dict.fromkeys(TASKS, 0.0) | {name: terms[f"factor_{name}"]}
        single, _, _ = learned(Balance.SUM, **alone)
        norms.append(single.shared.grad.norm().item())
    assert norms == pytest.approx([norms[0]] * 3, rel=1e-3) and norms[0] > 0.0
    assert int(network.steps) == 1 and (network.norms > 0).all()


def test_a_task_without_a_gradient_is_not_blown_up():
    network, loss, terms = learned(Balance.GRADIENTS, retrieval_loss=RetrievalLoss.TRIPLET, margin=0.0, hardest=1)
    assert math.isfinite(loss) and all(terms[f"factor_{name}"] <= 100.0 for name in TASKS)
    network.norms[2] = 1e-30
    network.steps.fill_(1)
    _, terms = GlvlObjective(GlvlObjectiveSettings(), ALONE)(network, batch(), 0)
    assert terms["factor_retrieval"] == 100.0


def test_learned_variances_begin_with_the_sum_and_learn():
    network, loss, _ = learned(Balance.UNCERTAINTY)
    assert loss == pytest.approx(learned(Balance.SUM)[1], rel=1e-5)
    assert network.variances.grad is not None and (network.variances.grad != 0).any()


def test_other_places_of_the_batch_are_negatives_where_that_is_wanted():
    def asked(shared: bool) -> float:
        return learned(Balance.SUM, shared=shared, retrieval_loss=RetrievalLoss.CONTRAST, descriptor_loss=DescriptorLoss.CONTRAST)[
            2
        ]["retrieval"]

    assert asked(True) > asked(False) > 0.0
