"""Vision transformer ViT-S/16 without its classifier (Dosovitskiy et al. 2021; its small size: Touvron et al. 2021, table 1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from vloc_ros.networks.preprocessing import INPUT_SIZE

PATCH = 16
WIDTH = 384
DEPTH = 12
HEADS = 6
_HIDDEN = 4 * WIDTH
_EPS = 1e-6
"""Of the layer normalisations, as published weights expect; not torch's default."""


class Attention(nn.Module):
    """Self-attention of several heads; queries, keys and values come from one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.proj = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, 384) tokens to the same."""
        count, tokens, _ = x.shape
        parts = self.qkv(x).reshape(count, tokens, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(parts[0], parts[1], parts[2])
        return self.proj(mixed.transpose(1, 2).reshape(count, tokens, WIDTH))


class FeedForward(nn.Module):
    """Two layers on each token by itself, with GELU between them."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(WIDTH, _HIDDEN)
        self.fc2 = nn.Linear(_HIDDEN, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, 384) tokens to the same."""
        return self.fc2(functional.gelu(self.fc1(x)))


class Block(nn.Module):
    """Attention, then layers per token; each on normalised tokens, and added to what came in."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(WIDTH, eps=_EPS), Attention()
        self.norm2, self.mlp = nn.LayerNorm(WIDTH, eps=_EPS), FeedForward()

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, 384) tokens to the same."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchEmbedding(nn.Module):
    """One linear layer on each 16x16 patch, written as a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, WIDTH, PATCH, stride=PATCH)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, H // 16 * W // 16, 384), row by row."""
        return self.proj(images).flatten(2).transpose(1, 2)


class VisionTransformer(nn.Module):
    """State-dict names as timm's (``cls_token``, ``blocks.0.attn.qkv.weight`` ...). Its positions are learned for one size."""

    def __init__(self, size: int = INPUT_SIZE) -> None:
        super().__init__()
        self.size = size
        self.cls_token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + (size // PATCH) ** 2, WIDTH))
        self.patch_embed = PatchEmbedding()
        self.blocks = nn.Sequential(*(Block() for _ in range(DEPTH)))
        self.norm = nn.LayerNorm(WIDTH, eps=_EPS)

    def initialise(self, generator: torch.Generator) -> None:
        """Random weights: normal of deviation 0.02 in the blocks, as its papers have them; patches as a linear layer."""
        for layer in self.blocks.modules():
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.02, generator=generator)
                nn.init.zeros_(layer.bias)
        nn.init.normal_(self.cls_token, std=0.02, generator=generator)
        nn.init.normal_(self.pos_embed, std=0.02, generator=generator)
        nn.init.zeros_(self.patch_embed.proj.bias)
        nn.init.xavier_uniform_(self.patch_embed.proj.weight.data.flatten(1), generator=generator)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, size, size) prepared images to (N, 1 + patches, 384) tokens; the first is that of the whole image."""
        if images.shape[-2:] != (self.size, self.size):
            raise ValueError(f"the positions are those of {self.size}x{self.size} px, not of {tuple(images.shape[-2:])}")
        patches = self.patch_embed(images)
        tokens = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], 1) + self.pos_embed
        return self.norm(self.blocks(tokens))


class ClassToken(nn.Module):
    """The token of the whole image, of unit length: what a classifier would see, without it."""

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, T, 384) tokens to (N, 384)."""
        return functional.normalize(tokens[:, 0], dim=1)
