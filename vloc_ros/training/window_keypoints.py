"""Key points that a gradient can move: one per window of the image, where the detector's softmax expects it."""

from __future__ import annotations

import torch
from torch import Tensor


def window_keypoints(logits: Tensor, window: int = 16, temperature: float = 1.0) -> Tensor:
    """(B, N, 2) expected positions (u, v) [px] of (B, 1, H, W) logits, one per window, row by row.

    The windows do not overlap; what is left at the right and the lower border is in none. After Gridseth and Barfoot (2022),
    section III-A.
    """
    count, _, height, width = logits.shape
    rows, columns = height // window, width // window
    inside = logits[:, 0, : rows * window, : columns * window].reshape(count, rows, window, columns, window)
    share = torch.softmax(inside.permute(0, 1, 3, 2, 4).reshape(count, rows * columns, -1) / temperature, -1)
    share = share.reshape(count, rows, columns, window, window)
    place = torch.arange(window, dtype=logits.dtype, device=logits.device)
    v = (share.sum(4) * place).sum(3) + window * torch.arange(rows, dtype=logits.dtype, device=logits.device)[:, None]
    u = (share.sum(3) * place).sum(3) + window * torch.arange(columns, dtype=logits.dtype, device=logits.device)
    return torch.stack([u, v], -1).reshape(count, rows * columns, 2)
