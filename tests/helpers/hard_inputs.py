"""Inputs of the published range that are made to leave it inside: patterns, tiled filters, gradient ascent.

None of it shares code with what planning looks for them with (planner/ascents.py).
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

import autorep_fx as ar
from autorep_fx.secure.host.threads import run
from autorep_fx.secure.plan.input_range import InputRange
from autorep_fx.secure.plan.simulate import expected

#: Activations of the random networks; half of all are ReLUs besides.
ACTIVATIONS = {
    "relu": nn.ReLU, "relu6": nn.ReLU6, "silu": nn.SiLU, "gelu": nn.GELU, "sigmoid": nn.Sigmoid,
    "hardswish": nn.Hardswish, "leaky": lambda: nn.LeakyReLU(0.1), "tanh": nn.Tanh, "elu": nn.ELU,
    "prelu": nn.PReLU,
}  # fmt: skip


class Random(nn.Module):
    """Two or three convolutions with activations of several kinds, perhaps a gate and a pooling, and a classifier."""

    def __init__(self, draw: random.Random):
        super().__init__()
        channels, count = draw.choice([4, 6]), draw.choice([2, 3])
        self.kinds = [draw.choice(list(ACTIVATIONS)) if draw.random() < 0.6 else "relu" for _ in range(count)]
        self.convs, self.norms, self.acts = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for i, kind in enumerate(self.kinds):
            stride = draw.choice([1, 2]) if i else 1
            self.convs.append(nn.Conv2d(channels if i else 3, channels, 3, padding=1, stride=stride))
            self.norms.append(nn.BatchNorm2d(channels) if draw.random() < 0.5 else nn.Identity())
            self.acts.append(ACTIVATIONS[kind]())
        self.gate = nn.Linear(channels, channels) if draw.random() < 0.3 else None
        self.pools = draw.random() < 0.3
        self.classes = nn.LazyLinear(5)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.running_var, 0.5, 2)

    def forward(self, x):
        for conv, norm, act in zip(self.convs, self.norms, self.acts):
            x = act(norm(conv(x)))
        if self.gate is not None:
            x = x * torch.sigmoid(self.gate(x.mean((2, 3))))[:, :, None, None]
        if self.pools:
            x = F.max_pool2d(x, 2)
        return self.classes(x.flatten(1))


@dataclass
class Case:
    """A network, transformed; examples of its inputs; and the filters that see them."""

    gm: fx.GraphModule
    examples: Tensor
    filters: Tensor


def random_case(seed: int) -> Case:
    """The same for the same seed: pictures that are normal or uniform, a part of the positions replaced."""
    draw, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    network, shape = Random(draw).eval(), (64, 3, 8, 8)
    x = torch.randn(shape, generator=generator) if seed % 3 else torch.rand(shape, generator=generator)
    network(x[:1])
    gm, fraction = ar.transform(network, example_inputs=x[:1]), draw.choice([0, 0.3, 0.6, 0.9])
    for site in ar.sites(gm).values() if fraction else ():
        site.set_keep(torch.rand(site.shape, generator=generator) >= fraction)
        coeffs = torch.rand(3, site.shape[0], generator=generator) * torch.tensor([0.2, 0.6, 0.15])[:, None] + 0.01
        coeffs[2, torch.rand(site.shape[0], generator=generator) < 0.4] = 0
        site.set_coeffs(coeffs)
    return Case(gm, x, network.convs[0].weight.detach())


def hard_inputs(gm: fx.GraphModule, filters: Tensor, within: InputRange, shape: tuple[int, int, int], seed: int,
                steps: int = 50) -> Tensor:  # fmt: skip
    """Those that a client would send, (N, *shape)."""
    low, high = (torch.from_numpy(end).float()[:, None, None].expand(shape) for end in (within.low, within.high))
    found = torch.cat([_tiled(filters, low, high), _ascents(gm, low, high, seed, steps)])
    return found[torch.from_numpy(sent(within, found.double().numpy()))]


def sent(within: InputRange, x: np.ndarray) -> np.ndarray:
    """Which samples a client would send, (N,)."""
    found = np.zeros(len(x), bool)
    for i in range(len(x)):
        try:
            within.check(x[i : i + 1])
            found[i] = True
        except ValueError:
            pass
    return found


def _tiled(filters: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Every filter's signs, tiled over a picture at two offsets, and their opposites."""
    (_, h, w), found = low.shape, []
    for filter_ in filters:
        signs = filter_.sign().repeat(1, -(-h // filter_.shape[1]) + 1, -(-w // filter_.shape[2]) + 1)
        for offset in (0, 1):
            positive = signs[:, offset : offset + h, :w] > 0
            found += [torch.where(positive, high, low), torch.where(positive, low, high)]
    return torch.stack(found)


def _ascents(gm: fx.GraphModule, low: Tensor, high: Tensor, seed: int, steps: int) -> Tensor:
    """Inputs that push the inputs of each site, and the output, up or down."""
    seen: dict[int, Tensor] = {}
    hooks = [
        site.register_forward_pre_hook(lambda module, given, i=i: seen.__setitem__(i, given[0]))
        for i, site in enumerate(ar.sites(gm).values())
    ]
    draw, found = torch.Generator().manual_seed(seed + 1000), []
    for target in range(len(hooks) + 1):
        for sign in (1, -1):
            x, place = low + (high - low) * torch.rand(6, *low.shape, generator=draw), None
            for step in range(steps):
                y = gm(x.requires_grad_())
                values = (seen[target] if target < len(hooks) else y).flatten(1) * sign
                if place is None:  # some climb where they stand out already, some anywhere
                    place = torch.randint(0, values.shape[1], (len(values),), generator=draw)
                if step == steps // 3:
                    place = values.argmax(1)
                (slope,) = torch.autograd.grad(values.gather(1, place[:, None]).sum(), x)
                x = x.detach() + (high - low) * 0.5 * (1 - step / steps) * slope.sign()
                x = torch.minimum(torch.maximum(x, low), high)
            found.append(x.detach())
    for hook in hooks:
        hook.remove()
    return torch.cat(found)


def beyond(program: ar.SecureProgram, x: Tensor, comparison: str = "fss") -> np.ndarray:
    """Which samples of a private run are further from the fixed-point model, which never wraps, than it allows."""
    plan, numbers = program.native
    plan, values = plan.with_comparison(comparison), x.double().numpy()
    output, model = run(plan, numbers, values)[0].output, expected(plan, numbers, values)
    return (np.abs(output - model.output) > model.bound + 1e-9).any(1)
