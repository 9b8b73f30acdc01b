"""Networks and helpers of the tests here."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import nn

import autorep_fx as ar
from autorep_fx.secure.compile import compile


def images(n: int = 2, channels: int = 3, size: int = 8, seed: int = 1) -> torch.Tensor:
    return torch.randn(n, channels, size, size, generator=torch.Generator().manual_seed(seed))


def lower(model: nn.Module, x: torch.Tensor, **options):
    """Program of a model with every activation kept, and the model itself in float64."""
    # Tracing goes into the module it is given: a layer alone would be taken apart.
    model = (nn.Sequential(model) if type(model).__module__.startswith("torch.nn") else model).eval()
    return compile(ar.transform(model, example_inputs=x), x, **options), copy.deepcopy(model).double()


def replace(gm, fraction: float, degree: int = 2, seed: int = 0):
    """Replace about this fraction of every site by polynomials with coefficients like those of fits."""
    generator = torch.Generator().manual_seed(seed)
    for site in ar.sites(gm).values():
        site.set_keep(torch.rand(site.shape, generator=generator) >= fraction)
        coeffs = torch.rand(degree + 1, site.shape[0], generator=generator)
        coeffs = coeffs * torch.tensor([0.2, 0.5, 0.2, 0.02, 0.01])[: degree + 1, None] + 0.01
        coeffs[-1, 0] *= -1  # no completed square in channel 0
        site.set_coeffs(coeffs)
    return gm


class Fn(nn.Module):
    """A function of the input and a constant parameter."""

    def __init__(self, function, shape=(3, 1, 1)):
        super().__init__()
        self.function, self.c = function, nn.Parameter(torch.randn(shape))

    def forward(self, x):
        return self.function(x, self.c)


class OfInput(nn.Module):
    """A function of the input alone."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Attends(nn.Module):
    """A block of a transformer on (N, 6, 8), each token of which sees itself and what is before it."""

    def __init__(self):
        super().__init__()
        self.before, self.between = nn.LayerNorm(8), nn.LayerNorm(8)
        self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 8)
        self.up, self.down = nn.Linear(8, 16), nn.Linear(16, 8)
        for norm in (self.before, self.between):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias)

    def forward(self, x):
        n, tokens, size = x.shape
        q, k, v = self.qkv(self.before(x)).reshape(n, tokens, 3, 2, size // 2).permute(2, 0, 3, 1, 4).unbind(0)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).reshape(n, tokens, size))
        return x + self.down(F.gelu(self.up(self.between(x))))


class Everything(nn.Module):
    """Every operation of the runtime, in a few thousand elements."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding="same")
        self.norm = nn.BatchNorm2d(6)
        self.prelu = nn.PReLU(6)
        self.grouped = nn.Conv2d(6, 6, 3, stride=2, padding=2, dilation=2, groups=3, bias=False)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.shift = nn.Parameter(torch.randn(1, 12, 1, 1))
        self.fc = nn.Linear(12 * 4, 5)
        nn.init.uniform_(self.norm.running_var, 0.5, 2)
        nn.init.uniform_(self.prelu.weight, -0.5, 0.5)

    def forward(self, x):
        y = self.prelu(self.stem(x))
        y = self.norm(y) / 3 - 0.25 * y  # two readers: the batch norm cannot be folded
        y = torch.cat([F.relu6(self.grouped(y) * 8), F.leaky_relu(F.hardswish(self.pool(y)), 0.1)], 1) + self.shift
        y = F.pad(y, (0, 1, 1, 0))[:, :, :4, 1:].transpose(2, 3)
        y = F.relu(F.avg_pool2d(y, 2) + y.mean((2, 3), keepdim=True) - 0.5)
        y = y * (y.mean((2, 3), keepdim=True) - 0.2)
        return self.fc(F.unfold(y.flip(3), (1, 2), stride=(1, 2)).flatten(1))
