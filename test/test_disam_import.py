"""Published check points of DISAM, made here as they are published: one file per network, without our names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from disam_samples import IMAGES  # noqa: E402
from torch.nn import functional  # noqa: E402

from vloc_ros.cli import main  # noqa: E402
from vloc_ros.data.seasons_layout import CMU_CONDITIONS  # noqa: E402
from vloc_ros.errors import ConfigError, DataError, WeightsError  # noqa: E402
from vloc_ros.networks.disam_form import DisamForm, Stage  # noqa: E402
from vloc_ros.networks.disam_import import import_domains  # noqa: E402
from vloc_ros.networks.disam_preprocessing import disam_images  # noqa: E402
from vloc_ros.networks.latent_basis import MOST_ELEMENTS, automatic_cell  # noqa: E402
from vloc_ros.retrieval import Disam, View  # noqa: E402

NAMES = ("sun", "rain")


def encoder_tensors(channels: int, rng: np.random.Generator) -> dict[str, torch.Tensor]:
    """As the state dict of a nn.Sequential named ``model`` that holds the layers of the paper, in its order."""
    found: dict[str, torch.Tensor] = {}
    convolution(found, "model.1", (channels, 3, 7, 7), rng)
    slope(found, "model.3", rng)
    for number, before in ((4, channels), (7, 2 * channels)):
        convolution(found, f"model.{number}", (2 * before, before, 3, 3), rng)
        slope(found, f"model.{number + 2}", rng)
    blocks(found, 10, 4, 4 * channels, rng)
    return found


def decoder_tensors(channels: int, rng: np.random.Generator) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    blocks(found, 0, 5, 4 * channels, rng)
    for number, before in ((5, 4 * channels), (8, 2 * channels)):
        convolution(found, f"model.{number}", (before, before // 2, 4, 4), rng, before // 2)
        slope(found, f"model.{number + 2}", rng)
    convolution(found, "model.12", (3, channels, 7, 7), rng)
    return found


def convolution(found: dict, name: str, shape: tuple[int, ...], rng: np.random.Generator, biases: int = 0) -> None:
    found[f"{name}.weight"] = torch.from_numpy(rng.normal(0, 0.1, shape).astype(np.float32))
    found[f"{name}.bias"] = torch.from_numpy(rng.normal(0, 0.1, biases or shape[0]).astype(np.float32))


def slope(found: dict, name: str, rng: np.random.Generator) -> None:
    found[f"{name}.weight"] = torch.from_numpy(rng.uniform(0.1, 0.4, 1).astype(np.float32))


def blocks(found: dict, first: int, count: int, channels: int, rng: np.random.Generator) -> None:
    for number in range(first, first + count):
        convolution(found, f"model.{number}.conv_block.1", (channels, channels, 3, 3), rng)
        slope(found, f"model.{number}.conv_block.3", rng)
        convolution(found, f"model.{number}.conv_block.5", (channels, channels, 3, 3), rng)


def normalised(maps: torch.Tensor) -> torch.Tensor:
    mean = maps.mean(dim=(2, 3), keepdim=True)
    return (maps - mean) / ((maps - mean) ** 2).mean(dim=(2, 3), keepdim=True).add(1e-5).sqrt()


def padded(maps: torch.Tensor, by: int) -> torch.Tensor:
    return functional.pad(maps, (by, by, by, by), mode="reflect")


def leaky(maps: torch.Tensor, tensors: dict, name: str) -> torch.Tensor:
    return torch.where(maps > 0, maps, tensors[f"{name}.weight"] * maps)


def convolved(maps: torch.Tensor, tensors: dict, name: str, **how: int) -> torch.Tensor:
    return functional.conv2d(maps, tensors[f"{name}.weight"], tensors[f"{name}.bias"], **how)


def through_blocks(maps: torch.Tensor, tensors: dict, first: int, count: int) -> torch.Tensor:
    for number in range(first, first + count):
        name = f"model.{number}.conv_block"
        inner = leaky(normalised(convolved(padded(maps, 1), tensors, f"{name}.1")), tensors, f"{name}.3")
        maps = maps + normalised(convolved(padded(inner, 1), tensors, f"{name}.5"))
    return maps


def encoded(tensors: dict, images: torch.Tensor) -> torch.Tensor:
    """The forward pass of the paper, written out."""
    maps = leaky(normalised(convolved(padded(images, 3), tensors, "model.1")), tensors, "model.3")
    for number in (4, 7):
        maps = leaky(normalised(convolved(maps, tensors, f"model.{number}", stride=2, padding=1)), tensors, f"model.{number + 2}")
    return through_blocks(maps, tensors, 10, 4)


def decoded(tensors: dict, latents: torch.Tensor) -> torch.Tensor:
    maps = through_blocks(latents, tensors, 0, 5)
    for number in (5, 8):
        weight, bias = tensors[f"model.{number}.weight"], tensors[f"model.{number}.bias"]
        maps = leaky(
            normalised(functional.conv_transpose2d(maps, weight, bias, stride=2, padding=1)), tensors, f"model.{number + 2}"
        )
    return torch.tanh(convolved(padded(maps, 3), tensors, "model.12"))


def published(folder: Path, conditions: int = 2, channels: int = 4, epoch: str = "1200") -> list[dict[str, torch.Tensor]]:
    """A folder of check points; encoders, then decoders."""
    rng = np.random.default_rng(3)
    all_tensors = [make(channels, rng) for make in (encoder_tensors, decoder_tensors) for _ in range(conditions)]
    folder.mkdir(exist_ok=True)
    for number, tensors in enumerate(all_tensors):
        torch.save(tensors, folder / f"{epoch}_net_G{number}.pth")
    return all_tensors


def imported(folder: Path, conditions: tuple[str, ...] = NAMES, epoch: str = "1200"):
    return import_domains(folder, epoch, Stage.COARSE, conditions, channels=4, side=64)


def test_they_compute_what_the_published_networks_do(tmp_path):
    tensors = published(tmp_path)
    torch.save(torch.zeros(1), tmp_path / "1200_net_D0.pth")
    network = imported(tmp_path)
    images = torch.from_numpy(disam_images(IMAGES[:2], network.form))
    with torch.inference_mode():
        for condition in range(2):
            latents = network.encode(images, condition)
            expected = encoded(tensors[condition], images)
            assert latents.shape == (2, 16, 16, 16) and torch.allclose(latents, expected, atol=1e-4)
            assert torch.allclose(network.decode(latents, condition), decoded(tensors[2 + condition], expected), atol=1e-4)
    assert network.classifier is None and network.form.conditions == NAMES and not network.training


def test_the_command_imports_the_published_size(tmp_path, capsys):
    rng = np.random.default_rng(1)
    encoder, decoder = encoder_tensors(64, rng), decoder_tensors(64, rng)
    for number in range(4):
        torch.save(encoder if number < 2 else decoder, tmp_path / f"latest_net_G{number}.pth")
    assert sum(tensor.numel() for tensor in encoder.values()) == 5_099_143
    assert sum(tensor.numel() for tensor in decoder.values()) == 6_565_770
    out = tmp_path / "cmu.safetensors"
    arguments = ["--epoch", "latest", "--stage", "fine", "--conditions", "sun,rain", "--out", str(out)]
    assert main(["weights", "import", str(tmp_path), "--as", "disam", *arguments]) == 0
    assert "23,329,826" in capsys.readouterr().out
    card = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    assert card["backbone"] == "64 channels, 256x256, fine" and card["conditions"] == "sun,rain"
    assert card["dimension"] == 1024 and "epoch latest" in card["trained_on"]


def test_twelve_have_the_names_of_cmu_seasons(tmp_path):
    published(tmp_path, conditions=12, channels=1)
    network = import_domains(tmp_path, "1200", Stage.COARSE, channels=1, side=32)
    assert network.form.conditions == CMU_CONDITIONS and len(network.encoders) == len(network.decoders) == 12


def test_what_was_imported_describes_and_finds_conditions_by_reconstruction(tmp_path):
    from vloc_ros.networks.disam_files import save_disam

    tensors = published(tmp_path)
    network = imported(tmp_path)
    save_disam(tmp_path / "site.safetensors", network, "nothing")
    descriptor = Disam.load(tmp_path / "site.safetensors")
    images = torch.from_numpy(disam_images(IMAGES, network.form))
    with torch.inference_mode():
        errors = [(decoded(tensors[2 + k], encoded(tensors[k], images)) - images).abs().mean(dim=(1, 2, 3)) for k in range(2)]
    assert descriptor.infer(IMAGES) == [NAMES[k] for k in torch.stack(errors).argmin(dim=0)]
    assert descriptor.describe(View(image=IMAGES[0])).nbytes <= 8192


@pytest.mark.parametrize(("channels", "side", "cells"), [(64, 256, 2), (16, 128, 5), (8, 32, 8), (1000, 64, 1)])
def test_the_descriptor_takes_8_kib_at_most_where_that_is_possible(channels, side, cells):
    form = DisamForm(channels, side, side, Stage.COARSE, NAMES)
    cell = automatic_cell(form, MOST_ELEMENTS)
    assert -(-form.latent[1] // cell) == cells
    assert 4 * channels * cells**2 <= 2048 or cells == 1


@pytest.mark.parametrize(
    ("spoil", "error", "complaint"),
    [
        (lambda folder: (folder / "1200_net_G1.pth").unlink(), WeightsError, r"lacks 1200_net_G1\.pth"),
        (lambda folder: (folder / "1200_net_G3.pth").unlink(), WeightsError, "holds 3 networks .* as many encoders as decoders"),
        (lambda folder: [path.unlink() for path in folder.iterdir()], WeightsError, "none at all"),
        (lambda folder: [path.unlink() for path in folder.iterdir()] and folder.rmdir(), DataError, "cannot read the folder"),
        (lambda folder: swap(folder, 0, 2), WeightsError, "'model.0.conv_block.1.weight' has the shape .* an encoder"),
        (lambda folder: shorten(folder), WeightsError, "holds 28 tensors, and an encoder has 29"),
        (lambda folder: (folder / "1200_net_G0.pth").write_bytes(b"no"), WeightsError, "is it damaged"),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path, spoil, error, complaint):
    folder = tmp_path / "CMU"
    published(folder)
    spoil(folder)
    with pytest.raises(error, match=complaint):
        imported(folder)


def swap(folder: Path, one: int, other: int) -> None:
    first, second = folder / f"1200_net_G{one}.pth", folder / f"1200_net_G{other}.pth"
    first.write_bytes(second.read_bytes())


def shorten(folder: Path) -> None:
    path = folder / "1200_net_G0.pth"
    tensors = torch.load(path, weights_only=True)
    tensors.popitem()
    torch.save(tensors, path)


def test_another_epoch_and_conditions_that_do_not_fit_are_said(tmp_path):
    published(tmp_path, epoch="300")
    with pytest.raises(WeightsError, match=r"no networks of epoch 1200 .* those of: 300"):
        imported(tmp_path)
    with pytest.raises(ConfigError, match="of 2 conditions: say their names"):
        imported(tmp_path, (), "300")
    with pytest.raises(ConfigError, match="of 2 conditions, and 3 were named"):
        imported(tmp_path, ("a", "b", "c"), "300")


def test_the_command_asks_which_model_it_is(tmp_path, capsys):
    assert main(["weights", "import", str(tmp_path), "--as", "disam", "--out", str(tmp_path / "a.safetensors")]) == 1
    assert "--stage coarse or --stage fine" in capsys.readouterr().err
    assert main(["weights", "import", "a.pth", "--as", "unet", "--stage", "fine", "--out", str(tmp_path / "a.safetensors")]) == 1
    assert "belong to --as disam alone" in capsys.readouterr().err
