"""One scale for the channels of a layer, where it costs nothing: powers of two that go from a layer into the next.

    before:  conv1 -> relu -> conv2               channel 3 of relu reaches 1e-4, the others 1
    after:   2^s conv1 -> relu -> conv2 2^-s      the same function, bit for bit in floating point

A wire has one exponent, so a channel that is small beside the others keeps few significant bits, and a weight that is
small beside its layer's others too. A channel's value and the weights that read it are worth the same, so both are
brought to the geometric mean of their distance from the largest. The factors are the server's and stay private.

Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (ICCV 2019), section 4.1;
there with float factors and bounds of weights in place of calibrated values.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...text import brief
from ..program.channel_scaling import THROUGH, keeps_channels, reads_channels, scale_columns, scale_rows, scales_rows
from ..program.kinds import homogeneous
from ..program.program import Program, Step
from .ranges import Reach

#: No channel is moved further.
_MOST = 24


@dataclass(frozen=True)
class _Chain:
    """A layer, its activation, what is between that and the next layer, and that layer."""

    layer: Step
    site: Step
    between: tuple[Step, ...]
    reader: Step

    __repr__ = brief


def equalized(program: Program, reach: Reach) -> tuple[Program, Reach]:
    """The program with its channels brought to one scale, and what its values then reach."""
    program, factors = in_one_scale(program, reach)
    return program, scaled(reach, factors)


def in_one_scale(program: Program, reach: Reach) -> tuple[Program, Reach]:
    """The program with its channels brought to one scale, and what the values are multiplied by that are, by
    channel."""
    server, reach, factors, own = dict(program.server), dict(reach), dict[str, np.ndarray](), set[str]()
    for chain in _chains(program):
        scale = _scale(chain, server, reach)
        if scale is not None:
            _apply(chain, scale, server, own)
            for step in (chain.layer, chain.site, *chain.between):
                of_rows = scale.repeat(len(reach[step.name]) // len(scale))
                reach[step.name] = reach[step.name] * of_rows
                factors[step.name] = factors.get(step.name, 1.0) * of_rows
    return dataclasses.replace(program, server=server), factors


def scaled(reach: Reach, factors: Reach) -> Reach:
    """What values reach, (C,) or (N, C), that are multiplied by ``factors``."""
    return {name: value * factors[name] if name in factors else value for name, value in reach.items()}


def _chains(program: Program) -> list[_Chain]:
    steps = {step.name: step for step in program.steps}
    readers: dict[str, list[Step]] = {}
    for step in program.steps:
        for name in step.inputs:
            readers.setdefault(name, []).append(step)

    def only_reader(step: Step) -> Step | None:
        found = readers.get(step.name, [])
        return found[0] if len(found) == 1 and step.name != program.public.output else None

    chains = []
    for site in program.steps:
        if site.op != "hybrid" or (len(site.attrs["kept"]) and not homogeneous(site.attrs["kind"])):
            continue
        layer = steps.get(site.inputs[0])
        if layer is None or not scales_rows(layer) or only_reader(layer) is not site:
            continue
        between, reader = [], only_reader(site)
        while reader is not None and reader.op in THROUGH and keeps_channels(reader, (*between, site)[-1].shape):
            between.append(reader)
            reader = only_reader(reader)
        if reader is not None and reads_channels(reader, (site, *between)[-1].shape, site.shape[0]):
            chains.append(_Chain(layer, site, tuple(between), reader))
    return chains


def _scale(chain: _Chain, server: dict[str, Tensor], reach: Reach) -> np.ndarray | None:
    """Powers of two for each channel, (C,); None where all are one."""
    values = reach[chain.layer.name]
    columns = _columns(chain, server)
    others = tuple(range(1, columns.dim()))
    weights = torch.maximum(columns.amax(others), -columns.amin(others)).numpy()
    alive = (values > 0) & (weights > 0)
    if not alive.any():
        return None
    ratio = np.divide(weights / weights.max(), values / values.max(), out=np.ones_like(values), where=alive)
    powers = np.clip(np.rint(np.log2(ratio) / 2), -_MOST, _MOST)
    if "slope" in chain.site.attrs:  # beside squares its slope has the value's fractional bits: near 1
        powers -= np.rint(np.log2(values.max()))
    return np.exp2(powers) if powers.any() else None


def _columns(chain: _Chain, server: dict[str, Tensor]) -> Tensor:
    """The reader's weights by channel of the site, (C, ...); a view."""
    channels, reader = chain.site.shape[0], chain.reader
    if reader.op == "affine":
        return server[reader.secrets["scale"]].view(channels, -1)
    weight = server[reader.secrets["weight"]]
    if reader.op == "conv2d" and reader.attrs["groups"] > 1:
        return weight.view(channels, -1)
    if reader.op == "conv2d":
        return weight.transpose(0, 1)
    return weight.T.reshape(channels, -1, len(weight))


def _apply(chain: _Chain, scale: np.ndarray, server: dict[str, Tensor], own: set[str]) -> None:
    factor, site = torch.from_numpy(scale), chain.site
    scale_rows(chain.layer, server, factor, own)
    if "coeffs" in site.secrets:
        degrees = torch.arange(site.attrs["degree"] + 1, dtype=torch.float64)
        server[site.secrets["coeffs"]] = server[site.secrets["coeffs"]] * factor ** (1 - degrees)[:, None]
    scale_columns(chain.reader, server, 1 / factor, own)
