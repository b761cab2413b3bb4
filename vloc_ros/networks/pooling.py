"""From a map of local descriptors to one vector: NetVLAD and the generalised mean."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

CLUSTERS = 64


class NetVlad(nn.Module):
    """Soft-assigned residuals to cluster centres (Arandjelović et al. 2016, equations 3 and 4).

    State-dict names are those of the published check points: ``conv.weight`` (K, C, 1, 1), the assignment, and ``centroids``
    (K, C).
    """

    def __init__(self, channels: int, clusters: int = CLUSTERS) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, clusters, 1, bias=False)
        self.centroids = nn.Parameter(torch.zeros(clusters, channels))

    def set_clusters(self, centroids: Tensor, alpha: float) -> None:
        """Take (K, C) centres; assignment is the softmax of ``alpha`` times the cosine to each of them."""
        with torch.no_grad():
            self.centroids.copy_(centroids)
            self.conv.weight.copy_(alpha * functional.normalize(centroids, dim=1)[:, :, None, None])

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) local descriptors of any length to (N, K * C) of unit length, zeros where all of them are zero."""
        local = functional.normalize(x, dim=1).flatten(2)
        assignment = (self.conv.weight.flatten(1) @ local).softmax(dim=1)
        # sum_i a_k(x_i) (x_i - c_k), without the (K, C, H * W) residuals in memory
        vlad = assignment @ local.transpose(1, 2) - assignment.sum(dim=2, keepdim=True) * self.centroids
        return functional.normalize(functional.normalize(vlad, dim=2).flatten(1), dim=1)


class GeneralizedMean(nn.Module):
    """Mean of powers of each channel (Radenović et al. 2018, equation 3), with a power that can be learned."""

    def __init__(self, p: float = 3.0, eps: float = 1e-6) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor([p]))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C); what is below ``eps`` counts as ``eps``."""
        return x.clamp(min=self.eps).pow(self.p).mean(dim=(2, 3)).pow(1.0 / self.p)


class GemHead(nn.Module):
    """Generalised mean, a fully connected layer to one dimension less, and unit length: the mean head of system M."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gem = GeneralizedMean()
        self.fc = nn.Linear(channels, channels - 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C - 1), each row of unit length."""
        return functional.normalize(self.fc(self.gem(x)), dim=1)


class PlainGem(GeneralizedMean):
    """Generalised mean of local descriptors of unit length, itself at unit length: the global descriptor of DHE-VPR.

    As published it keeps the length that it has, which squared distances then depend on; here the cosine decides, as everywhere.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) local descriptors of any length to (N, C) of unit length."""
        return functional.normalize(super().forward(functional.normalize(x, dim=1)), dim=1)


class Whitening(nn.Linear):
    """Projection to the principal components of what was seen, each at unit variance, and unit length again.

    ``weight`` (D, C) holds the components over their deviations, ``bias`` (D,) what takes the mean away.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C) to (N, D), each row of unit length."""
        return functional.normalize(super().forward(x), dim=1)
