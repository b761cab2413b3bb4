"""The networks, layer by layer: numbers of weights, shapes, names, and what the layers compute."""

from __future__ import annotations

import numpy as np
import pytest
from network_samples import place

torch = pytest.importorskip("torch", reason="torch is not installed (requirements/torch.txt)")

from vloc_ros.networks import INPUT_SIZE, Backbone, NetworkKind, backbones_of, preprocess  # noqa: E402
from vloc_ros.networks.mobilenetv3 import FrozenBatchNorm, MobileNetV3, SqueezeExcitation  # noqa: E402
from vloc_ros.networks.network import PlaceNetwork, describe_images, random_network, tensors_of  # noqa: E402
from vloc_ros.networks.pooling import GemHead, GeneralizedMean, NetVlad  # noqa: E402
from vloc_ros.networks.vgg16 import VGG16  # noqa: E402


def weights(module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture(scope="module")
def mobilenet():
    return random_network(NetworkKind.NETVLAD, Backbone.MOBILENETV3).encoder


# --- numbers of weights


@pytest.mark.parametrize(
    ("kind", "backbone", "encoder", "pool", "dimension"),
    [
        (NetworkKind.NETVLAD, Backbone.VGG16, 14_714_688, 65_536, 32_768),
        (NetworkKind.NETVLAD, Backbone.MOBILENETV3, 2_971_952 + 246_016, 32_768, 16_384),
        (NetworkKind.GEM, Backbone.VGG16, 14_714_688, 262_144, 511),
        (NetworkKind.GEM, Backbone.MOBILENETV3, 2_971_952 + 246_016, 65_536, 255),
    ],
)
def test_published_numbers_of_weights(kind, backbone, encoder, pool, dimension):
    network = PlaceNetwork(kind, backbone)
    assert (weights(network.encoder), weights(network.pool), network.dimension) == (encoder, pool, dimension)


def test_the_last_block_of_vgg_is_what_system_m_trains():
    assert weights(VGG16(last_relu=False).features[24:]) == 7_079_424


# --- backbones


def test_vgg_has_the_names_of_published_weights():
    names = {name: tuple(tensor.shape) for name, tensor in VGG16(last_relu=False).state_dict().items()}
    assert [name for name in names if name.endswith("weight")] == [
        f"features.{index}.weight" for index in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    ]
    assert names["features.0.weight"] == (64, 3, 3, 3) and names["features.28.weight"] == (512, 512, 3, 3)


def test_only_the_last_relu_differs():
    torch.manual_seed(0)
    signed, positive = VGG16(last_relu=False), VGG16(last_relu=True)
    positive.load_state_dict(signed.state_dict())
    with torch.inference_mode():
        a, b = (model(torch.randn(1, 3, 48, 64, generator=torch.Generator().manual_seed(1))) for model in (signed, positive))
    assert a.shape == (1, 512, 3, 4) and a.min() < 0
    assert torch.equal(a.clamp(min=0), b)


def test_mobilenet_follows_table_1_of_its_paper(mobilenet):
    """Side and channels of what each row of the paper's table takes in, and of what the last one gives."""
    expected = [
        *[(112, 16)] * 2,
        *[(56, 24)] * 2,
        *[(28, 40)] * 3,
        *[(14, 80)] * 4,
        *[(14, 112)] * 2,
        *[(7, 160)] * 3,
        (7, 960),
    ]
    x = torch.zeros(1, 3, 224, 224)
    seen = []
    with torch.inference_mode():
        for layer in mobilenet.features:
            x = layer(x)
            seen.append((x.shape[2], x.shape[1]))
        assert mobilenet.project(x).shape == (1, 256, 7, 7)
    assert seen == expected


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("features.0.0.weight", (16, 3, 3, 3)),
        ("features.0.1.running_var", (16,)),
        ("features.1.block.0.0.weight", (16, 1, 3, 3)),
        ("features.1.block.1.1.bias", (16,)),
        ("features.2.block.0.0.weight", (64, 16, 1, 1)),
        ("features.4.block.2.fc1.weight", (24, 72, 1, 1)),
        ("features.4.block.3.0.weight", (40, 72, 1, 1)),
        ("features.8.block.1.0.weight", (200, 1, 3, 3)),
        ("features.11.block.2.fc2.bias", (480,)),
        ("features.15.block.1.0.weight", (960, 1, 5, 5)),
        ("features.15.block.2.fc1.weight", (240, 960, 1, 1)),
        ("features.16.0.weight", (960, 160, 1, 1)),
        ("features.16.1.running_mean", (960,)),
    ],
)
def test_mobilenet_has_the_names_of_published_weights(mobilenet, name, shape):
    assert tuple(mobilenet.state_dict()[name].shape) == shape


def test_activations_of_mobilenet(mobilenet):
    """ReLU in the first half, hard swish in the second: minus one becomes 0 or minus a third."""
    kinds = [type(block.block[0][-1]).__name__ for block in list(mobilenet.features)[1:-1]]
    assert kinds == ["ReLU"] * 6 + ["Hardswish"] * 9
    assert all(type(mobilenet.features[index][-1]).__name__ == "Hardswish" for index in (0, -1))


def test_short_cuts_of_mobilenet(mobilenet):
    """Where neither the number of channels nor the side changes."""
    assert [block.short_cut for block in list(mobilenet.features)[1:-1]] == [
        *(True, False, True, False, True, True, False),
        *(True, True, True, False, True, False, True, True),
    ]


def test_frozen_batch_norm_uses_what_is_stored_in_training_too():
    layer = FrozenBatchNorm(2)
    layer.load_state_dict(
        {
            "weight": torch.tensor([2.0, 1.0]),
            "bias": torch.tensor([0.5, 0.0]),
            "running_mean": torch.tensor([1.0, 0.0]),
            "running_var": torch.tensor([3.999, 0.999]),
        }
    )
    layer.train()
    x = torch.tensor([[[[3.0]], [[3.0]]], [[[1.0]], [[-1.0]]]])
    assert torch.allclose(layer(x).flatten(), torch.tensor([2.5, 3.0, 0.5, -1.0]), atol=1e-6)
    assert layer.running_mean[0] == 1.0 and not any(parameter.requires_grad for parameter in layer.parameters())


def test_squeeze_and_excitation_weighs_channels():
    layer = SqueezeExcitation(32)
    for parameter in layer.parameters():
        torch.nn.init.zeros_(parameter)
    layer.fc2.bias.data[:16] = 3.0  # a hard sigmoid of 3 is 1, of 0 one half
    x = torch.rand(1, 32, 4, 4)
    assert torch.allclose(layer(x), x * torch.cat([torch.ones(16), torch.full((16,), 0.5)])[:, None, None])


# --- pooling


def netvlad_by_its_definition(x: np.ndarray, assignment: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """One image (C, H, W), residual by residual (equation 4 of the paper)."""
    vlad = np.zeros_like(centres)
    for row in range(x.shape[1]):
        for column in range(x.shape[2]):
            local = x[:, row, column] / np.linalg.norm(x[:, row, column])
            weight = np.exp(assignment @ local)
            weight /= weight.sum()
            for cluster, centre in enumerate(centres):
                vlad[cluster] += weight[cluster] * (local - centre)
    vlad /= np.linalg.norm(vlad, axis=1, keepdims=True)
    return vlad.ravel() / np.linalg.norm(vlad)


def test_netvlad_is_what_its_paper_defines():
    rng = np.random.default_rng(0)
    layer = NetVlad(8, clusters=5)
    assignment, centres = rng.normal(size=(5, 8)) * 4, rng.normal(size=(5, 8))
    layer.conv.weight.data = torch.from_numpy(assignment[:, :, None, None]).float()
    layer.centroids.data = torch.from_numpy(centres).float()
    x = rng.normal(size=(3, 8, 4, 6)) * 7
    found = layer(torch.from_numpy(x).float()).detach().numpy()
    for image, vector in zip(x, found, strict=True):
        np.testing.assert_allclose(vector, netvlad_by_its_definition(image, assignment, centres), atol=1e-5)


def test_netvlad_normalises_over_channels():
    """Scaling one position must change nothing; normalising over the positions of a channel would let it."""
    torch.manual_seed(0)
    layer = NetVlad(8, clusters=4)
    layer.set_clusters(torch.randn(4, 8), 10.0)
    x = torch.randn(1, 8, 3, 3)
    scaled = x.clone()
    scaled[:, :, 1, 1] *= 50.0
    assert torch.allclose(layer(x), layer(scaled), atol=1e-6)


def test_set_clusters_assigns_a_centre_to_itself():
    centres = torch.eye(4, 8)
    layer = NetVlad(8, clusters=4)
    layer.set_clusters(3.0 * centres, alpha=20.0)
    weight = (layer.conv.weight.flatten(1) @ centres.T).softmax(dim=0)
    assert torch.allclose(weight, torch.eye(4), atol=1e-6)
    assert torch.equal(layer.centroids.data, 3.0 * centres)


def test_zeros_stay_zeros_without_nan():
    layer = NetVlad(8, clusters=4)
    layer.set_clusters(torch.zeros(4, 8), 1.0)
    assert torch.equal(layer(torch.zeros(2, 8, 3, 3)), torch.zeros(2, 32))


def test_generalised_mean():
    x = torch.tensor([1.0, 2.0, 3.0, -5.0]).reshape(1, 1, 2, 2)
    layer = GeneralizedMean()
    assert layer.p.item() == 3.0 and layer.p.requires_grad and layer.eps == 1e-6
    assert layer(x).item() == pytest.approx(((1 + 8 + 27) / 4) ** (1 / 3), rel=1e-6)
    layer(x).sum().backward()
    assert torch.isfinite(layer.p.grad).all() and layer.p.grad.abs() > 0
    assert GeneralizedMean(p=1.0)(x.abs()).item() == pytest.approx(11 / 4)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_each_image_of_a_batch_gets_its_own_unit_vector(count):
    torch.manual_seed(0)
    head = GemHead(16)
    x = torch.rand(count, 16, 3, 3)
    together = head(x)
    assert together.shape == (count, 15)
    assert torch.allclose(together.norm(dim=1), torch.ones(count), atol=1e-6)
    alone = torch.cat([head(image[None]) for image in x])
    assert torch.allclose(together, alone, atol=1e-6)


# --- preparation and whole networks


@pytest.mark.parametrize("size", [(376, 1241), (32, 64), (224, 224), (480, 100), (1, 1)])
def test_images_of_any_size_fill_the_input(size):
    """Nothing is padded: a white image is white to its corners."""
    prepared = preprocess([np.full(size, 255, dtype=np.uint8)])
    assert prepared.shape == (1, 3, INPUT_SIZE, INPUT_SIZE) and prepared.dtype == np.float32
    expected = (1.0 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(prepared[0].min(axis=(1, 2)), expected, rtol=1e-5)
    np.testing.assert_allclose(prepared[0].max(axis=(1, 2)), expected, rtol=1e-5)


def test_colours_keep_their_order_and_the_whole_image_is_seen():
    image = np.zeros((100, 400, 3), dtype=np.uint8)
    image[:, :200, 0] = 255  # red on the left
    image[:, 200:, 2] = 255  # blue on the right
    red, _, blue = preprocess([image])[0]
    assert (red[:, 100] > red[:, 120]).all() and (blue[:, 120] > blue[:, 100]).all()
    assert (red[:, 0] == red.max()).all() and (blue[:, -1] == blue.max()).all()


def test_fine_patterns_do_not_alias():
    """Stripes of one pixel become grey, not other stripes."""
    stripes = np.tile(np.array([0, 255], dtype=np.uint8), (448, 448))
    assert np.ptp(preprocess([stripes])[0, 0]) < 0.05


@pytest.mark.parametrize("kind", list(NetworkKind))
def test_a_seed_decides_random_weights(kind):
    backbone = backbones_of(kind)[-1]
    one, same, other = (tensors_of(random_network(kind, backbone, seed)) for seed in (1, 1, 2))
    assert all(np.array_equal(one[name], same[name]) for name in one)
    firsts = {Backbone.VIT_SMALL: "encoder.cls_token", Backbone.CCT_SMALL: "encoder.tokenizer.trunk.encoder.0.0.weight"}
    first = firsts.get(backbone, "encoder.features.0.0.weight")
    assert not np.array_equal(one[first], other[first])


@pytest.mark.parametrize(("kind", "backbone"), [(kind, backbone) for kind in NetworkKind for backbone in backbones_of(kind)])
def test_signals_reach_the_end_of_random_networks(kind, backbone):
    """They neither vanish nor explode on their way: each picture, with a little noise, is nearest to itself."""
    network = random_network(kind, backbone)
    assert not network.training
    clean = [place(number) for number in range(3)]
    noisy = [image + np.random.default_rng(9).integers(0, 3, image.shape, dtype=np.uint8) for image in clean]
    found = describe_images(network, clean + noisy, batch=4)
    assert np.isfinite(found).all() and np.allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)
    assert (np.argmax(found[3:] @ found[:3].T, axis=1) == np.arange(3)).all()


def test_mobilenet_stands_alone():
    assert weights(MobileNetV3().features) == 2_971_952 and weights(MobileNetV3().project) == 246_016
