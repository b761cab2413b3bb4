"""The published objective of U: known answers of its parts, and that it teaches."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed; training needs it")

from vloc_ros import config  # noqa: E402
from vloc_ros.errors import ConfigError  # noqa: E402
from vloc_ros.geometry import se3  # noqa: E402
from vloc_ros.networks.compact import CompactUNet  # noqa: E402
from vloc_ros.networks.unet import UNet  # noqa: E402
from vloc_ros.training import pose_solving, soft_matching  # noqa: E402
from vloc_ros.training.objective import PairBatch, StereoBatch  # noqa: E402
from vloc_ros.training.published import PublishedObjective, published_points  # noqa: E402
from vloc_ros.training.published_loss import (  # noqa: E402
    MatchedPoints,
    keypoint_loss,
    planar,
    pose_losses,
    true_inliers,
)
from vloc_ros.training.published_settings import PoseLoss, PublishedSettings, Space, Targets  # noqa: E402
from vloc_ros.training.stereo_points import back_project, project, sample_nearest  # noqa: E402
from vloc_ros.training.window_keypoints import window_keypoints  # noqa: E402

MULTISEASON = torch.tensor([[388.425, 388.425, 253.502, 196.822, 0.239946]])


def poses(seed, count, metres=1.0, radians=0.5):
    rng = np.random.default_rng(seed)
    xi = np.hstack([rng.normal(size=(count, 3)) * metres, rng.normal(size=(count, 3)) * radians])
    return np.stack([se3.exp(x) for x in xi])


# --- key points


def test_flat_logits_give_the_centres_of_768_windows():
    points = window_keypoints(torch.zeros(1, 1, 384, 512))
    assert points.shape == (1, 768, 2)
    expected = torch.tensor([[7.5, 7.5], [23.5, 7.5]])
    assert torch.allclose(points[0, :2], expected) and torch.allclose(points[0, 32], torch.tensor([7.5, 23.5]))


def test_a_peak_is_the_key_point_of_its_window():
    logits = torch.zeros(1, 1, 32, 48)
    logits[0, 0, 20, 35] = 60.0
    points = window_keypoints(logits)[0]
    assert torch.allclose(points[5], torch.tensor([35.0, 20.0])) and torch.allclose(points[4], torch.tensor([23.5, 23.5]))


# --- matching


def test_a_descriptor_correlates_with_itself_as_published():
    assert soft_matching.correlation_scale(496) == pytest.approx(0.99798, abs=1e-5)


def test_each_descriptor_finds_itself_and_blocks_change_nothing(monkeypatch):
    torch.manual_seed(0)
    target = torch.nn.functional.normalize(torch.randn(2, 60, 32), dim=-1)
    places = 100.0 * torch.rand(2, 60, 2)
    source = target[:, :20].clone().requires_grad_()
    whole = soft_matching.soft_match(source, target, places)
    assert torch.allclose(whole, places[:, :20], atol=1e-3)
    (gradient,) = torch.autograd.grad(whole.square().sum(), source)
    monkeypatch.setattr(soft_matching, "_AT_ONCE", 2 * 60 * 7)
    blocks = soft_matching.soft_match(source, target, places)
    assert torch.allclose(blocks, whole)
    assert torch.allclose(torch.autograd.grad(blocks.square().sum(), source)[0], gradient, atol=1e-3)


def test_between_two_equal_candidates_the_match_is_in_the_middle():
    same = torch.nn.functional.normalize(torch.arange(8.0)[None, None] - 3.5, dim=-1)
    places = torch.tensor([[[10.0, 0.0], [20.0, 4.0], [90.0, 90.0]]])
    found = soft_matching.soft_match(same, torch.cat([same, same, -same], 1), places)
    assert torch.allclose(found, torch.tensor([[[15.0, 2.0]]]), atol=1e-4)


def test_dense_descriptors_are_those_sampled_at_the_pixels():
    from vloc_ros.networks.local import sample_maps

    for network, colours in ((UNet(2), 3), (CompactUNet(3, 16), 1)):
        maps = network.eval()(torch.rand(1, colours, 32, 64))
        dense, places = soft_matching.dense_descriptors(maps, network)
        assert torch.allclose(dense, network.describe(sample_maps(maps, network, places)), atol=1e-5)


# --- the camera


def test_focal_length_times_baseline_sets_the_farthest_depth():
    disparity = torch.tensor([[0.2330, 0.2331, 931.0, 933.0, torch.nan, -1.0]])
    points, valid = back_project(torch.zeros(1, 6, 2), disparity, MULTISEASON)
    assert MULTISEASON[0, 0] * MULTISEASON[0, 4] == pytest.approx(93.201, abs=1e-3)
    assert valid.tolist() == [[False, True, True, False, False, False]]  # 93.201 / 400 = 0.23300
    assert points[0, 1, 2] == pytest.approx(400.0, rel=1e-3) and torch.isfinite(points).all()


def test_there_and_back_is_where_it_was():
    pixels, disparity = torch.rand(1, 50, 2) * 400.0, 0.5 + 40.0 * torch.rand(1, 50)
    points, valid = back_project(pixels, disparity, MULTISEASON)
    assert valid.all()
    assert torch.allclose(project(points, MULTISEASON), torch.cat([pixels, disparity.unsqueeze(2)], 2), atol=1e-3)


def test_disparities_are_those_of_the_nearest_pixel():
    image = torch.arange(12.0).reshape(1, 1, 3, 4)
    points = torch.tensor([[[0.4, 0.4], [0.6, 0.4], [2.9, 1.6], [-5.0, 9.0]]])
    assert sample_nearest(image, points).tolist() == [[0.0, 1.0, 11.0, 8.0]]


# --- poses


def test_the_alignment_recovers_known_poses_and_ignores_points_of_no_weight():
    truth = torch.from_numpy(poses(1, 5))
    points = torch.randn(5, 30, 3, dtype=torch.float64) * 5.0
    moved = pose_solving.transform(truth, points)
    moved[:, 20:] += torch.randn(5, 10, 3) * 100.0
    weights = torch.rand(5, 30, dtype=torch.float64) + 0.1
    weights[:, 20:] = 0.0
    assert torch.allclose(pose_solving.align(moved, points, weights), truth, atol=1e-9)


def test_the_alignment_is_a_rotation_also_where_a_reflection_fits_better():
    points = torch.randn(1, 10, 3, dtype=torch.float64)
    found = pose_solving.align(points * torch.tensor([1.0, 1.0, -1.0]), points, torch.ones(1, 10, dtype=torch.float64))
    assert torch.linalg.det(found[:, :3, :3]).item() == pytest.approx(1.0)


def test_gradients_of_the_alignment_are_right():
    torch.manual_seed(2)
    a, b = torch.randn(2, 3, 8, 3, dtype=torch.float64).unbind(0)
    weights = torch.rand(3, 8, dtype=torch.float64)
    arguments = tuple(x.clone().requires_grad_() for x in (a, b, weights))
    assert torch.autograd.gradcheck(pose_solving.align, arguments)


@pytest.mark.parametrize("kind", ["ball", "line", "spot", "weightless"])
def test_gradients_are_finite_where_singular_values_are_equal_or_zero(kind):
    corners = torch.tensor([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
    shape = {"ball": corners, "line": corners[:, :1] * torch.ones(3), "spot": corners * 0.0, "weightless": corners}[kind]
    a, b = (shape.clone()[None].requires_grad_() for _ in range(2))
    weights = torch.full((1, 6), 0.0 if kind == "weightless" else 1.0, requires_grad=True)
    pose = pose_solving.align(a, b, weights)
    pose_solving.log(pose).square().sum().backward()
    assert all(torch.isfinite(x).all() for x in (pose, a.grad, b.grad, weights.grad))


@pytest.mark.parametrize("radians", [0.0, 1e-6, 1e-3, 0.02, 0.5, 1.5])
def test_the_logarithm_is_that_of_geometry(radians):
    truth = poses(3, 20, radians=radians)
    found = pose_solving.log(torch.from_numpy(truth)).numpy()
    assert np.allclose(found, [se3.log(pose) for pose in truth], atol=1e-8)


def test_gradients_of_the_logarithm_are_right():
    pose = torch.from_numpy(poses(4, 3)).requires_grad_()
    assert torch.autograd.gradcheck(pose_solving.log, (pose,))
    identity = torch.eye(4, dtype=torch.float64)[None].requires_grad_()
    assert torch.autograd.gradcheck(pose_solving.log, (identity,))
    half_turn = torch.diag(torch.tensor([-1.0, -1.0, 1.0, 1.0]))[None].requires_grad_()
    pose_solving.log(half_turn).sum().backward()
    assert torch.isfinite(half_turn.grad).all()


# --- losses


def matched(seed=5, count=40):
    """Matches of two frames, in the true places."""
    torch.manual_seed(seed)
    b_T_a = torch.from_numpy(poses(seed, 2, 0.3, 0.05)).float()
    base_T_camera = torch.from_numpy(np.array(se3.BASE_T_OPTICAL)).float().expand(2, 4, 4)
    source = torch.rand(2, count, 3) * torch.tensor([8.0, 4.0, 10.0]) + torch.tensor([-4.0, -2.0, 4.0])
    target = pose_solving.transform(b_T_a, source)
    intrinsics = MULTISEASON.expand(2, 5)
    pixels = project(target, intrinsics)[..., :2]
    valid = torch.ones(2, count, dtype=torch.bool)
    return MatchedPoints(source, target, pixels, valid, intrinsics, b_T_a, base_T_camera)


@pytest.mark.parametrize("space", [Space.POINT, Space.PIXEL])
def test_true_matches_cost_nothing(space):
    pairs, settings = matched(), PublishedSettings(keypoint_loss=space, gate=space)
    inliers = true_inliers(pairs, settings)
    assert inliers.all() and keypoint_loss(pairs, inliers, settings).item() < 1e-6
    truth = pairs.base_b_T_base_a
    for kind in PoseLoss:
        assert pose_losses(truth, truth, PublishedSettings(pose_loss=kind)).max().item() < 1e-9


def test_losses_have_the_published_weights():
    pairs = matched()
    off = pairs._replace(target=pairs.target + torch.tensor([0.3, 0.0, 0.4]), target_pixels=pairs.target_pixels + 2.0)
    everything = torch.ones(2, 40, dtype=torch.bool)

    def loss(space):
        return keypoint_loss(off, everything, PublishedSettings(keypoint_loss=space)).item()

    assert loss(Space.POINT) == pytest.approx(1.0 * 0.25 / 4.0, rel=1e-3)  # four homogeneous components
    assert loss(Space.PIXEL) == pytest.approx(0.01 * 4.0, rel=1e-3)
    xi = np.array([0.1, 0.2, 0.3, 0.01, 0.02, 0.03])
    truth = torch.from_numpy(poses(6, 1))
    estimated = torch.from_numpy(se3.exp(xi))[None] @ truth
    found = pose_losses(estimated, truth, PublishedSettings()).item()
    assert found == pytest.approx(1.0 * 0.1**2 + 50.0 * 0.2**2 + 10.0 * 0.03**2)
    shifted = truth.clone()
    shifted[0, 0, 3] += 0.3
    assert pose_losses(shifted, truth, PublishedSettings(pose_loss=PoseLoss.FULL)).item() == pytest.approx(0.3**2 / 3.0)


def test_on_the_ground_only_x_y_and_heading_count():
    base_T_camera = torch.from_numpy(np.array(se3.BASE_T_OPTICAL)).float()[None]
    xi = np.array([1.0, 0.2, 0.0, 0.0, 0.0, 0.4])
    truth = torch.from_numpy(se3.exp(xi)).float()[None]
    assert torch.allclose(planar(truth), truth, atol=1e-6)  # a motion on the ground is its own planar part
    published = planar(truth, of_log=True)
    assert (published - truth).abs().max() > 0.1  # the logarithm's x and y are not those of the pose
    tilted = truth @ torch.from_numpy(se3.exp(np.array([0, 0, 0.5, 0.05, 0.05, 0]))).float()
    assert torch.allclose(planar(tilted)[:, :2, 3], tilted[:, :2, 3])
    pairs = matched()._replace(base_T_camera=base_T_camera.expand(2, 4, 4))
    lifted = pairs._replace(target=pairs.target + torch.tensor([0.0, -2.9, 0.0]))  # up, in the camera's frame
    settings = PublishedSettings()
    everything = torch.ones(2, 40, dtype=torch.bool)
    assert torch.allclose(keypoint_loss(pairs, everything, settings), keypoint_loss(lifted, everything, settings), atol=1e-4)


def test_inliers_are_within_the_gate_and_deep():
    pairs = matched()
    target = pairs.target.clone()
    target[0, 0, 2] += 5.0  # along the path
    target[0, 1, 1] += 5.0  # up: not seen on the ground
    valid = pairs.valid.clone()
    valid[0, 2] = False
    off = pairs._replace(target=target, valid=valid)
    assert true_inliers(off, PublishedSettings())[0, :4].tolist() == [False, True, False, True]
    assert true_inliers(off, PublishedSettings(gate=Space.POINT))[0, :4].tolist() == [False, False, False, True]
    wide = PublishedSettings(gate_plane=6.0)
    assert true_inliers(off, wide)[0, :4].tolist() == [True, True, False, True]
    pixels = pairs.target_pixels.clone()
    pixels[0, 0, 0] += 49.0
    pixels[0, 1, 0] += 51.0
    by_pixel = true_inliers(pairs._replace(target_pixels=pixels), PublishedSettings(gate=Space.PIXEL))
    assert by_pixel[0, :3].tolist() == [True, False, True]


# --- the whole


DEPTH, SHIFT = 6.0, 0.12


def batch(pairs=1, colours=3, size=(64, 96), depth=DEPTH):
    """A textured wall straight ahead; the second camera stands ``SHIFT`` metres to the right."""
    height, width = size
    focal, baseline = 100.0, 0.24
    pixels = round(focal * SHIFT / DEPTH)
    torch.manual_seed(7)
    wall = torch.nn.functional.interpolate(torch.rand(pairs, colours, height // 4, width // 4 + 2), scale_factor=4, mode="bilinear")
    first, second = wall[..., :width], wall[..., pixels : pixels + width]
    b_T_a = torch.eye(4).repeat(pairs, 1, 1)
    b_T_a[:, 0, 3] = -SHIFT
    disparity = torch.full((pairs, 1, height, width), focal * baseline / depth)
    stereo = StereoBatch(
        torch.tensor([[focal, focal, width / 2.0, height / 2.0, baseline]]).repeat(pairs, 1),
        disparity,
        disparity.clone(),
        b_T_a,
        torch.from_numpy(np.array(se3.BASE_T_OPTICAL)).float().repeat(pairs, 1, 1),
    )
    return PairBatch(first, second, torch.full((pairs, height, width, 2), torch.nan), stereo)


def test_the_schedule_adds_the_pose_in_epoch_four():
    torch.manual_seed(0)
    network, objective, pair = UNet(2), PublishedObjective(), batch()
    for epoch, expected in (
        (0, {"keypoint", "inliers", "pairs"}),
        (3, {"keypoint", "inliers", "pairs"}),
        (4, {"keypoint", "inliers", "pairs", "posed", "pose"}),
    ):
        loss, terms = objective(network, pair, epoch)
        assert terms.keys() == expected and terms["inliers"] == 24.0
        assert loss.item() == pytest.approx(terms["keypoint"] + terms.get("pose", 0.0))
    loss.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())
    assert network.scorer.head.weight.grad.abs().sum() > 0.0  # the pose teaches the scores


@pytest.mark.parametrize(
    "changes",
    [
        {"targets": "sparse"},
        {"symmetric": True},
        {"published_sampling": True},
        {"published_planar_pose": True},
        {"gate": "3d", "keypoint_loss": "3d", "pose_loss": "full"},
        {"gate": "2d", "keypoint_loss": "2d"},
        {"first_pair_decides": True},
    ],
)
def test_every_departure_is_an_option_that_teaches(changes):
    torch.manual_seed(0)
    network = CompactUNet(6, 32)
    objective = PublishedObjective(config.replace(PublishedSettings(), {"gate_2d": 500.0, **changes}))
    loss, terms = objective(network, batch(2, colours=1), 4)
    loss.backward()
    assert terms["posed"] == 1.0
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)
    assert network.project.weight.grad.abs().sum() > 0.0


@pytest.mark.parametrize("epoch", [0, 4])
def test_the_loss_goes_down_on_one_pair(epoch):
    torch.manual_seed(0)
    network, objective, pair = UNet(4), PublishedObjective(), batch()
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    losses = []
    for _ in range(25):
        optimiser.zero_grad()
        loss, _ = objective(network, pair, epoch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimiser.step()
        losses.append(loss.item())
    assert np.mean(losses[-3:]) < 0.25 * np.mean(losses[:3])


def test_a_pair_with_too_few_inliers_is_dropped_for_itself_unless_the_first_decides():
    torch.manual_seed(0)
    network, pairs = UNet(2), batch(2)
    assert pairs.stereo is not None
    blind = pairs.stereo.disparity_a.clone()
    blind[0] = torch.nan
    pairs = pairs._replace(stereo=pairs.stereo._replace(disparity_a=blind))
    loss, terms = PublishedObjective()(network, pairs, 4)
    assert terms["posed"] == 0.5 and terms["inliers"] == 12.0 and terms["pairs"] == 1.0 and loss.item() > 0.0
    loss, terms = PublishedObjective(PublishedSettings(first_pair_decides=True))(network, pairs, 4)
    assert terms["too_few_inliers"] == 1.0 and loss.item() == 0.0 and not loss.requires_grad


def test_parts_of_a_batch_weighed_by_their_pairs_are_the_batch():
    """So that several processes learn what one does."""
    torch.manual_seed(0)
    network, objective, pairs = UNet(2).eval(), PublishedObjective(), batch(3)
    pairs.stereo.disparity_a[0] = torch.nan

    def part(first, last):
        cut = PairBatch(*(x[first:last] for x in pairs[:3]), StereoBatch(*(x[first:last] for x in pairs.stereo)))
        loss, terms = objective(network, cut, 4)
        return loss.item() * terms["pairs"], terms["pairs"]

    (whole, count), (one, of_one), (other, of_other) = part(0, 3), part(0, 2), part(2, 3)
    assert (count, of_one, of_other) == (2.0, 1.0, 1.0) and whole == pytest.approx(one + other, rel=1e-4)


def test_without_anything_to_learn_from_the_terms_say_why():
    pairs = batch()
    loss, terms = PublishedObjective()(UNet(2), pairs._replace(stereo=None), 4)
    assert terms == {"no_stereo": 1.0, "pairs": 0.0} and loss.item() == 0.0
    nowhere = torch.full_like(pairs.stereo.disparity_a, torch.nan)
    loss, terms = PublishedObjective()(UNet(2), pairs._replace(stereo=pairs.stereo._replace(disparity_b=nowhere)), 4)
    assert terms == {"inliers": 0.0, "too_few_inliers": 1.0, "pairs": 0.0} and not loss.requires_grad


def test_published_sampling_is_half_a_pixel_outwards_at_the_borders():
    maps = UNet(2).eval()(torch.rand(1, 3, 32, 48))
    points = torch.tensor([[[0.0, 0.0], [23.5, 15.5], [47.0, 31.0]]])
    assert torch.allclose(published_points(points, maps), torch.tensor([[[-0.5, -0.5], [23.5, 15.5], [47.5, 31.5]]]))


def test_settings_are_the_published_ones_and_checked():
    values = config.to_dict(PublishedSettings())
    assert values["window"] == 16 and values["match_temperature"] == 0.01 and values["targets"] == "dense"
    assert (values["gate_plane"], values["gate_3d"], values["gate_2d"], values["min_inliers"]) == (3.0, 4.0, 50.0, 6)
    with pytest.raises(ConfigError, match=r"'gate' = 'cube' is not one of: plane, 3d, 2d"):
        config.from_dict(PublishedSettings, {"gate": "cube"})
    assert config.from_dict(PublishedSettings, {"targets": "sparse"}).targets is Targets.SPARSE
