"""The second stage of DHE-VPR as it was published, transcribed: candidate after candidate, in floats, without any guard."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from vloc_ros.networks.dhe import DheNetwork
from vloc_ros.networks.two_stage import TwoStageNetwork

TOLERANCE_PX = 48.0


class PublishedForward:
    """Counts inliers for one candidate at a time with the weights of a network."""

    def __init__(self, network: TwoStageNetwork) -> None:
        """Take over the weights."""
        regression, shape = network.regression, network.regression.shape
        self.side, self.positions, self.points = shape.side, regression.positions, regression.points
        self.stacks = [_stack(regression, part) for part in (regression.first, regression.second)]
        along = torch.arange(self.side) * 16.0 + 8.0
        self.centres = torch.stack(torch.meshgrid(along, along, indexing="xy"), 2).reshape(-1, 2)

    def counts(self, query: Tensor, candidates: list[Tensor]) -> list[int]:
        """Inliers of (C, S, S) local descriptors of a query among those of each candidate."""
        with torch.inference_mode():
            return [self._count(query, candidate) for candidate in candidates]

    def _count(self, query: Tensor, candidate: Tensor) -> int:
        matches = self._mutual(query.flatten(1), candidate.flatten(1))
        if len(matches) < 4:
            return 0
        points = self._regressed(query, candidate)
        homography = _dlt(points[:4].double(), points[4:].double())
        source = torch.cat([self.centres[matches[:, 0]], torch.ones(len(matches), 1)], 1).double()
        mapped = source @ homography.T
        depth = torch.where(mapped[:, 2:] == 0, torch.full_like(mapped[:, 2:], 1e-8), mapped[:, 2:])
        error = (mapped[:, :2] / depth - self.centres[matches[:, 1]]).norm(dim=1)
        return int((error < TOLERANCE_PX).sum())

    def _regressed(self, query: Tensor, candidate: Tensor) -> Tensor:
        a = functional.normalize(query, dim=0).transpose(1, 2).flatten(1)
        b = functional.normalize(candidate, dim=0).flatten(1)
        volume = functional.normalize(functional.relu(a.T @ b), dim=0)
        tokens = volume.T[None] + self.positions
        first = self.stacks[0](tokens)
        out: Tensor = self.points((first + self.stacks[1](first)).flatten(1))
        return out.reshape(8, 2)

    def _mutual(self, query: Tensor, candidate: Tensor) -> Tensor:
        cosine = candidate.T @ query
        of_query, of_candidate = cosine.argmax(0), cosine.argmax(1)
        rows = torch.arange(len(of_query))
        kept = rows[of_candidate[of_query] == rows]
        return torch.stack([kept, of_query[kept]], 1)


def _stack(regression: DheNetwork, part: nn.Module) -> nn.Module:
    shape = regression.shape
    layer = nn.TransformerEncoderLayer(shape.tokens, shape.heads, shape.hidden, dropout=0.0, activation="gelu", batch_first=True)
    stack = nn.TransformerEncoder(layer, shape.layers, enable_nested_tensor=False)
    stack.load_state_dict(part.state_dict())
    return stack.eval()


def _dlt(source: Tensor, target: Tensor) -> Tensor:
    """Normalised direct linear transform; the singular vector of the smallest singular value."""
    a, a_T = _normalised(source)
    b, b_T = _normalised(target)
    one, zero = torch.ones(4, dtype=a.dtype), torch.zeros(4, dtype=a.dtype)
    x, y, u, v = a[:, 0], a[:, 1], b[:, 0], b[:, 1]
    down = torch.stack([zero, zero, zero, -x, -y, -one, v * x, v * y, v], 1)
    along = torch.stack([x, y, one, zero, zero, zero, -u * x, -u * y, -u], 1)
    rows = torch.cat([down, along])
    smallest = torch.linalg.svd(rows.T @ rows)[2][-1].reshape(3, 3)
    matrix: Tensor = torch.linalg.inv(b_T) @ smallest @ a_T
    return matrix / (matrix[2, 2] + 1e-8)


def _normalised(points: Tensor) -> tuple[Tensor, Tensor]:
    middle = points.mean(0)
    scale = 2.0**0.5 / ((points - middle).norm(dim=1).mean() + 1e-8)
    matrix = torch.diag(torch.stack([scale, scale, torch.ones_like(scale)]))
    matrix[:2, 2] = -scale * middle
    return (points - middle) * scale, matrix
