"""Public linear operations on ring elements: each party applies them to its own half, no message.

They act on the server's ``M`` and on the blinding ``B`` alike, because ``f(M) + f(B) = f(M + B)``. Exponents of several
inputs are aligned by shifts (``attrs["shifts"]``, one for each input), exactly.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .plan import Step
from .ring import narrowed, shift_left


def apply(step: Step, *inputs: np.ndarray) -> np.ndarray:
    """The result of a "local" step on ring elements (N, ...), of the step's width."""
    shifted = [shift_left(narrowed(x, step.width), bits) for x, bits in zip(inputs, step.attrs["shifts"])]
    return LOCAL[step.attrs["kind"]](step, *shifted)


def _add(step: Step, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return x + y if step.attrs["sign"] > 0 else x - y


def _times(step: Step, x: np.ndarray) -> np.ndarray:
    return x * np.int64(step.attrs["factor"]).astype(x.dtype)


def _broadcast(step: Step, x: np.ndarray) -> np.ndarray:
    """As NumPy does, with the batch in front."""
    ones = (1,) * (len(step.shape) + 1 - x.ndim)
    return np.broadcast_to(x.reshape(len(x), *ones, *x.shape[1:]), (len(x), *step.shape))


def _pad(step: Step, x: np.ndarray) -> np.ndarray:
    """torch's order: last axis first; a negative number crops."""
    pads = step.attrs["pads"]
    index, widths = [slice(None)] * x.ndim, [(0, 0)] * x.ndim
    for i, (before, after) in enumerate(zip(pads[::2], pads[1::2])):
        axis = x.ndim - 1 - i
        index[axis] = slice(max(-before, 0), x.shape[axis] - max(-after, 0))
        widths[axis] = (max(before, 0), max(after, 0))
    return np.pad(x[tuple(index)], widths)


def _windows(step: Step, x: np.ndarray) -> np.ndarray:
    """The elements of every pooling window: (N, window size, ..., OH, OW)."""
    (kh, kw), (sh, sw), (dh, dw) = (step.attrs[k] for k in ("kernel", "stride", "dilation"))
    oh, ow = step.shape[-2:]
    return np.stack([
        x[..., i * dh : i * dh + sh * (oh - 1) + 1 : sh, j * dw : j * dw + sw * (ow - 1) + 1 : sw]
        for i in range(kh) for j in range(kw)
    ], axis=1)  # fmt: skip


def _sum_pool(step: Step, x: np.ndarray) -> np.ndarray:
    (kh, kw), (sh, sw), (ph, pw) = (step.attrs[k] for k in ("kernel", "stride", "padding"))
    x = np.pad(x, [(0, 0)] * (x.ndim - 2) + [(ph, ph), (pw, pw)]) if ph or pw else x
    oh, ow = step.shape[-2:]
    if (kh, kw) == (sh, sw) and x.shape[-2:] == (kh * oh, kw * ow):
        return x.reshape(*x.shape[:-2], oh, kh, ow, kw).sum((-3, -1), dtype=x.dtype)
    total = np.zeros((*x.shape[:-2], oh, ow), x.dtype)
    for i in range(kh):
        for j in range(kw):
            total += x[..., i : i + sh * (oh - 1) + 1 : sh, j : j + sw * (ow - 1) + 1 : sw]
    return total


def _at(step: Step, x: np.ndarray) -> np.ndarray:
    """Zero everywhere else."""
    flat, positions = x.reshape(len(x), -1), step.attrs["positions"]
    out = np.zeros_like(flat)
    out[:, positions] = flat[:, positions]
    return out.reshape(x.shape)


def _take(step: Step, x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), -1)[:, step.attrs["positions"]]


def _put(step: Step, x: np.ndarray) -> np.ndarray:
    """Zero everywhere else."""
    out = np.zeros((len(x), step.size), x.dtype)
    out[:, step.attrs["positions"]] = x
    return out.reshape(len(x), *step.shape)


LOCAL: dict[str, Callable[..., np.ndarray]] = {
    "add": _add,
    "times": _times,
    "pad": _pad,
    "windows": _windows,
    "sum_pool": _sum_pool,
    "sum": lambda step, x: x.sum(tuple(step.attrs["dims"]), x.dtype, keepdims=step.attrs["keepdim"]),
    "reshape": lambda step, x: x.reshape(len(x), *step.shape),
    "broadcast": _broadcast,
    "at": _at,
    "take": _take,
    "put": _put,
    "permute": lambda step, x: x.transpose(step.attrs["dims"]),
    "index": lambda step, x: x[step.attrs["index"]],
    "select": lambda step, x: x.take(np.array(step.attrs["places"]), step.attrs["dim"]),
    "cat": lambda step, *parts: np.concatenate(parts, step.attrs["dim"]),
}  # fmt: skip
