"""Normalisations, by what was tracked or by the sample."""

from __future__ import annotations

import torch
from torch import nn

from ..call import Call, Unsupported, Value, operator

_BATCH = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
_INSTANCE = {3: nn.InstanceNorm1d, 4: nn.InstanceNorm2d, 5: nn.InstanceNorm3d}


@operator("BatchNormalization")
def batch_norm(c: Call) -> Value:
    if len([name for name in c.node.output if name]) > 1 or c.rank() not in _BATCH:
        raise Unsupported(f"of {c.rank()} axes, with {len(c.node.output)} results; inference on 2 to 5 is supported")
    features = c.shape()[1]
    statistics = {"running_mean": c.buffer(3), "running_var": c.buffer(4), "num_batches_tracked": torch.tensor(0)}
    return c.layer(_BATCH[c.rank()], features, c.attribute("epsilon", 1e-5), 1 - c.attribute("momentum", 0.9),
                   weights={"weight": c.weight(1), "bias": c.weight(2), **statistics}, of=1)  # fmt: skip


@operator("InstanceNormalization")
def instance_norm(c: Call) -> Value:
    if c.rank() not in _INSTANCE:
        raise Unsupported(f"of {c.rank()} axes; 3 to 5 are supported")
    return c.layer(_INSTANCE[c.rank()], c.shape()[1], c.attribute("epsilon", 1e-5), 0.1, True,
                   weights={"weight": c.weight(1), "bias": c.weight(2)}, of=1)  # fmt: skip


@operator("LayerNormalization")
def layer_norm(c: Call) -> Value:
    shape, bias = c.shape()[c.axis(-1) :], c.weight(2) if c.has(2) else None
    if c.shape(1) != shape:
        raise Unsupported(f"a weight of shape {c.shape(1)} for {shape}; one number an element is supported")
    return c.layer(nn.LayerNorm, shape, c.attribute("epsilon", 1e-5), bias=bias is not None,
                   weights={"weight": c.weight(1), "bias": bias}, of=1)  # fmt: skip


@operator("GroupNormalization")
def group_norm(c: Call) -> Value:
    groups, channels = c.attribute("num_groups"), c.shape()[1]

    def of_channels(w: torch.Tensor) -> torch.Tensor:
        return w if len(w) == channels else w.repeat_interleave(channels // groups)  # before operator set 21

    return c.layer(nn.GroupNorm, groups, channels, c.attribute("epsilon", 1e-5),
                   weights={"weight": c.weight(1, of_channels), "bias": c.weight(2, of_channels)}, of=1)  # fmt: skip


@operator("LRN")
def local_response(c: Call) -> Value:
    a = c.attribute
    return c.module(nn.LocalResponseNorm(a("size"), a("alpha", 1e-4), a("beta", 0.75), a("bias", 1.0)))


@operator("LpNormalization")
def lp_normalise(c: Call) -> Value:
    axis = c.attribute("axis", -1) % c.rank()
    return nn.functional.normalize(c.proxy(0), c.attribute("p", 2), axis, eps=0.0)
