"""The objective of the small network: descriptors that find their like among all others, key points that both images agree on.

Per pair, without any label but the warp between its images:

- *where*: in each cell of a randomly placed grid, the pixel on which both images agree most (the detector's own log
  probabilities at the two ends of the warp, with corners of either image as a hint that gets the training started) becomes
  the target of the detector in both. The grid is drawn anew each time, so that key points cannot learn one.
- *what*: descriptors at these pixels and at random ones must be nearest to their like, in both directions, among those of the
  pair (InfoNCE, van den Oord et al. 2018), not counting neighbours.
- *how good*: the score of a pixel is the probability that its descriptor is the mutual nearest neighbour of the right one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from vloc_ros.config import param
from vloc_ros.networks.local import LocalMaps, LocalNetwork, sample, sample_maps
from vloc_ros.training.objective import Objective, PairBatch

_FAR = -1e4  # in place of minus infinity, which makes gradients that are not numbers
_TEXTURE = 1e-5  # corner response below which there is no corner, of images from 0 to 1


@dataclass(frozen=True)
class ContrastiveSettings:
    """Contrastive training of key points and descriptors."""

    cell: int = param(8, "side of the cells that get one key point each", unit="px", min=4, max=32)
    window: int = param(9, "side of the neighbourhood in which a key point must stand out; odd", unit="px", min=3, max=33)
    points: int = param(512, "at most so many key points of a pair are compared", min=16, max=4096)
    others: int = param(128, "so many random pixels are compared besides", min=0, max=4096)
    temperature: float = param(0.05, "of the softmax over descriptor similarities", min=0.001, max=1.0)
    near: float = param(6.0, "descriptors closer than this are neither right nor wrong", unit="px", min=1.0, max=64.0)
    corner_hint: float = param(0.5, "weight of corners in the choice of key points; 0 leaves it to the network", min=0.0, max=10.0)
    detector: float = param(1.0, "weight of the detector's loss", min=0.0, max=100.0)
    descriptor: float = param(1.0, "weight of the descriptors' loss", min=0.0, max=100.0)
    score: float = param(0.5, "weight of the scores' loss", min=0.0, max=100.0)


class _Points(NamedTuple):
    """Of one pair: (N, 2) integer pixels of a, their (N, 2) places in b [px], and (N,) which of them are key points."""

    a: Tensor
    b: Tensor
    chosen: Tensor


class ContrastiveObjective(Objective):
    """See the module."""

    def __init__(self, settings: ContrastiveSettings) -> None:
        """Remember the settings."""
        self.settings = settings

    def __call__(self, network: LocalNetwork, batch: PairBatch, epoch: int) -> tuple[Tensor, dict[str, float]]:
        """As the contract says."""
        count = len(batch.warp)
        maps = network(torch.cat([batch.images_a, batch.images_b]))
        each = _one_by_one(maps)
        peaks = peakiness(maps.logits, self.settings.window).split(1)
        hints = corner_hint(torch.cat([batch.images_a, batch.images_b]), self.settings.window).split(1)
        total = maps.logits.sum() * 0.0
        terms: dict[str, list[float]] = {"detector": [], "descriptor": [], "score": [], "matched": []}
        for i in range(count):
            j = count + i
            with torch.no_grad():
                points = self._choose(peaks[i], peaks[j], hints[i], hints[j], batch.warp[i])
            if points is None:
                continue
            descriptor, right = self._describe(network, each[i], each[j], points)
            detector = self._detect(peaks[i], peaks[j], points, right)
            score = self._rate(each[i], each[j], points, right)
            s = self.settings
            total = total + (s.detector * detector + s.descriptor * descriptor + s.score * score) / count
            for name, value in (("detector", detector), ("descriptor", descriptor), ("score", score), ("matched", right.mean())):
                terms[name].append(float(value.detach()))
        return total, {name: sum(values) / max(len(values), 1) for name, values in terms.items()}

    def _choose(self, peaks_a: Tensor, peaks_b: Tensor, hint_a: Tensor, hint_b: Tensor, warp: Tensor) -> _Points | None:
        """The pixel of each cell on which both images agree most, and some at random; None when too few are in both."""
        cell, (height, width) = self.settings.cell, peaks_a.shape[-2:]
        valid = torch.isfinite(warp).all(-1)
        inside = (warp >= 2.0) & (warp <= warp.new_tensor([width - 3.0, height - 3.0]))
        valid &= torch.where(valid, inside.all(-1), False)
        target = torch.where(valid.unsqueeze(-1), warp, 0.0)
        there = sample(torch.cat([peaks_b, hint_b], 1), target.reshape(1, -1, 2))[0].T.reshape(2, height, width)
        agreed = peaks_a[0, 0] + there[0] + self.settings.corner_hint * (hint_a[0, 0] + there[1])
        agreed = torch.where(valid, agreed, _FAR)
        v0, u0 = (int(x) for x in torch.randint(0, cell, (2,)))
        rows, columns = (height - v0) // cell, (width - u0) // cell
        cells = agreed[v0 : v0 + rows * cell, u0 : u0 + columns * cell].reshape(rows, cell, columns, cell)
        best, index = cells.permute(0, 2, 1, 3).reshape(rows * columns, -1).max(1)
        number = torch.arange(rows * columns)
        v = v0 + number // columns * cell + index // cell
        u = u0 + number % columns * cell + index % cell
        kept = torch.nonzero(best > 0.5 * _FAR)[:, 0]
        kept = kept[torch.randperm(len(kept))[: self.settings.points]]
        if len(kept) < 16:
            return None
        others = torch.nonzero(valid)[torch.randint(0, int(valid.sum()), (self.settings.others,))]
        v, u = torch.cat([v[kept], others[:, 0]]), torch.cat([u[kept], others[:, 1]])
        return _Points(torch.stack([u, v], 1).to(warp.dtype), warp[v, u], torch.arange(len(v)) < len(kept))

    def _describe(self, network: LocalNetwork, a: LocalMaps, b: LocalMaps, points: _Points) -> tuple[Tensor, Tensor]:
        """The loss of the descriptors, and (N,) 1.0 where the right one is the mutual nearest neighbour."""
        of_a = network.describe(sample_maps(a, network, points.a.unsqueeze(0)))[0]
        of_b = network.describe(sample_maps(b, network, points.b.unsqueeze(0)))[0]
        similarity = of_a @ of_b.T
        same = torch.eye(len(similarity), dtype=torch.bool)
        near = (torch.cdist(points.b, points.b) < self.settings.near) | (torch.cdist(points.a, points.a) < self.settings.near)
        similarity = torch.where(near & ~same, _FAR, similarity)
        number = torch.arange(len(similarity))
        logits = similarity / self.settings.temperature
        loss = 0.5 * (functional.cross_entropy(logits, number) + functional.cross_entropy(logits.T, number))
        right = (similarity.argmax(1) == number) & (similarity.argmax(0) == number)
        return loss, right.to(loss.dtype)

    def _detect(self, peaks_a: Tensor, peaks_b: Tensor, points: _Points, right: Tensor) -> Tensor:
        """The chosen pixels must stand out in both images; those that can be matched count most."""
        weight = 0.2 + right[points.chosen]
        at_a = sample(peaks_a, points.a[points.chosen].unsqueeze(0))[0, :, 0]
        at_b = sample(peaks_b, points.b[points.chosen].round().unsqueeze(0))[0, :, 0]
        return -(weight * (at_a + at_b)).sum() / weight.sum()

    def _rate(self, a: LocalMaps, b: LocalMaps, points: _Points, right: Tensor) -> Tensor:
        at_a = sample(a.scores, points.a.unsqueeze(0))[0, :, 0]
        at_b = sample(b.scores, points.b.unsqueeze(0))[0, :, 0]
        rated = torch.cat([at_a, at_b]).clamp(1e-6, 1.0 - 1e-6)
        return functional.binary_cross_entropy(rated, torch.cat([right, right]))


def peakiness(logits: Tensor, window: int) -> Tensor:
    """(B, 1, H, W) log probability of each pixel in the softmax over the window x window pixels around it."""
    # The largest logit of a neighbourhood differs from that of the next one, so the sums are made relative to the largest of
    # the whole image and the difference is bounded, which keeps the exponentials in range.
    level = logits.detach().amax((2, 3), keepdim=True)
    relative = torch.exp((logits - level).clamp(min=-60.0))
    total = functional.avg_pool2d(relative, window, stride=1, padding=window // 2, count_include_pad=True) * float(window**2)
    return logits - level - torch.log(total + 1e-28)


def corner_hint(images: Tensor, window: int) -> Tensor:
    """(B, 1, H, W) how much each pixel of grey images is more of a corner than its neighbourhood, -3 to 3.

    The logarithm of the smaller eigenvalue of the structure tensor (Shi and Tomasi 1994), relative to its mean in the window.
    """
    grey = images.mean(1, keepdim=True)
    along_u = functional.pad(grey[..., :, 2:] - grey[..., :, :-2], (1, 1, 0, 0))
    along_v = functional.pad(grey[..., 2:, :] - grey[..., :-2, :], (0, 0, 1, 1))
    products = torch.cat([along_u * along_u, along_v * along_v, along_u * along_v], 1)
    uu, vv, uv = functional.avg_pool2d(products, 5, stride=1, padding=2).split(1, 1)
    response = 0.5 * (uu + vv - torch.sqrt((uu - vv) ** 2 + 4.0 * uv * uv))
    mean = functional.avg_pool2d(response, window, stride=1, padding=window // 2)
    return torch.log((response.clamp(min=0.0) + _TEXTURE) / (mean.clamp(min=0.0) + _TEXTURE)).clamp(-3.0, 3.0)


def _one_by_one(maps: LocalMaps) -> list[LocalMaps]:
    """The maps of each image of a batch: split at once, since each slice taken by itself costs a whole gradient of zeros."""
    columns = zip(maps.logits.split(1), maps.scores.split(1), *(m.split(1) for m in maps.maps), strict=True)
    return [LocalMaps(column[0], column[1], tuple(column[2:])) for column in columns]
