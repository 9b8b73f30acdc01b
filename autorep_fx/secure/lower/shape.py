"""What only moves elements, and what is gone in eval mode."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ...graph.concrete import HoldsFor
from .call import Call, Unsupported, lowers
from .lowering import Lowering
from .resample import pad_by_index


@lowers(modules=(nn.Flatten, nn.Unflatten),
        functions=(torch.flatten, torch.reshape, torch.unflatten),
        methods=("flatten", "reshape", "view", "unflatten", "view_as", "reshape_as"),
        takes_sizes=True)  # fmt: skip
def reshape(low: Lowering, call: Call) -> str:
    x = low.value(call.get(0, "input"))
    shape = low.sample_shape(call.node)
    return x if shape == low.shape_of(x) else low.emit(call, "reshape", (x,))


@lowers(functions=(torch.squeeze, torch.unsqueeze), methods=("squeeze", "unsqueeze", "squeeze_", "unsqueeze_"))
def squeeze(low: Lowering, call: Call) -> str:
    """An axis of one element more or less, also before the batch."""
    x = low.value(call.get(0, "input"), anywhere=True)
    shape = low.sample_shape(call.node, anywhere=True)
    return x if shape == low.shape_of(x) else low.emit(call, "reshape", (x,), shape=shape)


_ORDERS = ("permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "adjoint", "t")


@lowers(functions=tuple(getattr(torch, name) for name in _ORDERS), methods=_ORDERS)
def permute(low: Lowering, call: Call) -> str:
    """Axes in another order; the batch is always in front of what two parties compute."""
    source = call.get(0, "input")
    x, axes = low.value(source, anywhere=True), low.values[source].dim()
    order: Any = getattr(torch.Tensor, call.node.target) if call.node.op == "call_method" else call.node.target
    moved = order(torch.empty([*range(axes)], device="meta"), *call.args[1:], **call.kwargs)  # each size names an axis
    taken = [axis for axis in (low.axis(source, dim) for dim in moved.shape) if axis is not None]
    if taken == sorted(taken):
        return x
    shape = low.shape_of(x)
    return low.emit(call, "permute", (x,), shape=tuple(shape[axis] for axis in taken),
                    dims=(0, *(axis + 1 for axis in taken)))  # fmt: skip


_BY_INDEX = {
    nn.ReflectionPad1d: "reflect", nn.ReflectionPad2d: "reflect", nn.ReflectionPad3d: "reflect",
    nn.ReplicationPad1d: "replicate", nn.ReplicationPad2d: "replicate", nn.ReplicationPad3d: "replicate",
    nn.CircularPad1d: "circular", nn.CircularPad2d: "circular", nn.CircularPad3d: "circular",
}  # fmt: skip


@lowers(modules=tuple(_BY_INDEX))
def pad_module(low: Lowering, call: Call) -> str:
    mode = _BY_INDEX[type(call.module)]
    return pad_by_index(low, call, low.value(call.get(0, "input")), tuple(call.module.padding), mode)


@lowers(modules=(nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d, nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d),
        functions=(F.pad, torch.constant_pad_nd))  # fmt: skip
def pad(low: Lowering, call: Call) -> str:
    x = low.value(call.get(0, "input"))
    pads = tuple(call.module.padding) if call.module is not None else tuple(call.get(1, "pad"))
    mode = "constant" if call.module is not None else call.get(2, "mode", "constant")
    value = getattr(call.module, "value", 0) if call.module is not None else call.get(3, "value", 0)
    if mode != "constant":
        return pad_by_index(low, call, x, pads, mode)
    if len(pads) > 2 * len(low.shape_of(x)):
        raise Unsupported("pads the batch axis")
    if not value:
        return low.emit(call, "pad", (x,), pads=pads)
    shifted = low.emit(call, "add_number", (x,), shape=low.shape_of(x), suffix=".shifted", number=-float(value))
    padded = low.emit(call, "pad", (shifted,), suffix=".pad", pads=pads)
    return low.emit(call, "add_number", (padded,), number=float(value))


@lowers(modules=(HoldsFor, nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout,
                 nn.FeatureAlphaDropout),
        functions=(F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout,
                   torch.dropout, torch.positive),
        methods=("contiguous", "clone", "positive", "detach", "float", "double", "to", "type_as"))  # fmt: skip
def identity(low: Lowering, call: Call) -> str:
    training = call.get(2, "training", call.kwargs.get("train", True)) if call.node.op == "call_function" else False
    if training:
        raise Unsupported("dropout that is on in eval mode; pass training=self.training, or remove it")
    before, after = low.values[call.get(0, "input")], low.values[call.node]
    if not after.is_floating_point() or after.element_size() < min(before.element_size(), 4):
        raise Unsupported(f"rounds to {after.dtype}; leave the values as they are")
    return low.value(call.get(0, "input"))


@lowers(modules=(nn.PixelShuffle,), functions=(F.pixel_shuffle,))
def pixel_shuffle(low: Lowering, call: Call) -> str:
    x, r = low.value(call.get(0, "input")), call.option(1, "upscale_factor")
    *rest, c, h, w = low.shape_of(x)
    c, n = c // (r * r), len(rest)
    x = low.emit(call, "reshape", (x,), shape=(*rest, c, r, r, h, w), suffix=".apart")
    dims = (*range(n + 2), n + 4, n + 2, n + 5, n + 3)
    x = low.emit(call, "permute", (x,), shape=(*rest, c, h, r, w, r), suffix=".moved", dims=dims)
    return low.emit(call, "reshape", (x,))


@lowers(modules=(nn.PixelUnshuffle,), functions=(F.pixel_unshuffle,))
def pixel_unshuffle(low: Lowering, call: Call) -> str:
    x, r = low.value(call.get(0, "input")), call.option(1, "downscale_factor")
    *rest, c, h, w = low.shape_of(x)
    h, w, n = h // r, w // r, len(rest)
    x = low.emit(call, "reshape", (x,), shape=(*rest, c, h, r, w, r), suffix=".apart")
    dims = (*range(n + 2), n + 3, n + 5, n + 2, n + 4)
    x = low.emit(call, "permute", (x,), shape=(*rest, c, r, r, h, w), suffix=".moved", dims=dims)
    return low.emit(call, "reshape", (x,))


@lowers(modules=(nn.ChannelShuffle,), functions=(F.channel_shuffle, torch.channel_shuffle))
def channel_shuffle(low: Lowering, call: Call) -> str:
    x, groups = low.value(call.get(0, "input")), call.option(1, "groups")
    c, *rest = low.shape_of(x)
    x = low.emit(call, "reshape", (x,), shape=(groups, c // groups, *rest), suffix=".apart")
    dims = (0, 2, 1, *range(3, 3 + len(rest)))
    x = low.emit(call, "permute", (x,), shape=(c // groups, groups, *rest), suffix=".moved", dims=dims)
    return low.emit(call, "reshape", (x,))
