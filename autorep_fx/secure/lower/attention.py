"""Scaled dot products, the attention of transformers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from .arithmetic import add_constant
from .call import Call, Unsupported, lowers
from .contract import contract_private
from .lowering import Lowering
from .matmul import _of_matmul
from .norm import exponentials, total_over
from .ranged import divided


@lowers(functions=(F.scaled_dot_product_attention,))
def scaled_dot_product_attention(low: Lowering, call: Call) -> str:
    """``softmax(q k^T scale + mask) v``; the sum divides what comes behind the product with v, which has fewer
    elements than the scores."""
    given = [low.value(call.get(i, name)) for i, name in enumerate(("query", "key", "value"))]
    q, k, v = given
    if len({len(low.shape_of(x)) for x in given}) > 1 or len(low.shape_of(q)) < 2:
        raise Unsupported("query, key and value have different numbers of axes; unsqueeze them alike")
    if call.get(4, "dropout_p", 0.0):
        raise Unsupported("drops out in eval mode, too; give dropout_p=0.0")
    if call.kwargs.get("enable_gqa"):
        raise Unsupported("enable_gqa=True; repeat keys and values by hand")
    axes = len(low.shape_of(q)) + 1
    scale = call.kwargs.get("scale")
    scale = low.shape_of(q)[-1] ** -0.5 if scale is None else scale
    of_q, of_k, out = _of_matmul(axes, axes)
    scores = contract_private(low, call, [q, k], [of_q, (*of_k[:-2], of_k[-1], of_k[-2])], out, ".scores")
    shape = low.shape_of(scores)
    scores = low.emit(call, "scale", (scores,), shape=shape, suffix=".scaled", factor=float(scale))
    scores, hidden = _masked(low, call, scores)
    powers = exponentials(low, call, scores)
    if hidden is not None:
        powers = _hidden(low, call, powers, hidden)
    total = total_over(low, call, powers, (axes - 1,), ".total")
    product = contract_private(low, call, [powers, v], list(_of_matmul(axes, axes)[:2]), out, ".weighted")
    return divided(low, call, product, total, low.shape_of(product))


def _masked(low: Lowering, call: Call, scores: str) -> tuple[str, Tensor | None]:
    """Scores with what is added to them, and which are left out, as a factor of 0."""
    shape, mask = low.shape_of(scores), call.get(3, "attn_mask")
    if call.get(5, "is_causal", False):
        return scores, torch.ones(shape[-2:], dtype=torch.float64).tril()
    if mask is None:
        return scores, None
    if isinstance(mask, fx.Node):
        raise Unsupported("a mask that depends on the input; a constant one is supported")
    if mask.dtype == torch.bool:
        return scores, mask.double()
    left_out = torch.isinf(mask)
    scores = add_constant(low, call, scores, mask.masked_fill(left_out, 0.0), 1.0, ".biased", shape)
    return scores, (~left_out).double() if left_out.any() else None


def _hidden(low: Lowering, call: Call, powers: str, factor: Tensor) -> str:
    """Public zeros; positions of them are dropped before anything is summed."""
    shape = low.shape_of(powers)
    factor = factor.reshape(factor.shape[-len(shape) :] if factor.dim() > len(shape) else factor.shape)
    kept = factor.expand(shape).flatten().nonzero().flatten()
    return low.emit(call, "keep", (powers,), shape=shape, suffix=".seen", positions=kept.numpy())
