"""The small network and its objective: invariances, choices, and that it learns."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="networks need torch")

from vloc_ros.networks.compact import CompactUNet, folded  # noqa: E402 - after the check that torch is there
from vloc_ros.networks.local import LocalMaps, sample, sample_maps  # noqa: E402
from vloc_ros.training.contrastive import (  # noqa: E402
    ContrastiveObjective,
    ContrastiveSettings,
    cornerness,
    detection,
)
from vloc_ros.training.objective import PairBatch  # noqa: E402

SIZE = (96, 128)


def scene(seed: int = 0) -> NDArray[np.float32]:
    """A textured image, larger than what is cut from it."""
    import cv2

    rng = np.random.default_rng(seed)
    coarse = cv2.resize(rng.random((20, 26)).astype(np.float32), (160, 128), interpolation=cv2.INTER_NEAREST)
    fine = cv2.resize(rng.random((64, 80)).astype(np.float32), (160, 128), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(0.6 * coarse + 0.4 * fine, 0.0, 1.0), dtype=np.float32)


def shifted_pairs(count: int = 2, shift: tuple[int, int] = (5, -3), gain: float = 0.5) -> PairBatch:
    """Pairs of cuts of scenes, the second moved and darker."""
    height, width = SIZE
    cuts_a, cuts_b = [], []
    for seed in range(count):
        image = scene(seed)
        cuts_a.append(image[10 : 10 + height, 10 : 10 + width])
        cuts_b.append(gain * image[10 + shift[1] : 10 + shift[1] + height, 10 + shift[0] : 10 + shift[0] + width])
    v, u = np.mgrid[:height, :width].astype(np.float32)
    there = np.stack([u - shift[0], v - shift[1]], -1)
    outside = (there < 0).any(-1) | (there[..., 0] > width - 1) | (there[..., 1] > height - 1)
    there[outside] = np.nan
    warp = torch.from_numpy(np.stack([there] * count))
    return PairBatch(torch.from_numpy(np.stack(cuts_a)[:, None]), torch.from_numpy(np.stack(cuts_b)[:, None]), warp, None)


def network(seed: int = 0) -> CompactUNet:
    """An untrained small network."""
    torch.manual_seed(seed)
    return CompactUNet(16, 64)


def test_the_small_network_has_the_shapes_it_says() -> None:
    net = network().eval()
    maps = net(torch.rand(2, 1, *SIZE))
    assert maps.logits.shape == maps.scores.shape == (2, 1, *SIZE)
    assert 0.0 < float(maps.scores.detach().min()) <= float(maps.scores.detach().max()) < 1.0
    for found, stride, channels in zip(maps.maps, net.strides, net.map_channels, strict=True):
        assert found.shape == (2, channels, SIZE[0] // stride, SIZE[1] // stride)
    columns = sample_maps(maps, net, torch.rand(2, 7, 2) * 90.0)
    descriptors = net.describe(columns)
    assert descriptors.shape == (2, 7, 64)
    assert torch.allclose(descriptors.norm(dim=-1), torch.ones(2, 7), atol=1e-5)


def test_gain_and_offset_of_an_image_change_nothing() -> None:
    image = torch.from_numpy(scene()[None, None, :96, :128])
    assert torch.allclose(folded(image), folded(0.5 * image + 0.2), atol=0.02)


def test_local_contrast_undoes_light_that_falls_off() -> None:
    image = torch.from_numpy(scene()[None, None, :96, :128])
    light = torch.linspace(0.2, 1.0, 128)
    plain, lit = folded(image), folded(image * light)
    whole, near = (float((plain[:, part] - lit[:, part]).abs().mean()) for part in (slice(0, 4), slice(4, 8)))
    assert near < 0.5 * whole


def test_a_uniform_image_makes_no_nan() -> None:
    net = network().eval()
    maps = net(torch.zeros(1, 1, *SIZE))
    assert all(bool(torch.isfinite(m).all()) for m in (maps.logits, maps.scores, *maps.maps))


def test_sampling_at_a_pixel_gives_its_value_and_past_the_border_the_last_one() -> None:
    image = torch.arange(12.0).reshape(1, 1, 3, 4)
    points = torch.tensor([[[0.0, 0.0], [3.0, 2.0], [1.5, 1.0], [-2.0, 0.0], [9.0, 9.0]]])
    assert sample(image, points)[0, :, 0].tolist() == pytest.approx([0.0, 11.0, 5.5, 0.0, 11.0], abs=1e-5)


def test_a_corner_is_more_of_a_corner_than_an_edge_whatever_the_gain() -> None:
    image = torch.zeros(1, 1, 40, 40)
    image[..., 20:, 20:] = 1.0
    bright, dim = cornerness(image)[0, 0], cornerness(0.1 * image + 0.3)[0, 0]
    assert float(bright[20, 20]) > float(bright[20, 35]) + 1.0
    assert float(dim[20, 20]) > float(dim[20, 35]) + 1.0


def choose(peaks_a: torch.Tensor, peaks_b: torch.Tensor, **settings: float) -> torch.Tensor | None:
    """The key points chosen between two images that show the same, by the detector's opinion alone."""
    height, width = peaks_a.shape[-2:]
    v, u = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    corners = torch.zeros(1, 1, height, width)
    objective = ContrastiveObjective(ContrastiveSettings(corners=0.0, opinion=1.0, others=0, **settings))
    points = objective._choose(peaks_a, peaks_b, corners, corners, torch.stack([u, v], -1))
    return None if points is None else points.a[points.chosen]


def test_key_points_are_chosen_where_both_images_agree() -> None:
    both, one = torch.full((1, 1, 64, 64), -4.0), torch.full((1, 1, 64, 64), -4.0)
    both[0, 0, 4::8, 4::8] = one[0, 0, 4::8, 4::8] = 2.0
    one[0, 0, 8::8, 8::8] = 4.0  # of one image only
    found = choose(one, both, area=64.0)
    if found is None:
        pytest.fail("no key points were chosen")
    assert len(found) == 56  # one in 64 of the 60 x 60 pixels that are not at the border
    assert (found % 8 == 4).all()


def test_key_points_keep_their_distance() -> None:
    torch.manual_seed(0)
    noise = torch.randn(1, 1, 64, 64)
    found = choose(noise, noise, area=10.0, radius=4)
    if found is None:
        pytest.fail("no key points were chosen")
    apart = torch.cdist(found, found, p=float("inf")) + 99.0 * torch.eye(len(found))
    assert float(apart.min()) > 4.0


def test_the_detector_is_told_where_key_points_are_and_where_not() -> None:
    targets, seen = torch.tensor([[10.0, 20.0], [25.2, 7.9]]), torch.ones(32, 32, dtype=torch.bool)
    right = torch.full((1, 1, 32, 32), -6.0)
    right[0, 0, 20, 10] = right[0, 0, 8, 25] = 6.0
    moved = torch.full((1, 1, 32, 32), -6.0)
    moved[0, 0, 10, 20] = moved[0, 0, 25, 8] = 6.0
    everywhere = torch.full((1, 1, 32, 32), 6.0)
    losses = [float(detection(logits, targets, seen)) for logits in (right, moved, everywhere)]
    assert losses[0] < 0.01 < losses[1] < losses[2]
    assert float(detection(moved, targets, torch.zeros(32, 32, dtype=torch.bool))) == 0.0


def test_nothing_to_learn_from_gives_a_loss_of_zero() -> None:
    pairs = shifted_pairs()
    nowhere = PairBatch(pairs.images_a, pairs.images_b, torch.full_like(pairs.warp, float("nan")), None)
    loss, terms = ContrastiveObjective(ContrastiveSettings())(network(), nowhere, 0)
    assert float(loss.detach()) == 0.0
    assert terms["matched"] == 0.0


def test_the_loss_depends_on_the_generator_alone() -> None:
    net, pairs, objective = network(), shifted_pairs(), ContrastiveObjective(ContrastiveSettings())
    losses = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        losses.append(float(objective(net, pairs, 0)[0].detach()))
    assert losses[0] == losses[1] != losses[2]


def test_it_learns_to_match_a_moved_and_darkened_image() -> None:
    torch.manual_seed(0)
    net, pairs = CompactUNet(8, 32), shifted_pairs()
    objective = ContrastiveObjective(ContrastiveSettings(area=60.0, others=32))
    optimiser = torch.optim.Adam(net.parameters(), lr=5e-3)
    history = []
    for _ in range(15):
        loss, terms = objective(net, pairs, 0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        history.append(terms)
    assert all(bool(torch.isfinite(p.grad).all()) for p in net.parameters() if p.grad is not None)
    assert history[-1]["descriptor"] < 0.3 * history[0]["descriptor"]
    assert history[-1]["detector"] < history[0]["detector"]
    assert history[-1]["matched"] > history[0]["matched"]


def test_maps_can_be_split_without_a_change() -> None:
    from vloc_ros.training.contrastive import _one_by_one

    maps = network().eval()(torch.rand(3, 1, *SIZE))
    parts = _one_by_one(maps)
    assert len(parts) == 3
    joined = LocalMaps(torch.cat([p.logits for p in parts]), torch.cat([p.scores for p in parts]), ())
    assert torch.equal(joined.logits, maps.logits)
    assert torch.equal(joined.scores, maps.scores)
