"""The published forward of DHE-VPR (Lu et al. 2024), written down again layer by layer on weights in the published layout.

It uses torch's own transformer layers and a homography by singular values, and nothing of vloc_ros but the sizes that a test gives.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

State = dict[str, Tensor]
_TEST_INLIER_PX = 48.0


def extractor_state(network: torch.nn.Module) -> State:
    """Weights of a first stage under the names of the published feature extractor, with its attention pool."""
    encoder = {f"encoder.{name}": tensor.clone() for name, tensor in network.encoder.state_dict().items()}
    width = encoder["encoder.classifier.norm.weight"].numel()
    pool = {
        "encoder.classifier.attention_pool.weight": torch.ones(1, width),
        "encoder.classifier.attention_pool.bias": torch.ones(1),
    }
    return {**encoder, **pool, "pool.1.p": network.pool.p.detach().clone()}


def benchmark_state(network: torch.nn.Module, layers: int) -> State:
    """The same as the benchmark saves it, from parallel training and with all its layers."""
    state = extractor_state(network)
    prefix = "encoder.classifier.blocks."
    first = [name for name in state if name.startswith(prefix + "0.")]
    used = len(network.encoder.classifier.blocks)
    more = {
        name.replace(prefix + "0.", f"{prefix}{number}."): state[name] + 1.0 for number in range(used, layers) for name in first
    }
    renamed = {name.replace("encoder.", "module.backbone.", 1): tensor for name, tensor in (state | more).items()}
    renamed["module.aggregation.1.p"] = renamed.pop("pool.1.p")
    return renamed


def regression_state(network: torch.nn.Module) -> State:
    """Weights of a second stage as published: positions of the query come before those of the candidate."""
    tokens = network.shape.tokens
    state = {}
    for name, tensor in network.state_dict().items():
        if name.startswith(("first.", "second.")):
            state[name.replace("first.", "encoder.").replace("second.", "encoder2.")] = tensor.clone()
    state["pe"] = network.positions.detach().transpose(1, 2).clone()
    state["linear.weight"] = network.points.weight.detach().reshape(16, tokens, tokens).transpose(1, 2).flatten(1).clone()
    state["linear.bias"] = network.points.bias.detach().clone()
    return state


def tokens(state: State, images: Tensor) -> Tensor:
    """(N, T, C) tokens of images, row by row."""
    x = images
    for number in (0, 1):
        x = functional.conv2d(x, state[f"encoder.tokenizer.conv_layers.{number}.0.weight"], stride=2, padding=3)
        x = functional.max_pool2d(functional.relu(x), 3, 2, 1)
    return x.flatten(2, 3).transpose(-2, -1)


def look(state: State, made: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    """(N, C) global descriptors of the length they have, and (N, C, S, S) local ones of unit length, of (N, T, C) tokens."""
    below = "encoder.classifier."
    x = made + state[below + "positional_emb"]
    side, number = round(x.shape[1] ** 0.5), 0
    while f"{below}blocks.{number}.pre_norm.weight" in state:
        x = _cct_layer(state, f"{below}blocks.{number}.", x, heads)
        number += 1
    x = _norm(state, below + "norm", x)
    maps = x.reshape(len(x), side, side, -1).permute(0, 3, 1, 2)
    local = maps / maps.norm(dim=1, keepdim=True)
    p = state["pool.1.p"]
    return local.clamp(min=1e-6).pow(p).mean(dim=(2, 3)).pow(1.0 / p), local


def _cct_layer(state: State, prefix: str, x: Tensor, heads: int) -> Tensor:
    count, tokens, width = x.shape
    before = _norm(state, prefix + "pre_norm", x)
    qkv = (before @ state[prefix + "self_attn.qkv.weight"].T).reshape(count, tokens, 3, heads, width // heads)
    q, k, v = (qkv[:, :, part].transpose(1, 2) for part in range(3))
    weights = torch.softmax(q @ k.transpose(2, 3) * (width // heads) ** -0.5, dim=-1)
    x = x + _linear(state, prefix + "self_attn.proj", (weights @ v).transpose(1, 2).reshape(count, tokens, width))
    x = _norm(state, prefix + "norm1", x)
    return x + _linear(state, prefix + "linear2", functional.gelu(_linear(state, prefix + "linear1", x)))


def _norm(state: State, name: str, x: Tensor) -> Tensor:
    spread = x.var(dim=-1, unbiased=False, keepdim=True)
    return (x - x.mean(dim=-1, keepdim=True)) / torch.sqrt(spread + 1e-5) * state[name + ".weight"] + state[name + ".bias"]


def _linear(state: State, name: str, x: Tensor) -> Tensor:
    return x @ state[name + ".weight"].T + state[name + ".bias"]


def similarity(query: Tensor, candidate: Tensor) -> Tensor:
    """(B, S * S, S, S): positions of the query, column by column, and for each of them the map of the candidate."""
    along_columns = torch.einsum("bcij,bckl->bjikl", query, candidate).flatten(1, 2)
    positive = along_columns.clamp(min=0.0)
    return positive / positive.norm(dim=1, keepdim=True).clamp(min=1e-12)


def points(state: State, correlated: Tensor, heads: int, hidden: int, layers: int) -> Tensor:
    """(B, 8, 2) points [px]."""
    width = correlated.shape[1]
    x = correlated.flatten(2) + state["pe"]
    x = x.permute(2, 0, 1)  # positions of the candidate are the tokens
    first = _stack(state, "encoder.", width, heads, hidden, layers)(x)
    x = first + _stack(state, "encoder2.", width, heads, hidden, layers)(first)
    return _linear(state, "linear", x.permute(1, 2, 0).flatten(1)).reshape(-1, 8, 2)


def _stack(state: State, prefix: str, width: int, heads: int, hidden: int, layers: int) -> torch.nn.Module:
    layer = torch.nn.TransformerEncoderLayer(width, heads, hidden, dropout=0.0, activation="gelu")
    stack = torch.nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
    stack.to(state["pe"].dtype).load_state_dict(
        {name[len(prefix) :]: tensor for name, tensor in state.items() if name.startswith(prefix)}
    )
    return stack.eval()


def homography(source: Tensor, target: Tensor) -> Tensor:
    """(B, 3, 3) from (B, 4, 2) to (B, 4, 2) points: the null vector of the normalised system, in double precision."""
    a, a_T = _normalised(source.double())
    b, b_T = _normalised(target.double())
    rows = []
    for k in range(4):
        x, y, u, v = a[:, k, 0], a[:, k, 1], b[:, k, 0], b[:, k, 1]
        o, i = torch.zeros_like(x), torch.ones_like(x)
        rows.append(torch.stack([o, o, o, -x, -y, -i, v * x, v * y, v], 1))
        rows.append(torch.stack([x, y, i, o, o, o, -u * x, -u * y, -u], 1))
    system = torch.stack(rows, 1)
    null = torch.linalg.svd(system.transpose(1, 2) @ system).Vh[:, -1].reshape(-1, 3, 3)
    made = torch.linalg.inv(b_T) @ null @ a_T
    return made / made[:, 2:, 2:]


def _normalised(pts: Tensor) -> tuple[Tensor, Tensor]:
    centre = pts.mean(1)
    scale = 2.0**0.5 / (pts - centre[:, None]).norm(dim=2).mean(1)
    matrix = torch.eye(3, dtype=pts.dtype).repeat(len(pts), 1, 1)
    matrix[:, 0, 0] = matrix[:, 1, 1] = scale
    matrix[:, :2, 2] = -scale[:, None] * centre
    return (pts - centre[:, None]) * scale[:, None, None], matrix


def score(query: Tensor, candidate: Tensor, matrix: Tensor) -> tuple[int, int]:
    """Mutual matches of two (C, S, S) maps, and those of them that a (3, 3) homography brings within three patches."""
    side = query.shape[-1]
    a, b = query.flatten(1).T, candidate.flatten(1).T
    alike = b @ a.T
    there, here = alike.argmax(0), alike.argmax(1)
    mutual = [k for k in range(side * side) if here[there[k]] == k]
    if len(mutual) < 4:
        return len(mutual), 0
    at = torch.tensor([[16.0 * (k % side) + 8.0, 16.0 * (k // side) + 8.0] for k in range(side * side)], dtype=torch.float64)
    mapped = torch.cat([at[mutual], torch.ones(len(mutual), 1, dtype=torch.float64)], 1) @ matrix.T
    depth = torch.where(mapped[:, 2:] == 0.0, torch.full_like(mapped[:, 2:], 1e-8), mapped[:, 2:])
    off = (mapped[:, :2] / depth - at[there[mutual]]).norm(dim=1)
    return len(mutual), int((off < _TEST_INLIER_PX).sum())
