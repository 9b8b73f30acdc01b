"""Linear maps whose weights only the server knows; what they compute is in ../linear.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...program import checks, shapes
from ...program.checks import Rule, pair, whole
from ...program.shapes import LARGEST, Shape, need
from .. import linear
from ..attributes import EXPONENT, KEPT, WEIGHT
from ..operation import Operation, Simulated
from ..plan import Step
from ..ring import elements, narrowed
from ..rounding import AT_ONCE, Rounding, no_bound
from ..server_numbers import Numbers

if TYPE_CHECKING:
    from torch import Tensor


def _position(step: Step, x: Shape) -> Shape:
    a = step.attrs
    need(a["weight_shape"] == step.shape[:1] != (), "needs a factor for each channel")
    need(a["per_channel"] * step.shape[0] == step.size, "counts other positions in a channel")
    need(a["weight_bits"] < 64, "has no room for 1 in its factors")
    return x


_KINDS = {
    "conv2d": Rule(
        lambda s, x: shapes.conv2d(s.attrs, s.attrs["weight_shape"], x),
        {"stride": pair(1), "padding": pair(0), "dilation": pair(1), "groups": checks.WHOLE},
    ),
    "linear": Rule(lambda s, x: shapes.linear(s.attrs["weight_shape"], x)),
    "channel": Rule(lambda s, x: shapes.by_channel(s.attrs["weight_shape"], x)),
    "position": Rule(_position, {"per_channel": whole(1, LARGEST), "replaced": KEPT}),
}


def _exponent(step: Step, given: list[int]) -> int:
    return given[0] + step.attrs["weight_bits"]


def _simulate(
    step: Step, given: list[np.ndarray], errors: list[np.ndarray], own: Numbers, rounding: Rounding
) -> Simulated:
    y = _in_single(step, own, given[0]) if rounding.single else None
    y = linear.apply(step, linear.pack(step, own.weight, public=True), given[0]) if y is None else y
    y = y if own.constant is None else y + narrowed(own.constant, step.width)
    # A draw is no bound, and the convolution of one would be half of the work.
    return y, _bound(step, own.weight, errors[0]) if rounding.rng is None else no_bound(y)


def _in_single(step: Step, own: Numbers, given: np.ndarray) -> np.ndarray | None:
    """The map with its sums in float32, in a fraction of the time; None where it sums nothing, or leaves the ring."""
    if step.attrs["kind"] not in ("conv2d", "linear"):
        return None
    import torch  # here: who runs a plan has none

    weight = own.weight if own.bits <= step.width else narrowed(own.weight, step.width)  # the same numbers
    w = torch.from_numpy(_signed(weight)).float()
    found = torch.empty((len(given), *step.shape), dtype=torch.int32 if step.width == 32 else torch.int64)
    at_once = max(AT_ONCE // max(found[:1].numel(), given[:1].size), 1)
    for start in range(0, len(given), at_once):
        part = slice(start, start + at_once)
        x = torch.from_numpy(_signed(narrowed(given[part], step.width))).float()
        y = _summed(step, x, w).round_()
        if y.numel() and not max(y.max().item(), -y.min().item()) < 2.0 ** (step.width - 1):
            return None
        found[part] = y
    return found.numpy().view(elements(step.width))


def _signed(ring: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(ring).view(f"i{ring.itemsize}")


def _summed(step: Step, x: Tensor, weight: Tensor) -> Tensor:
    import torch.nn.functional as F

    a = step.attrs
    if a["kind"] == "linear":
        return F.linear(x, weight)
    return F.conv2d(x, weight, None, a["stride"], a["padding"], a["dilation"], a["groups"])


def _bound(step: Step, weight: np.ndarray, error: np.ndarray) -> np.ndarray:
    size = np.abs(weight.view(np.int64)).astype(np.float64)
    if step.attrs["kind"] in ("conv2d", "linear"):
        import torch  # here: who runs a plan has no bound of it, and no torch

        given = (torch.from_numpy(np.require(v, requirements=("C", "W"))) for v in (error, size))
        return _summed(step, *given).numpy()
    packed = linear.pack(step, np.abs(weight.view(np.int64)).view(weight.dtype), public=True)
    return error * packed.astype(np.float64)


def _shown(step: Step, is_site: bool) -> str:
    kind, shape = step.attrs["kind"], step.attrs["weight_shape"]
    if kind == "conv2d":
        return f"conv {shape[2]}×{shape[3]}" + (" depthwise" if shape[1] == 1 < step.attrs["groups"] else "")
    return kind.replace("_", " ")


OPERATION = Operation(
    {
        kind: Rule(rule.shape, {"kind": checks.one_of(kind), "weight_shape": WEIGHT, "weight_bits": EXPONENT,
                                **rule.attrs}, inputs=rule.inputs)
        for kind, rule in _KINDS.items()
    },
    _simulate,
    _exponent,
    constant="may",
    shown=_shown,
)  # fmt: skip
