"""What only moves elements, and what is gone in eval mode."""

from __future__ import annotations

import operator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from ...graph.concrete import HoldsFor
from .call import Call, Unsupported, lowers
from .lowering import Lowering
from .moves import places
from .resample import gather, pad_by_index


@lowers(modules=(nn.Flatten, nn.Unflatten),
        functions=(torch.flatten, torch.reshape, torch.squeeze, torch.unsqueeze, torch.unflatten),
        methods=("flatten", "reshape", "view", "squeeze", "unsqueeze", "unflatten", "view_as", "reshape_as",
                 "squeeze_", "unsqueeze_"),
        takes_sizes=True)  # fmt: skip
def reshape(low: Lowering, call: Call) -> str:
    x = low.value(call.get(0, "input"))
    shape = low.sample_shape(call.node)
    return x if shape == low.shape_of(x) else low.emit(call, "reshape", (x,))


@lowers(functions=(torch.permute,), methods=("permute",))
def permute(low: Lowering, call: Call) -> str:
    dims = call.rest("dims")
    return _permute(low, call, [d % len(dims) for d in dims])


@lowers(functions=(torch.transpose, torch.swapaxes), methods=("transpose", "swapaxes"))
def transpose(low: Lowering, call: Call) -> str:
    a, b = call.get(1, "dim0", call.kwargs.get("axis0")), call.get(2, "dim1", call.kwargs.get("axis1"))
    dims = list(range(len(low.shape_of(low.value(call.get(0, "input")))) + 1))
    dims[a], dims[b] = dims[b], dims[a]
    return _permute(low, call, dims)


def _permute(low: Lowering, call: Call, dims: list[int]) -> str:
    x = low.value(call.get(0, "input"))
    if dims[0] != 0:
        raise Unsupported("moves the batch axis; leave axis 0 where it is")
    return x if dims == sorted(dims) else low.emit(call, "permute", (x,), dims=tuple(dims))


_BY_INDEX = {nn.ReflectionPad1d: "reflect", nn.ReflectionPad2d: "reflect", nn.ReplicationPad1d: "replicate",
             nn.ReplicationPad2d: "replicate", nn.CircularPad1d: "circular", nn.CircularPad2d: "circular"}  # fmt: skip


@lowers(modules=tuple(_BY_INDEX))
def pad_module(low: Lowering, call: Call) -> str:
    mode = _BY_INDEX[type(call.module)]
    return pad_by_index(low, call, low.value(call.get(0, "input")), tuple(call.module.padding), mode)


@lowers(modules=(nn.ZeroPad1d, nn.ZeroPad2d, nn.ConstantPad1d, nn.ConstantPad2d), functions=(F.pad,))
def pad(low: Lowering, call: Call) -> str:
    x = low.value(call.get(0, "input"))
    pads = tuple(call.module.padding) if call.module is not None else tuple(call.get(1, "pad"))
    mode = "constant" if call.module is not None else call.get(2, "mode", "constant")
    value = getattr(call.module, "value", 0) if call.module is not None else call.get(3, "value", 0)
    if mode != "constant":
        return pad_by_index(low, call, x, pads, mode)
    if (value or 0) != 0:
        raise Unsupported(f"pads with value={value!r}; only zeros are supported")
    if len(pads) > 2 * len(low.shape_of(x)):
        raise Unsupported("pads the batch axis")
    return low.emit(call, "pad", (x,), pads=pads)


@lowers(modules=(HoldsFor, nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout,
                 nn.FeatureAlphaDropout),
        functions=(F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout,
                   torch.dropout),
        methods=("contiguous", "clone", "detach", "float", "double", "to", "type_as"))  # fmt: skip
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
    c, h, w = low.shape_of(x)
    c //= r * r
    x = low.emit(call, "reshape", (x,), shape=(c, r, r, h, w), suffix=".apart")
    x = low.emit(call, "permute", (x,), shape=(c, h, r, w, r), suffix=".moved", dims=(0, 1, 4, 2, 5, 3))
    return low.emit(call, "reshape", (x,))


@lowers(modules=(nn.PixelUnshuffle,), functions=(F.pixel_unshuffle,))
def pixel_unshuffle(low: Lowering, call: Call) -> str:
    x, r = low.value(call.get(0, "input")), call.option(1, "downscale_factor")
    c, h, w = low.shape_of(x)
    h, w = h // r, w // r
    x = low.emit(call, "reshape", (x,), shape=(c, h, r, w, r), suffix=".apart")
    x = low.emit(call, "permute", (x,), shape=(c, r, r, h, w), suffix=".moved", dims=(0, 1, 3, 5, 2, 4))
    return low.emit(call, "reshape", (x,))


@lowers(modules=(nn.ChannelShuffle,), functions=(F.channel_shuffle, torch.channel_shuffle))
def channel_shuffle(low: Lowering, call: Call) -> str:
    x, groups = low.value(call.get(0, "input")), call.option(1, "groups")
    c, *rest = low.shape_of(x)
    x = low.emit(call, "reshape", (x,), shape=(groups, c // groups, *rest), suffix=".apart")
    dims = (0, 2, 1, *range(3, 3 + len(rest)))
    x = low.emit(call, "permute", (x,), shape=(c // groups, groups, *rest), suffix=".moved", dims=dims)
    return low.emit(call, "reshape", (x,))


_SPLITS = (torch.chunk, torch.split, "chunk", "split")


@lowers(functions=(operator.getitem,))
def getitem(low: Lowering, call: Call) -> str:
    """A slice of a tensor, or one of the parts that ``chunk`` or ``split`` returned."""
    source, index = call.args
    x = low.value(source)
    if isinstance(low.values[source], (tuple, list)):
        if source.target not in _SPLITS:
            raise Unsupported(f"takes a part of what '{source.name}' returns; only chunk and split have parts to take")
        parts, dim = low.values[source], _split_axis(source) % (len(low.shape_of(x)) + 1)
        start = sum(part.shape[dim] for part in parts[: index % len(parts)])
        index = (*(slice(None),) * dim, slice(start, start + parts[index].shape[dim]))
    index = index if isinstance(index, tuple) else (index,)
    chosen = [i for i, each in enumerate(index) if isinstance(each, (list, tuple, Tensor))]
    if len(chosen) == 1 and all(
        each is Ellipsis or each == slice(None) for i, each in enumerate(index) if i not in chosen
    ):
        return _take(low, call, x, index, *chosen)
    if not all(i is None or i is Ellipsis or isinstance(i, (int, slice)) for i in index):
        raise Unsupported("indexes by a tensor among others; one row of numbers, or slices, are supported")
    if index[0] is not Ellipsis and index[0] != slice(None):
        raise Unsupported("selects samples; leave axis 0 as ':'")
    return low.emit(call, "index", (x,), index=index)


def _take(low: Lowering, call: Call, x: str, index: tuple, at: int) -> str:
    """``x[:, [2, 0, 1]]``: elements of one axis in another order."""
    axes = len(low.shape_of(x)) + 1
    axis = at - len(index) + axes if any(each is Ellipsis for each in index[:at]) else at
    if axis == 0:
        raise Unsupported("selects samples; leave axis 0 as ':'")
    row = index[at] if isinstance(index[at], Tensor) else torch.tensor([*index[at]])
    return gather(low, call, x, axis - 1, places(row, low.shape_of(x)[axis - 1]), "taken")


@lowers(functions=_SPLITS[:2], methods=_SPLITS[2:])
def split(low: Lowering, call: Call) -> str:
    x = low.value(call.get(0, "input"))
    if _split_axis(call.node) % (len(low.shape_of(x)) + 1) == 0:
        raise Unsupported("splits the batch")
    if any(user.target is not operator.getitem for user in call.node.users):
        raise Unsupported("its parts are used all at once; take them one by one")
    return x  # the parts are slices: getitem


def _split_axis(node: fx.Node) -> Any:
    return node.args[2] if len(node.args) > 2 else node.kwargs.get("dim", 0)
