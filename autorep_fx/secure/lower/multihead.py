"""Attention of several heads with its own linear layers, as one module or one function of torch.

Query, key and value go through linear layers, one of which makes all that is of one tensor; the heads attend
(attention.py), and a linear layer makes the result of what they see.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from ...text import brief
from .attention import Attention, join_heads, split_heads
from .call import Call, Unsupported, lowers
from .lowering import Lowering


@dataclass(frozen=True)
class _Own:
    """What belongs to the module; of query, key and value one weight and one bias each."""

    heads: int
    batch_axis: int
    weights: list[Tensor] = field(repr=False)
    biases: list[Tensor | None] = field(repr=False)
    out: tuple[Tensor, Tensor | None] = field(repr=False)

    __repr__ = brief


@lowers(modules=(nn.MultiheadAttention,))
def multihead_attention(low: Lowering, call: Call) -> str:
    own = call.module
    _refuse(own.bias_k is not None or own.bias_v is not None, own.add_zero_attn)
    separate = None if own._qkv_same_embed_dim else [own.q_proj_weight, own.k_proj_weight, own.v_proj_weight]
    weights, biases = _in(own.in_proj_weight, separate, own.in_proj_bias)
    found = _Own(own.num_heads, 0 if own.batch_first else 1, weights, biases, (own.out_proj.weight, own.out_proj.bias))
    average = call.get(6, "average_attn_weights", True)
    return _attended(low, call, found, call.get(5, "attn_mask"), call.get(3, "key_padding_mask"), average)


@lowers(functions=(F.multi_head_attention_forward,))
def multihead_attention_function(low: Lowering, call: Call) -> str:
    """Axes are (T, N, E) here."""
    _refuse(call.get(7, "bias_k") is not None or call.get(8, "bias_v") is not None, call.get(9, "add_zero_attn"))
    if call.get(13, "training", True) and call.get(10, "dropout_p"):
        raise Unsupported("drops out in eval mode, too; give training=self.training")
    if call.get(21, "static_k") is not None or call.get(22, "static_v") is not None:
        raise Unsupported("static_k and static_v; give key and value")
    own = [call.get(i, f"{name}_proj_weight") for i, name in enumerate("qkv", 18)]
    separate = call.get(17, "use_separate_proj_weight", False)
    weights, biases = _in(call.get(5, "in_proj_weight"), own if separate else None, call.get(6, "in_proj_bias"))
    out = call.get(11, "out_proj_weight"), call.get(12, "out_proj_bias")
    found = _Own(call.get(4, "num_heads"), 1, weights, biases, out)
    masks = call.get(16, "attn_mask"), call.get(14, "key_padding_mask")
    return _attended(low, call, found, *masks, call.get(23, "average_attn_weights", True))


def _refuse(has_rows: bool, adds_zeros: bool) -> None:
    if has_rows or adds_zeros:
        raise Unsupported("appends a row to keys and values (add_bias_kv, add_zero_attn); leave it off")


def _added(mask: Any, padding: Any, heads: int) -> Tensor | None:
    """What is added to the scores, (T, S) or (heads, T, S), of masks that are True, or -inf, where a key is hidden."""
    for each in (mask, padding):
        if isinstance(each, fx.Node):
            raise Unsupported(
                "hides keys by what depends on the input; which are hidden is public and one for all samples here: "
                "give attn_mask or key_padding_mask of the model's own, or inputs of one length"
            )
    if mask is not None and mask.dim() == 3 and len(mask) not in (1, heads):
        raise Unsupported("a mask for each sample; one for all, (T, S), is supported")
    if padding is not None:
        if padding.dim() > 1 and len(padding) != 1:
            raise Unsupported("a padding for each sample; one for all, (1, S) expanded to the batch, is supported")
        padding = padding.reshape(1, -1)
    numbers = [torch.zeros(each.shape).masked_fill(each, -torch.inf) if each.dtype == torch.bool else each.double()
               for each in (mask, padding) if each is not None]  # fmt: skip
    return sum(numbers[1:], numbers[0]) if numbers else None


def _in(whole: Tensor | None, separate: list[Tensor] | None, bias: Tensor | None) -> tuple[list, list]:
    weights = list(whole.chunk(3)) if separate is None else separate
    return weights, [None] * 3 if bias is None else list(bias.chunk(3))


def _attended(low: Lowering, call: Call, own: _Own, mask: Any, padding: Any, average: bool) -> str:
    given = [call.get(i, name) for i, name in enumerate(("query", "key", "value"))]
    for x in given:
        if isinstance(x, fx.Node) and (low.values[x].dim() != 3 or low.batch_axis(x) != own.batch_axis):
            raise Unsupported(
                "attends over the batch: samples lie along another axis than the module takes them; give "
                "batch_first=True where axis 0 is the batch"
            )
    q, k, v = _projected(low, call, given, own)
    seen = Attention(low, call, q, k, None, _added(mask, padding, low.shape_of(k)[0]))
    y = join_heads(low, call, seen.of(v, ".seen_values"), ".values")
    weight, bias = own.out
    y = low.emit(call, "linear", (y,), shape=(*low.shape_of(y)[:-1], len(weight)),
                 secrets={"weight": weight, "bias": bias})  # fmt: skip

    def weights(call: Call, suffix: str) -> str:
        shares = seen.weights(".shares")
        shape = low.shape_of(shares)
        if not average:
            return shares
        return low.emit(call, "mean", (shares,), suffix=suffix, shape=shape[1:], dims=(1,), keepdim=False)

    low.parts[call.node] = [lambda call, suffix: y, weights]
    return y


def _projected(low: Lowering, call: Call, given: list[Any], own: _Own) -> list[Any]:
    """Query, key and value by heads (heads, T, d); one linear layer for each tensor that there is."""
    found: list[Any] = [None, None, None]
    for i, x in enumerate(given):
        if found[i] is not None:
            continue
        same = [j for j in range(i, 3) if given[j] is x]
        weight = torch.cat([own.weights[j] for j in same])
        biases = [own.biases[j] for j in same]
        bias = None if biases[0] is None else torch.cat(biases)
        name = "qkv"[i] if len(same) == 1 else "".join("qkv"[j] for j in same)
        if isinstance(x, fx.Node):
            y = low.emit(call, "linear", (source := low.value(x, anywhere=True),),
                         shape=(*low.shape_of(source)[:-1], len(weight)), suffix=f".{name}",
                         secrets={"weight": weight, "bias": bias})  # fmt: skip
            parts: list[Any] = split_heads(low, call, y, len(same), own.heads, f".{name}")
        else:
            parts = _constant(x, weight, bias, own, len(same))
        for j, part in zip(same, parts):
            found[j] = part
    if any(isinstance(part, Tensor) for part in found[1:]):
        raise Unsupported("attends to constants alone; key and value are of the input")
    return found


def _constant(x: Tensor, weight: Tensor, bias: Tensor | None, own: _Own, count: int) -> list[Tensor]:
    """Learnt queries, one and the same for all samples."""
    if x.dim() != 3 or x.shape[own.batch_axis] != 1:
        raise Unsupported(f"a constant query of shape {tuple(x.shape)}, which has samples of its own")
    y = F.linear(x.double().squeeze(own.batch_axis), weight.double(), None if bias is None else bias.double())
    return list(y.reshape(len(y), count, own.heads, -1).permute(1, 2, 0, 3))
