"""Vision transformers for small images.

Source: Dosovitskiy et al., "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale" (ICLR 2021).
The mean of all tokens in place of a class token: Beyer et al., "Better plain ViT baselines for ImageNet-1k" (2022).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Every token asks all tokens, in heads of ``width / heads`` channels each."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, width = x.shape
        q, k, v = self.qkv(x).reshape(n, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, tokens, width))


class Encoder(nn.Module):
    """norm-attention and norm-linear-GELU-linear, each beside a shortcut."""

    def __init__(self, width: int, heads: int, ratio: int = 4):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.up, self.gelu, self.down = nn.Linear(width, ratio * width), nn.GELU(), nn.Linear(ratio * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.down(self.gelu(self.up(self.norm2(x))))


class VisionTransformer(nn.Module):
    """Patches and a table of their positions, :class:`Encoder` blocks, norm, mean of the tokens, linear."""

    def __init__(self, size: int, patch: int, width: int, depth: int, heads: int, classes: int, in_channels: int):
        super().__init__()
        if size < 1 or patch < 1 or size % patch:
            raise ValueError(f"size must be a multiple of patch, got {size} and {patch}")
        if heads < 1 or width < 1 or width % heads:
            raise ValueError(f"width must be a multiple of heads, got {width} and {heads}")
        self.patches = nn.Conv2d(in_channels, width, patch, patch)
        self.positions = nn.Parameter(torch.empty(1, (size // patch) ** 2, width))
        self.blocks = nn.Sequential(*(Encoder(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.fc = nn.Linear(width, classes)
        nn.init.trunc_normal_(self.positions, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2) + self.positions
        return self.fc(self.norm(self.blocks(x)).mean(1))


def vit(
    size: int = 28,
    patch: int = 4,
    width: int = 96,
    depth: int = 4,
    heads: int = 3,
    classes: int = 10,
    in_channels: int = 3,
) -> VisionTransformer:
    """As it is for grey images: 75,264 GELUs, 0.46 million weights.

    Raises:
        ValueError: patches that do not fill the image, or heads that do not share the width.
    """
    return VisionTransformer(size, patch, width, depth, heads, classes, in_channels)
