"""What a network is trained for: from a batch of pairs to a loss, term by term."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor

from vloc_ros.networks.local import LocalNetwork


class StereoBatch(NamedTuple):
    """The stereo truth of a batch of B pairs, all of which have one (see :class:`vloc_ros.training.pairs.StereoTruth`).

    Attributes:
        intrinsics: (B, 5): f_x, f_y, c_x, c_y [px], baseline [m].
        disparity_a: (B, 1, H, W) [px], NaN where unknown.
        disparity_b: likewise.
        b_T_a: (B, 4, 4).
        base_T_camera: (B, 4, 4).
    """

    intrinsics: Tensor
    disparity_a: Tensor
    disparity_b: Tensor
    b_T_a: Tensor
    base_T_camera: Tensor


class PairBatch(NamedTuple):
    """B pairs of images of one size, on one device.

    Attributes:
        images_a: (B, colours, H, W) from 0 to 1.
        images_b: likewise.
        warp: (B, H, W, 2) positions in b [px], NaN where unknown.
        stereo: None unless every pair has it.
    """

    images_a: Tensor
    images_b: Tensor
    warp: Tensor
    stereo: StereoBatch | None


class Objective(ABC):
    """A loss. Deterministic given the state of torch's generator."""

    @abstractmethod
    def __call__(self, network: LocalNetwork, batch: PairBatch, epoch: int) -> tuple[Tensor, dict[str, float]]:
        """The loss (a scalar to go down) of a batch, and its terms by name; ``epoch`` counts from 0, for schedules.

        The loss is zero and without gradient, and the terms say why, when the batch holds nothing to learn from.
        """
