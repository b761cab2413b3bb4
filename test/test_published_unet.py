"""Same weights, same images: ours agrees with the published formulas written down in ``published_unet``."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed; the networks need it")

import published_unet as theirs  # noqa: E402

from vloc_ros.features import Features, Matcher, MatchSettings, Metric, sight  # noqa: E402
from vloc_ros.geometry import se3  # noqa: E402
from vloc_ros.geometry.alignment import estimate_alignment  # noqa: E402
from vloc_ros.geometry.camera import StereoCamera  # noqa: E402
from vloc_ros.geometry.pnp import Landmarks, PnpSettings  # noqa: E402
from vloc_ros.geometry.weighted_svd import AlignmentError, AlignmentSettings  # noqa: E402
from vloc_ros.networks.local import sample, sample_maps  # noqa: E402
from vloc_ros.networks.unet import UNet  # noqa: E402
from vloc_ros.networks.unet_checkpoint import published_names  # noqa: E402
from vloc_ros.training.objective import StereoBatch  # noqa: E402
from vloc_ros.training.published import PublishedObjective, lifted, solved  # noqa: E402
from vloc_ros.training.published_settings import PublishedSettings, Targets  # noqa: E402
from vloc_ros.training.window_keypoints import window_keypoints  # noqa: E402

HEIGHT, WIDTH, MOVED = 64, 96, 16
CAMERA = theirs.Camera(100.0, 47.0, 31.0, 0.24)
PUBLISHED = AlignmentSettings(iterations=15, error=AlignmentError.SPACE, max_error_m=4.0, by_noise=False, min_inliers=6)


@pytest.fixture(scope="module", params=[4, 8])
def network(request):
    """Random weights that make peaks, and fine maps that are rarely on: with those of the start, all places look alike."""
    torch.manual_seed(request.param)
    network = UNet(request.param)
    with torch.no_grad():
        for head in (network.detector.head, network.scorer.head):
            head.weight.mul_(60.0)
        for level in (2, 3, 4):
            network.encoder[level][4].weight.mul_(0.05)
        for level in (0, 1):
            network.encoder[level][4].bias.fill_(-1.0)
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0
        network(torch.rand(2, 3, 48, 64))  # statistics of the batch normalisations
    return network.eval()


@pytest.fixture(scope="module")
def weights(network):
    arrays = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    return {name: torch.from_numpy(array) for name, array in published_names(arrays).items()}


@pytest.fixture(scope="module")
def images():
    """A picture, and the same from a camera farther to the right."""
    torch.manual_seed(1)
    wide = torch.nn.functional.interpolate(torch.rand(1, 3, HEIGHT // 4, (WIDTH + MOVED) // 4), scale_factor=4, mode="bicubic")
    wide = (0.4 * wide + 0.6 * torch.rand_like(wide)).clamp(0.0, 1.0)
    return wide[..., :WIDTH].contiguous(), wide[..., MOVED:].contiguous()


@pytest.fixture(scope="module")
def disparity():
    """A wall that the picture is on, 6 m away, and a part of it that stereo did not see."""
    image = torch.full((1, 1, HEIGHT, WIDTH), CAMERA.f * CAMERA.b / 6.0)
    image[..., 20:40, 30:50] = -1.0
    return image


@torch.inference_mode()
def test_logits_and_scores_agree(network, weights, images):
    logits, scores, _ = theirs.network(images[0], weights)
    maps = network(images[0])
    assert logits.std() > 0.05 and scores.std() > 0.01
    assert torch.allclose(maps.logits, logits, atol=1e-4) and torch.allclose(maps.scores, scores, atol=1e-4)


@torch.inference_mode()
def test_keypoints_scores_and_descriptors_agree_without_the_dense_map(network, weights, images):
    choices = theirs.Choices()
    network, weights = in_double(network, weights)
    logits, scores, descriptors = theirs.network(images[0].double(), weights)
    points = theirs.keypoints(logits, 16)
    maps = network(images[0].double())
    ours = window_keypoints(maps.logits)
    assert torch.allclose(ours, points.transpose(1, 2), atol=1e-4)
    assert torch.allclose(sample(maps.scores, ours), theirs.sampled(scores, points, choices).transpose(1, 2), atol=1e-4)
    columns = sample_maps(maps, network, ours)
    assert torch.allclose(columns, theirs.sampled(descriptors, points, choices).transpose(1, 2), atol=1e-4)
    size = descriptors.shape[1]
    expected = theirs.normalised(theirs.sampled(descriptors, points, choices)) / (size - 1) ** 0.5
    assert torch.allclose(network.describe(columns), expected.transpose(1, 2), atol=1e-4)


def in_double(network, weights):
    """In double precision: these weights make rough maps, in which a rounded position has other values."""
    twin = UNet(network.width).eval().double()
    twin.load_state_dict(network.state_dict())
    return twin, {name: tensor.double() for name, tensor in weights.items()}


@torch.inference_mode()
def test_samples_at_the_border_agree_too(network, weights, images):
    corners = torch.tensor([[0.0, 0.0], [WIDTH - 1.0, HEIGHT - 1.0], [0.3, 40.5], [94.7, 62.9], [63.5, 0.1]])[None]
    descriptors = theirs.network(images[0], weights)[2]
    expected = theirs.sampled(descriptors, corners.transpose(1, 2), theirs.Choices()).transpose(1, 2)
    assert torch.allclose(sample_maps(network(images[0]), network, corners), expected, atol=1e-4)


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("dense", [True, False])
@torch.inference_mode()
def test_matches_and_pose_of_the_objective_agree(network, weights, images, disparity, dense, shifted):
    twin, doubles = in_double(network, weights)
    image_a, image_b, disparity = (image.double() for image in (*images, disparity))
    expected = theirs.matched(image_a, image_b, doubles, theirs.Choices(dense=dense, shifted=shifted))
    settings = PublishedSettings(targets=Targets.DENSE if dense else Targets.SPARSE, published_sampling=shifted)
    found = PublishedObjective(settings).match(twin, twin(image_a), twin(image_b))
    assert torch.allclose(found.target, expected.pseudo.transpose(1, 2), atol=1e-4)
    assert torch.allclose(found.weights, expected.weights[:, 0], atol=1e-4) and found.weights.std() > 1e-3
    intrinsics = torch.tensor([[CAMERA.f, CAMERA.f, CAMERA.cu, CAMERA.cv, CAMERA.b]], dtype=torch.float64)
    identity = torch.eye(4, dtype=torch.float64)[None]
    matched = lifted(found, StereoBatch(intrinsics, disparity, disparity, identity, identity))
    points_a, valid_a = theirs.points_of(expected.source, disparity, CAMERA)
    points_b, valid_b = theirs.points_of(expected.pseudo, disparity, CAMERA)
    valid = valid_a & valid_b
    assert torch.equal(matched.valid, valid) and 6 < valid.sum() < valid.numel()
    kept = torch.where(valid, expected.weights[:, 0], torch.zeros_like(expected.weights[:, 0]))
    assert_same_pose(theirs.aligned(points_a[0], points_b[0], kept[0]), solved(matched, found.weights, valid)[0].numpy())


def assert_same_pose(expected, found):
    xi = se3.log(se3.between(expected.double().numpy(), found))
    assert np.linalg.norm(xi[:3]) < 1e-3 and np.linalg.norm(xi[3:]) < 1e-4


def observed(network, image, disparity):
    """What an extractor gives of an image, with the disparities of its key points."""
    maps = network(image)
    points = window_keypoints(maps.logits)
    descriptors = network.describe(sample_maps(maps, network, points))[0].numpy()
    pixels = points.transpose(1, 2)
    found, valid = theirs.points_of(pixels, disparity, CAMERA)
    depth = found[0, 2].numpy()
    values = np.where(valid[0].numpy(), CAMERA.f * CAMERA.b / np.maximum(depth, 1e-6), np.nan).astype(np.float32)
    scores = sample(maps.scores, points)[0, :, 0].numpy()
    return Features(points[0].numpy(), scores, np.full_like(scores, 16.0), descriptors, values)


@torch.inference_mode()
def test_matches_and_pose_at_run_time_agree(network, weights, images, disparity):
    """One picture that is a wall straight ahead and then a slanted one, nearer: each key point is its own match."""
    picture = images[0]
    slanted = torch.full_like(disparity, 4.4) + 0.004 * torch.arange(WIDTH)
    expected = theirs.matched(picture, picture, weights, theirs.Choices(dense=False))
    a, b = observed(network, picture, disparity), observed(network, picture, slanted)
    seen = sight(a, b, Metric.COSINE, MatchSettings(matcher=Matcher.SOFT))
    assert np.allclose(seen.keypoints, expected.pseudo[0].T.numpy(), atol=1e-4 * WIDTH)
    # Where all of the softmax is on one target, what is expected is what is read there.
    clear = np.linalg.norm(seen.keypoints - a.keypoints, axis=1) < 1e-4
    assert np.allclose(seen.weights[clear], expected.weights[0, 0].numpy()[clear], atol=1e-4)
    rows = np.flatnonzero(clear & np.isfinite(a.disparity))
    assert 8 <= len(rows) < len(a)
    camera = StereoCamera(WIDTH, HEIGHT, CAMERA.f, CAMERA.f, CAMERA.cu, CAMERA.cv, CAMERA.b)
    settings = PnpSettings(max_sigma_m=100.0, max_sigma_rad=3.0, alignment=PUBLISHED)
    ours = estimate_alignment(
        camera,
        Landmarks.triangulate(camera, a.keypoints[rows].astype(float), a.disparity[rows].astype(float), settings),
        seen.keypoints[rows].astype(float),
        seen.disparity[rows].astype(float),
        seen.weights[rows].astype(float),
        settings,
    )
    points_a, _ = theirs.points_of(expected.source, disparity, CAMERA)
    points_b, _ = theirs.points_of(expected.pseudo, slanted, CAMERA)
    assert ours.success and ours.inliers.all()
    kept = expected.weights[0, 0][rows].double()
    pose = theirs.aligned(points_a[0][:, rows].double(), points_b[0][:, rows].double(), kept)
    assert abs(pose[0, 2]) > 0.01  # the wall has turned
    assert_same_pose(pose, ours.a_T_b)


@torch.inference_mode()
def test_the_published_ransac_finds_the_motion(network, weights, images, disparity):
    """The same picture on a wall that was 6 m away and is 5 m away."""
    found = theirs.matched(images[0], images[0], weights, theirs.Choices())
    pose = theirs.pose_of(found, disparity, disparity * 1.2, CAMERA, theirs.Choices(tolerance=0.6))
    assert pose[2, 3].item() == pytest.approx(-1.0, abs=0.1)
