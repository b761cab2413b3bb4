"""The objective of the small network: descriptors that find their like among all others, key points that both images agree on.

Per pair, without any label but the warp between its images:

- *where*: the pixels on which both images agree most, by how much of a corner each of them is and by the detector's own
  opinion at the two ends of the warp, are the targets of the detector in both; all other pixels are not (focal loss, with the
  penalty around a target reduced: Lin et al. 2017, Zhou et al. 2019). Nothing depends on a grid.
- *what*: descriptors at these pixels and at random ones must be nearest to their like, in both directions, among those of the
  pair (InfoNCE, van den Oord et al. 2018), not counting neighbours.
- *how good*: the score of a key point is the probability that its descriptor is the mutual nearest neighbour of the right one.
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
_TEXTURE = 0.01  # corner response below which there is none, of images of unit deviation
_SPREAD = 1.0  # [px] deviation of the bell around a target inside which the penalty is reduced


@dataclass(frozen=True)
class ContrastiveSettings:
    """Contrastive training of key points and descriptors."""

    radius: int = param(3, "key points are no closer than this", unit="px", min=1, max=16)
    area: float = param(
        150.0, "one key point is wanted in so many pixels that both images show", unit="px^2", min=10.0, max=10000.0
    )
    others: int = param(128, "descriptors of so many random pixels are compared besides", min=0, max=4096)
    temperature: float = param(0.05, "of the softmax over descriptor similarities", min=0.001, max=1.0)
    near: float = param(6.0, "descriptors closer than this are neither right nor wrong", unit="px", min=1.0, max=64.0)
    corners: float = param(1.0, "weight of corners in the choice of key points", min=0.0, max=10.0)
    opinion: float = param(0.5, "weight of the detector's own opinion in the choice of key points", min=0.0, max=10.0)
    detector: float = param(1.0, "weight of the detector's loss", min=0.0, max=100.0)
    descriptor: float = param(1.0, "weight of the descriptors' loss", min=0.0, max=100.0)
    score: float = param(0.5, "weight of the scores' loss", min=0.0, max=100.0)


class _Points(NamedTuple):
    """Of one pair.

    Attributes:
        a: (N, 2) integer pixels of a.
        b: (N, 2) their places in b [px].
        chosen: (N,) which of them are key points; the others are random.
        seen_a: (H, W) which pixels of a are in b.
        seen_b: (H, W) which pixels of b are in a.
    """

    a: Tensor
    b: Tensor
    chosen: Tensor
    seen_a: Tensor
    seen_b: Tensor


class ContrastiveObjective(Objective):
    """See the module."""

    def __init__(self, settings: ContrastiveSettings) -> None:
        """Remember the settings."""
        self.settings = settings

    def __call__(self, network: LocalNetwork, batch: PairBatch, epoch: int) -> tuple[Tensor, dict[str, float]]:
        """As the contract says."""
        count = len(batch.warp)
        images = torch.cat([batch.images_a, batch.images_b])
        maps = network(images)
        each = _one_by_one(maps)
        corners = cornerness(images).split(1)
        total = maps.logits.sum() * 0.0
        terms: dict[str, list[float]] = {"detector": [], "descriptor": [], "score": [], "matched": []}
        for i in range(count):
            j = count + i
            with torch.no_grad():
                points = self._choose(each[i].logits, each[j].logits, corners[i], corners[j], batch.warp[i])
            if points is None:
                continue
            descriptor, right = self._describe(network, each[i], each[j], points)
            detector = detection(each[i].logits, points.a[points.chosen], points.seen_a)
            detector = detector + detection(each[j].logits, points.b[points.chosen], points.seen_b)
            score = self._rate(each[i], each[j], points, right)
            s = self.settings
            total = total + (s.detector * detector + s.descriptor * descriptor + s.score * score) / count
            for name, value in (("detector", detector), ("descriptor", descriptor), ("score", score), ("matched", right.mean())):
                terms[name].append(float(value.detach()))
        return total, {name: sum(values) / max(len(values), 1) for name, values in terms.items()}

    def _choose(self, logits_a: Tensor, logits_b: Tensor, corners_a: Tensor, corners_b: Tensor, warp: Tensor) -> _Points | None:
        """The pixels on which both images agree most, and some at random; None when too few are in both."""
        s, (height, width) = self.settings, logits_a.shape[-2:]
        limit = warp.new_tensor([width - 3.0, height - 3.0])
        seen = torch.isfinite(warp).all(-1)
        target = torch.where(seen.unsqueeze(-1), warp, -1.0)
        seen &= ((target >= 2.0) & (target <= limit)).all(-1)
        if int(seen.sum()) < 16 * s.area:
            return None
        worth_a, worth_b = (
            s.corners * corners + s.opinion * functional.logsigmoid(logits)
            for corners, logits in ((corners_a, logits_a), (corners_b, logits_b))
        )
        there = sample(worth_b, target.reshape(1, -1, 2)).reshape(1, 1, height, width)
        worth = torch.where(seen, worth_a + there, _FAR)
        highest = functional.max_pool2d(worth, 2 * s.radius + 1, stride=1, padding=s.radius)
        v, u = torch.nonzero((worth == highest)[0, 0] & seen, as_tuple=True)
        best = worth[0, 0, v, u].argsort(descending=True)[: int(seen.sum() / s.area)]
        others = torch.nonzero(seen)[torch.randint(0, int(seen.sum()), (s.others,), device=seen.device)]
        v, u = torch.cat([v[best], others[:, 0]]), torch.cat([u[best], others[:, 1]])
        chosen = torch.arange(len(v), device=v.device) < len(best)
        return _Points(torch.stack([u, v], 1).to(warp.dtype), warp[v, u], chosen, seen, _reached(target[seen], height, width))

    def _describe(self, network: LocalNetwork, a: LocalMaps, b: LocalMaps, points: _Points) -> tuple[Tensor, Tensor]:
        """The loss of the descriptors, and (N,) 1.0 where the right one is the mutual nearest neighbour."""
        of_a = network.describe(sample_maps(a, network, points.a.unsqueeze(0)))[0]
        of_b = network.describe(sample_maps(b, network, points.b.unsqueeze(0)))[0]
        similarity = of_a @ of_b.T
        same = torch.eye(len(similarity), dtype=torch.bool, device=similarity.device)
        near = (torch.cdist(points.b, points.b) < self.settings.near) | (torch.cdist(points.a, points.a) < self.settings.near)
        similarity = torch.where(near & ~same, _FAR, similarity)
        number = torch.arange(len(similarity), device=similarity.device)
        logits = similarity / self.settings.temperature
        loss = 0.5 * (functional.cross_entropy(logits, number) + functional.cross_entropy(logits.T, number))
        right = (similarity.argmax(1) == number) & (similarity.argmax(0) == number)
        return loss, right.to(loss.dtype)

    def _rate(self, a: LocalMaps, b: LocalMaps, points: _Points, right: Tensor) -> Tensor:
        key = points.chosen
        at_a, at_b = (
            sample(m.scores, p[key].unsqueeze(0))[0, :, 0].clamp(1e-6, 1.0 - 1e-6) for m, p in ((a, points.a), (b, points.b))
        )
        return functional.binary_cross_entropy(torch.cat([at_a, at_b]), torch.cat([right[key], right[key]]))


def detection(logits: Tensor, targets: Tensor, seen: Tensor) -> Tensor:
    """Focal loss of (1, 1, H, W) logits against (N, 2) key points, over the pixels that both images show."""
    height, width = logits.shape[-2:]
    wanted = logits.new_zeros(1, 1, height, width)
    u, v = targets.round().long().unbind(1)
    wanted[0, 0, v.clamp(0, height - 1), u.clamp(0, width - 1)] = 1.0
    offset = torch.arange(-2, 3, dtype=logits.dtype, device=logits.device)
    bell = torch.exp(-(offset[:, None] ** 2 + offset[None, :] ** 2) / (2.0 * _SPREAD**2))
    near = functional.max_pool2d(wanted, 5, stride=1, padding=2)
    around = functional.conv2d(wanted, bell[None, None], padding=2).clamp(max=1.0) * near
    probability = torch.sigmoid(logits)
    hit = wanted * (1.0 - probability) ** 2 * functional.logsigmoid(logits)
    miss = (1.0 - wanted) * (1.0 - around) ** 4 * probability**2 * functional.logsigmoid(-logits)
    return -((hit + miss)[0, 0] * seen).sum() / max(len(targets), 1)


def cornerness(images: Tensor) -> Tensor:
    """(B, 1, H, W) logarithm of how much of a corner each pixel of grey images is, whatever their gain.

    The smaller eigenvalue of the structure tensor (Shi and Tomasi 1994) of the smoothed image of unit deviation.
    """
    grey = images.mean(1, keepdim=True)
    grey = functional.avg_pool2d(functional.avg_pool2d(grey, 3, 1, 1, count_include_pad=False), 3, 1, 1, count_include_pad=False)
    grey = grey / (grey.std((2, 3), keepdim=True) + 0.01)
    along_u = functional.pad(grey[..., :, 2:] - grey[..., :, :-2], (1, 1, 0, 0))
    along_v = functional.pad(grey[..., 2:, :] - grey[..., :-2, :], (0, 0, 1, 1))
    products = torch.cat([along_u * along_u, along_v * along_v, along_u * along_v], 1)
    uu, vv, uv = functional.avg_pool2d(products, 5, stride=1, padding=2).split(1, 1)
    smaller = 0.5 * (uu + vv - torch.sqrt((uu - vv) ** 2 + 4.0 * uv * uv))
    return torch.log(smaller.clamp(min=0.0) + _TEXTURE)


def _reached(places: Tensor, height: int, width: int) -> Tensor:
    """(H, W) which pixels are within one pixel of any of (N, 2) places."""
    hit = places.new_zeros(1, 1, height, width)
    u, v = places.round().long().unbind(1)
    hit[0, 0, v, u] = 1.0
    return functional.max_pool2d(hit, 3, stride=1, padding=1)[0, 0] > 0.0


def _one_by_one(maps: LocalMaps) -> list[LocalMaps]:
    """The maps of each image of a batch: split at once, since each slice taken by itself costs a whole gradient of zeros."""
    columns = zip(maps.logits.split(1), maps.scores.split(1), *(m.split(1) for m in maps.maps), strict=True)
    return [LocalMaps(column[0], column[1], tuple(column[2:])) for column in columns]
