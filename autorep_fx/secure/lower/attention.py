"""Scaled dot products, the attention of transformers."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from .arithmetic import add_constant
from .call import Call, Unsupported, lowers
from .contract import Indices, contract, contract_private
from .hidden import LOWEST
from .lowering import Lowering
from .matmul import _of_matmul
from .norm import exponentials, total_over, without
from .ranged import divided


@lowers(functions=(F.scaled_dot_product_attention,))
def scaled_dot_product_attention(low: Lowering, call: Call) -> str:
    q, k, v = call.get(0, "query"), low.value(call.get(1, "key")), low.value(call.get(2, "value"))
    if isinstance(q, Tensor) and len(q) != 1:
        raise Unsupported(f"a constant query of shape {tuple(q.shape)}, which has samples of its own")
    q = q.double()[0] if isinstance(q, Tensor) else low.value(q)
    if len({len(_shape(low, x)) for x in (q, k, v)}) > 1 or len(_shape(low, q)) < 2:
        raise Unsupported("query, key and value have different numbers of axes; unsqueeze them alike")
    if call.get(4, "dropout_p", 0.0):
        raise Unsupported("drops out in eval mode, too; give dropout_p=0.0")
    if call.kwargs.get("enable_gqa"):
        raise Unsupported("enable_gqa=True; repeat keys and values by hand")
    seen = Attention(low, call, q, k, call.kwargs.get("scale"), call.get(3, "attn_mask"), call.get(5, "is_causal"))
    return seen.of(v, "")


class Attention:
    """``softmax(q k^T scale + mask)``, not divided yet.

    Args:
        low, call: the lowering and the node that it is of.
        q, k: (..., T, d) and (..., S, d), samples without the batch; a query may be a constant.
        scale: ``1 / sqrt(d)`` where it is None.
        mask: of what a key is seen by, or what is added to the scores, which is -inf where none is.
        is_causal: whether keys behind the query's place are hidden.
    """

    def __init__(self, low: Lowering, call: Call, q: str | Tensor, k: str, scale: float | None, mask: Any,
                 is_causal: bool = False):  # fmt: skip
        self.low, self.call = low, call
        axes = len(_shape(low, q)) + 1
        self.indices: tuple[Indices, Indices, Indices] = _of_matmul(axes, axes)
        of_q, of_k, out = self.indices
        of_k = (*of_k[:-2], of_k[-1], of_k[-2])
        scale = _shape(low, q)[-1] ** -0.5 if scale is None else scale
        if isinstance(q, Tensor):  # learnt, one and the same for all samples
            scores = contract(low, call, k, of_k, (q * scale)[None], of_q, out, ".scaled")
        else:
            scores = contract_private(low, call, [q, k], [of_q, of_k], out, ".scores")
            scores = low.emit(call, "scale", (scores,), shape=low.shape_of(scores), suffix=".scaled",
                              factor=float(scale))  # fmt: skip
        scores, hidden = _masked(low, call, scores, mask, bool(is_causal))
        self.powers = exponentials(low, call, scores)
        if hidden is not None:
            shape = low.shape_of(self.powers)
            self.powers = without(low, call, self.powers, _of_sample(hidden, len(shape)).expand(shape))
        self.total = total_over(low, call, self.powers, (axes - 1,), ".total")

    def of(self, v: str, suffix: str) -> str:
        """The mean of the values (..., S, e); the sum divides what comes behind the product, which has fewer elements
        than the scores."""
        product = contract_private(self.low, self.call, [self.powers, v], [*self.indices[:2]], self.indices[2],
                                   ".weighted")  # fmt: skip
        return divided(self.low, self.call, product, self.total, self.low.shape_of(product), suffix)

    def weights(self, suffix: str) -> str:
        """Of each query's keys, (..., T, S)."""
        return divided(self.low, self.call, self.powers, self.total, self.low.shape_of(self.powers), suffix)


def _shape(low: Lowering, x: str | Tensor) -> tuple[int, ...]:
    return tuple(x.shape) if isinstance(x, Tensor) else low.shape_of(x)


def _masked(low: Lowering, call: Call, scores: str, mask: Any, is_causal: bool) -> tuple[str, Tensor | None]:
    """Scores with what is added to them, and which are left out, as a factor of 0."""
    shape = low.shape_of(scores)
    if is_causal:
        return scores, torch.ones(shape[-2:], dtype=torch.float64).tril()
    if mask is None:
        return scores, None
    if isinstance(mask, fx.Node):
        raise Unsupported("a mask that depends on the input; a constant one is supported")
    if mask.dtype == torch.bool:
        return scores, mask.double()
    left_out = mask <= LOWEST
    added = mask.masked_fill(left_out, 0.0)
    if added.any():
        scores = add_constant(low, call, scores, added, 1.0, ".biased", shape)
    return scores, (~left_out).double() if left_out.any() else None


def _of_sample(factor: Tensor, axes: int) -> Tensor:
    return factor.reshape(factor.shape[-axes:] if factor.dim() > axes else factor.shape)


def split_heads(low: Lowering, call: Call, x: str, count: int, heads: int, suffix: str) -> list[str]:
    """(T, count x heads x d) as ``count`` values (heads, T, d)."""
    tokens, width = low.shape_of(x)
    size = width // (count * heads)
    x = low.emit(call, "reshape", (x,), shape=(tokens, count, heads, size), suffix=f"{suffix}.heads")
    x = low.emit(call, "permute", (x,), shape=(count, heads, tokens, size), suffix=f"{suffix}.apart",
                 dims=(0, 2, 3, 1, 4))  # fmt: skip
    return [low.emit(call, "index", (x,), shape=(heads, tokens, size), suffix=f"{suffix}.{i}", index=(slice(None), i))
            for i in range(count)]  # fmt: skip


def join_heads(low: Lowering, call: Call, x: str, suffix: str) -> str:
    """(heads, T, d) as (T, heads x d)."""
    heads, tokens, size = low.shape_of(x)
    x = low.emit(call, "permute", (x,), shape=(tokens, heads, size), suffix=f"{suffix}.side", dims=(0, 2, 1, 3))
    return low.emit(call, "reshape", (x,), shape=(tokens, heads * size), suffix=f"{suffix}.joined")
