"""Linear maps whose weights only the server knows: blinded in, blinded out, no message online.

The map is bilinear in weight and input, and runs with three different weights: the server's W on ``M``, ``E = W - A``
at the client and the random ``A`` at the dealer on ``B``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .plan import Step
from .ring import kernel, narrowed


def weight_shape(step: Step) -> tuple[int, ...]:
    """Shape of the weight as it is blinded once per model: what is public about a map is left out of it."""
    return tuple(step.attrs["weight_shape"])


def pack(step: Step, weight: np.ndarray, *, public: bool = False, bits: int = 64) -> Any:
    """Lay out a weight (ring elements, ``weight_shape``) for :func:`apply`, in the ring of the step's width.

    public: add the map's public part (the factor 1 at positions that keep their activation), which W has, E gets and A
    does not. bits: how wide the weights are, signed.
    """
    kind, weight = step.attrs["kind"], narrowed(weight, step.width)
    if kind in ("conv2d", "linear"):
        return kernel().pack_weight(weight, groups=step.attrs.get("groups", 1), weight_bits=bits)
    if kind == "channel":
        return weight.reshape(-1, *(1,) * (len(step.shape) - 1))
    expanded = np.zeros(step.size, weight.dtype)
    replaced = step.attrs["replaced"]
    expanded[replaced] = weight[replaced // step.attrs["per_channel"]]
    if public:
        one = np.ones(step.size, bool)
        one[replaced] = False
        expanded[one] = weight.dtype.type(1) << weight.dtype.type(step.attrs["weight_bits"])
    return expanded.reshape(step.shape)


def pack_folded(step: Step, weight: np.ndarray, *, bits: int = 64) -> Any:
    """The same for :func:`transposed_of_product`, public part and all."""
    kind, weight = step.attrs["kind"], narrowed(weight, step.width)
    if kind not in ("conv2d", "linear"):
        return pack(step, weight, public=True)
    groups = step.attrs.get("groups", 1)
    if groups == 1:
        return kernel().pack_weight(np.ascontiguousarray(weight.reshape(len(weight), -1).T), weight_bits=bits)
    return weight.reshape(groups, len(weight) // groups, -1)


def factors_of(step: Step) -> tuple[int, int]:
    """Sizes of the two factors of what :func:`transposed_of_product` takes: an element of the result for each pair, in
    their order. Channels are the first factor, but behind a linear map the second."""
    outer = math.prod(step.shape[:-1]) if step.attrs["kind"] == "linear" else step.shape[0]
    return outer, step.size // outer


def transposed_of_product(
    step: Step, packed: Any, outer: np.ndarray, inner: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    """``W^T y``, (J, ...) of ``shape``, the input's, for ``y[j] = outer[j] (x) inner[j]``: ``<y, W x> = <W^T y, x>``.

    The channels of y are alike but for a factor, so that the weights are summed over them first: one pass over the
    weights for all j, and what is left is a map from one channel.

    outer, inner: (J, ...) of the sizes of :func:`factors_of`.
    """
    a, j = step.attrs, len(outer)
    if a["kind"] == "linear":
        return (outer[:, :, None] * kernel().linear(inner, packed)[:, None]).reshape(j, *shape)
    if a["kind"] != "conv2d":
        return (packed * (outer[:, :, None] * inner[:, None]).reshape(j, *step.shape)).reshape(j, *shape)
    if a["groups"] == 1:
        folded = kernel().linear(outer, packed)
    else:
        folded = np.matmul(outer.reshape(j, a["groups"], 1, -1), packed)
    window = a["weight_shape"][2:]
    turned = folded.reshape(j, shape[0], 1, *window)[..., ::-1, ::-1]
    return np.concatenate([
        kernel().conv2d(_spread(step, y.reshape(1, 1, *step.shape[1:]), shape),
                        kernel().pack_weight(np.ascontiguousarray(w), groups=1, weight_bits=64), dilation=a["dilation"])
        for y, w in zip(inner, turned)
    ])  # fmt: skip


def _spread(step: Step, y: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """What a convolution by the turned weights makes the transposed one of: zeros between elements, where there is a
    stride, and around them, as far as the kernel reaches."""
    a, window = step.attrs, step.attrs["weight_shape"][2:]
    reach = [d * (k - 1) for d, k in zip(a["dilation"], window)]
    spread = np.zeros((*y.shape[:2], *(size + r for size, r in zip(shape[1:], reach))), y.dtype)
    taken, put = [slice(None)] * 2, [slice(None)] * 2
    for size, r, padding, stride, n in zip(spread.shape[2:], reach, a["padding"], a["stride"], y.shape[2:]):
        begin = r - padding  # of the first element; what would lie outside is of windows that see padding alone
        first = max(-(begin // stride), 0)
        last = max(min(n, -((begin - size) // stride)), first)
        taken.append(slice(first, last))
        put.append(slice(begin + first * stride, max(begin + (last - 1) * stride + 1, 0), stride))
    spread[tuple(put)] = y[tuple(taken)]
    return spread


def prepare(step: Step, packed: Any, shape: tuple[int, ...]) -> None:
    """Do now what the first :func:`apply` to an input of this shape (N, ...) would do about the weight."""
    a = step.attrs
    if a["kind"] == "conv2d":
        kernel().prepare_conv2d(shape, packed, stride=a["stride"], padding=a["padding"], dilation=a["dilation"])


def apply(
    step: Step, packed: Any, x: np.ndarray, add: np.ndarray | None = None, out: np.ndarray | None = None
) -> np.ndarray:
    """``W x + add`` in the ring of the step's width (N, ...); ``x`` may be wider. ``out`` may be ``add``."""
    a, x = step.attrs, narrowed(x, step.width)
    if a["kind"] == "conv2d":
        return kernel().conv2d(np.ascontiguousarray(x), packed, stride=a["stride"], padding=a["padding"],
                               dilation=a["dilation"], add=add, out=out)  # fmt: skip
    if a["kind"] == "linear":
        flat = np.ascontiguousarray(x).reshape(-1, x.shape[-1])
        add, out = (None if a is None else a.reshape(len(flat), -1) for a in (add, out))
        return kernel().linear(flat, packed, add=add, out=out).reshape(len(x), *step.shape)
    y = np.multiply(packed, x, out=out if add is None else None, order="C")  # NumPy would make y like a transposed x
    return y if add is None else np.add(y, add, out=y if out is None else out)
