"""ALIKE (Zhao et al., "ALIKE: Accurate and Lightweight Keypoint Detection and Descriptor Extraction", T-MM 2022).

A peer to be measured against: its network and differentiable key point detection, for published weights with one head
(``alike-t``, ``alike-s``, ``alike-n``), under the names that their files use.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from vloc_ros.errors import WeightsError
from vloc_ros.networks.local import sample

MULTIPLE = 32
_RADIUS = 2
_TEMPERATURE = 0.1


class _Block(nn.Module):
    """Two 3x3 convolutions with batch normalisation; with ``skip`` a 1x1 convolution of the input is added to the result."""

    def __init__(self, channels_in: int, channels_out: int, skip: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.downsample = nn.Conv2d(channels_in, channels_out, 1) if skip else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, out, H, W) of (B, in, H, W)."""
        inner = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        return functional.relu(inner if self.downsample is None else inner + self.downsample(x))


class AlikeNetwork(nn.Module):
    """Four blocks at strides 1, 2, 8 and 32, fused at full resolution; one head for descriptors and score (section III-A)."""

    def __init__(self, channels: tuple[int, int, int, int], dimension: int) -> None:
        """Build it with random weights; ``channels`` are of the four blocks, ``dimension`` of the descriptors."""
        super().__init__()
        c1, c2, c3, c4 = channels
        self.block1, self.block2 = _Block(3, c1, False), _Block(c1, c2, True)
        self.block3, self.block4 = _Block(c2, c3, True), _Block(c3, c4, True)
        part = dimension // 4
        self.conv1, self.conv2 = nn.Conv2d(c1, part, 1, bias=False), nn.Conv2d(c2, part, 1, bias=False)
        self.conv3, self.conv4 = nn.Conv2d(c3, part, 1, bias=False), nn.Conv2d(c4, part, 1, bias=False)
        self.convhead2 = nn.Conv2d(dimension, dimension + 1, 1, bias=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 1, H, W) scores and (B, D, H, W) descriptors of unit length of (B, 3, H, W) RGB images from 0 to 1.

        H and W are multiples of 32.
        """
        x1 = self.block1(images)
        x2 = self.block2(functional.max_pool2d(x1, 2))
        x3 = self.block3(functional.max_pool2d(x2, 4))
        x4 = self.block4(functional.max_pool2d(x3, 4))
        size = images.shape[-2:]
        parts = [functional.relu(self.conv1(x1))]
        for conv, x in ((self.conv2, x2), (self.conv3, x3), (self.conv4, x4)):
            # corners aligned, as in the published network
            parts.append(functional.interpolate(functional.relu(conv(x)), size, mode="bilinear", align_corners=True))
        fused = self.convhead2(torch.cat(parts, 1))
        return torch.sigmoid(fused[:, -1:]), functional.normalize(fused[:, :-1], dim=1)


def alike_of(tensors: Mapping[str, NDArray[np.float32]], path: Path) -> AlikeNetwork:
    """The network whose weights these are, in evaluation mode.

    Raises:
        WeightsError: they are not of an ALIKE with one head.
    """
    names = ["block1.conv1.weight", *(f"block{k}.conv1.weight" for k in (2, 3, 4)), "convhead2.weight"]
    if not all(name in tensors and tensors[name].ndim == 4 for name in names) or "convhead1.weight" in tensors:
        raise WeightsError(f"{path} is not of an ALIKE with one head (alike-t, alike-s, alike-n); import other networks first")
    c1, c2, c3, c4, dimension = (len(tensors[name]) for name in names)
    network = AlikeNetwork((c1, c2, c3, c4), dimension - 1)
    try:
        missing, _ = network.load_state_dict(
            {name: torch.from_numpy(value.copy()) for name, value in tensors.items()}, strict=False
        )
    except RuntimeError as error:
        raise WeightsError(f"{path} holds an ALIKE of another shape: {str(error).splitlines()[-1].strip()}") from error
    lacking = [name for name in missing if not name.endswith("num_batches_tracked")]
    unknown = [name for name in tensors if name not in network.state_dict()]
    if lacking or unknown:
        raise WeightsError(f"{path} is not of an ALIKE with one head: look at {', '.join((lacking or unknown)[:3])}")
    network.eval()
    return network


def detect(
    network: AlikeNetwork, image: NDArray[np.uint8], count: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """The best key points of an (H, W, 3) RGB image.

    Maxima of the score within two pixels, made sub-pixel by the expectation over their neighbourhood (section III-B).

    Returns:
        (N, 2) pixels, (N,) scores and (N, D) descriptors of unit length, best score first.
    """
    height, width = image.shape[:2]
    tensor = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float() / 255.0
    with torch.inference_mode():
        score, descriptors = network(functional.pad(tensor, (0, -width % MULTIPLE, 0, -height % MULTIPLE)))
    score, descriptors = score[:, :, :height, :width], descriptors[:, :, :height, :width]
    maxima = _suppressed(score)[0, 0]
    edge = _RADIUS + 1
    inner = torch.zeros_like(maxima)
    inner[edge:-edge, edge:-edge] = maxima[edge:-edge, edge:-edge]
    values, flat = torch.topk(inner.flatten(), min(count, inner.numel()))
    flat = flat[values > 0.0]
    v, u = flat // width, flat % width
    points = torch.stack([u, v], 1).float() + _refinement(score[0, 0], u, v)
    scores = sample(score, points[None])[0, :, 0]
    described = functional.normalize(sample(descriptors, points[None])[0], dim=1)
    order = torch.argsort(scores, descending=True, stable=True)
    return points[order].numpy(), scores[order].numpy(), described[order].numpy()


def _suppressed(score: Tensor) -> Tensor:
    """The scores at maxima of their neighbourhoods, zero elsewhere; twice, what only a suppressed maximum hides comes back."""

    def highest(x: Tensor) -> Tensor:
        return functional.max_pool2d(x, 2 * _RADIUS + 1, stride=1, padding=_RADIUS)

    kept = score == highest(score)
    for _ in range(2):
        near = highest(kept.float()) > 0.0
        rest = torch.where(near, torch.zeros_like(score), score)
        kept = kept | ((rest == highest(rest)) & ~near)
    return torch.where(kept, score, torch.zeros_like(score))


def _refinement(score: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """(N, 2) offsets: expectation over the softmax of the scores around each of N pixels of an (H, W) map."""
    steps = torch.arange(-_RADIUS, _RADIUS + 1)
    dv, du = (grid.flatten() for grid in torch.meshgrid(steps, steps, indexing="ij"))
    around = score[v[:, None] + dv, u[:, None] + du]
    weights = torch.softmax((around - around.amax(1, keepdim=True)) / _TEMPERATURE, 1)
    return torch.stack([(weights * du).sum(1), (weights * dv).sum(1)], 1)
