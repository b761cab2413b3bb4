"""What a network of GLVL learns, both halves together: key points, descriptors and places, balanced; or in turn, as published.

The balance is that of GradNorm's premise (Chen et al., "GradNorm", ICML 2018, section 3), solved at once in place of learned: each
task pulls at the last layer that all share with a gradient of the same norm, as a moving average has it. Learned variances (Kendall
et al., CVPR 2018) are an option and not the default: a triplet loss is exactly zero for batches without a violation, and its
variance then falls without end.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique

import torch
from torch import Tensor, nn

from vloc_ros.config import param
from vloc_ros.networks.glvl import Glvl, GlvlMaps
from vloc_ros.training.distributed import Group
from vloc_ros.training.glvl_losses import cell_loss, contrast_loss, hinge_loss, place_contrast_loss, triplet_loss
from vloc_ros.training.ground_feed import GroundBatch

TASKS = ("detector", "descriptor", "retrieval")
_LOCAL_PASSES = 5  # of the published alternation, after one of retrieval
_MOST = 100.0  # a task whose gradient vanishes is not blown up by more
_MEMORY = 0.8  # of the moving average of norms
_EVERY = 10  # steps after which norms are measured again
_TINY = 1e-12


@unique
class Balance(Enum):
    """How the tasks are learned together."""

    GRADIENTS = "gradients"
    """Their sum; each moves the shared stem as much as the others."""
    UNCERTAINTY = "uncertainty"
    """Their sum with learned variances (Kendall et al. 2018)."""
    SUM = "sum"
    """Their sum with the given weights."""
    ALTERNATE = "alternate"
    """As published: an epoch of retrieval, then five of key points and descriptors."""


@unique
class DescriptorLoss(Enum):
    """How local descriptors are learned."""

    HINGE = "hinge"
    """As published: hinges of matches and of random non-matches."""
    CONTRAST = "contrast"
    """InfoNCE among all matches of the batch."""


@unique
class RetrievalLoss(Enum):
    """How global vectors are learned."""

    TRIPLET = "triplet"
    """As published."""
    CONTRAST = "contrast"
    """InfoNCE among the images of the batch."""


@dataclass(frozen=True)
class GlvlObjectiveSettings:
    """What is learned; the numbers of hinges and triplets are the published ones."""

    balance: Balance = param(Balance.GRADIENTS, "gradients, uncertainty, sum or alternate (published: alternate)")
    detector: float = param(1.0, "weight of key points", min=0.0, max=1e4)
    descriptor: float = param(1.0, "weight of local descriptors (published: 1)", min=0.0, max=1e4)
    retrieval: float = param(1.0, "weight of global vectors", min=0.0, max=1e4)
    descriptor_loss: DescriptorLoss = param(DescriptorLoss.HINGE, "hinge (published) or contrast")
    others: int = param(100, "non-matches of each match, of hinge (published: 100)", min=1, max=1000)
    near: float = param(12.0, "what is nearer to a match is no non-match", unit="px", min=0.0, max=256.0)
    temperature: float = param(0.07, "of contrast", min=0.001, max=1.0)
    retrieval_loss: RetrievalLoss = param(RetrievalLoss.TRIPLET, "triplet (published) or contrast")
    margin: float = param(0.1, "of triplets (published: 0.1)", min=0.0, max=2.0)
    hardest: int = param(10, "negatives of a place that count, the nearest ones (published: 10)", min=1, max=1000)
    shared: bool = param(False, "other places of the batch are negatives, too, beside those that were mined")


class GlvlLearner(nn.Module):
    """A network and what balances its losses, which check points keep."""

    norms: Tensor

    def __init__(self, glvl: Glvl) -> None:
        """Wrap a network; its weights are not copied."""
        super().__init__()
        self.glvl = glvl
        self.variances = nn.Parameter(torch.zeros(len(TASKS)))  # logarithms of them
        self.register_buffer("norms", torch.zeros(len(TASKS)))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, images: Tensor, count: int) -> GlvlMaps:
        """Vectors of all of (M, 1, S, S) images, bins and descriptors of the first ``count``."""
        maps = self.glvl.stem(images)
        return GlvlMaps(self.glvl.global_of(maps), *self.glvl.local(maps[:count]))

    @property
    def shared(self) -> nn.Parameter:
        """Weights of the last convolution that both halves share."""
        convolutions = [module for module in self.glvl.stem.modules() if isinstance(module, nn.Conv2d)]
        return convolutions[-1].weight


class GlvlObjective:
    """See the module."""

    def __init__(self, settings: GlvlObjectiveSettings, group: Group) -> None:
        """For a group of processes, which balance alike."""
        self._settings, self._group = settings, group

    def __call__(self, network: GlvlLearner, batch: GroundBatch, epoch: int) -> tuple[Tensor, dict[str, float]]:
        """The loss, and its terms."""
        seen = network(batch.images, len(batch.labels))
        losses, shown = self._losses(seen, batch)
        terms = {name: float(loss.detach()) for name, loss in zip(TASKS, losses, strict=True)} | shown
        return self._balanced(network, losses, epoch, terms), terms

    def _losses(self, seen: GlvlMaps, batch: GroundBatch) -> tuple[list[Tensor], dict[str, float]]:
        s, count = self._settings, len(batch.points_a)
        maps_a, maps_b = seen.descriptors.split(count)
        shown = {}
        if s.descriptor_loss is DescriptorLoss.CONTRAST:
            of_descriptors, matched = contrast_loss(maps_a, maps_b, batch.points_a, batch.points_b, s.temperature, s.near)
            shown["matched"] = float(matched)
        else:
            of_descriptors = hinge_loss(maps_a, maps_b, batch.points_a, batch.points_b, s.others, s.near)
        chosen = batch.negatives & batch.elsewhere if not s.shared else batch.elsewhere
        if s.retrieval_loss is RetrievalLoss.CONTRAST:
            of_places, found = place_contrast_loss(seen.vectors, count, chosen, s.temperature)
        else:
            of_places, found = triplet_loss(seen.vectors, count, chosen, s.margin, s.hardest)
        shown["found"] = float(found)
        return [cell_loss(seen.bins, batch.labels), of_descriptors, of_places], shown

    def _balanced(self, network: GlvlLearner, losses: list[Tensor], epoch: int, terms: dict[str, float]) -> Tensor:
        s = self._settings
        weights = losses[0].new_tensor([s.detector, s.descriptor, s.retrieval])
        stacked = torch.stack(losses)
        if s.balance is Balance.ALTERNATE:
            local = epoch % (1 + _LOCAL_PASSES) > 0
            return (stacked * weights * weights.new_tensor([local, local, not local])).sum()
        if s.balance is Balance.UNCERTAINTY:
            return (weights * (torch.exp(-network.variances) * stacked + network.variances)).sum()
        if s.balance is Balance.GRADIENTS:
            factors = self._factors(network, losses)
            terms |= {f"factor_{name}": float(value) for name, value in zip(TASKS, factors, strict=True)}
            weights = weights * factors
        return (stacked * weights).sum()

    def _factors(self, network: GlvlLearner, losses: list[Tensor]) -> Tensor:
        """Of each loss, so that the norms of their gradients at the last shared layer are as large as that of the detector."""
        if torch.is_grad_enabled() and int(network.steps) % _EVERY == 0:
            measured = self._measured(network, losses)
            known = network.norms > 0.0
            mean = torch.where(known, _MEMORY * network.norms + (1.0 - _MEMORY) * measured, measured)
            network.norms.copy_(torch.where(measured > 0.0, mean, network.norms))
        if torch.is_grad_enabled():
            network.steps += 1
        norms = network.norms.clamp(min=_TINY)
        return (norms[0] / norms).clamp(1.0 / _MOST, _MOST)

    def _measured(self, network: GlvlLearner, losses: list[Tensor]) -> Tensor:
        """(3,) norms; in several processes their means, so that all balance alike."""
        norms = []
        for loss in losses:
            gradient = None
            if loss.requires_grad:
                (gradient,) = torch.autograd.grad(loss, network.shared, retain_graph=True, allow_unused=True)
            norms.append(0.0 if gradient is None else float(gradient.norm()))
        told = self._group.told({str(k): norm for k, norm in enumerate(norms)})
        means = [sum(values[str(k)] for values in told) / len(told) for k in range(len(norms))]
        return network.norms.new_tensor([mean if mean < float("inf") else 0.0 for mean in means])
