"""The hybrid activation: only what is kept is compared, everything that can go side by side does.

1. Gather the kept, the ``square`` and the ``direct`` positions (public indices; the forms: secure/crypten/forms.py).
2. Side by side: ReLU of the kept ones (5 rounds), c2 (x + o)**2 + e (2 rounds), Horner's rule (as many as its degree).
3. Scatter.

Rounds: 5 with anything kept (6 for a PReLU, whose slope is private), else 2, or the degree of the direct form. Bytes
online, at frac_bits 16: a kept position 22 1/8 from each party (ReLU6 twice that, a PReLU 8 more from the client); a
``square`` one 8 from each and 8 more from the client; a ``direct`` one 8 from the client and 16 from each for every
degree above 1.

Not protected: which positions are kept (public by design) and which channels take which form.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...program.program import Step
from ..site import coefficient
from .channel import Protocol
from .party import FusedShares
from .protocols import drelu, multiply, product, relu, square


def hybrid(s: FusedShares, step: Step, secrets: dict[str, Tensor], x: Tensor) -> Tensor:
    a, flat, held = step.attrs, x.flatten(1), s.take(step)
    rules = {"kept": _kept, "square": _square, "direct": _direct}
    parts = [part for part in rules if len(a[part])]
    if len(parts) == 1:
        (part,) = parts  # all positions, in order
        return s.run(rules[part](s, step, held, flat))[0].view_as(x)
    results = s.run(*(rules[part](s, step, held, flat.index_select(1, a[part])) for part in parts))
    out = torch.empty_like(flat)
    for part, result in zip(parts, results):
        out.index_copy_(1, a[part], result)
    return out.view_as(x)


def _kept(s: FusedShares, step: Step, held: dict[str, tuple], x: Tensor) -> Protocol:
    kind = step.attrs["kind"]
    if kind == "relu6":  # min(relu(x), 6) = relu(x) - relu(x - 6)
        low, high = (yield from relu(s, held["kept"], torch.cat([x, s.add_public(x, -6.0)], 1))).split(x.shape[1], 1)
        return low - high
    if "knots" in step.attrs:
        return (yield from _spline(s, step, held, x))
    y = yield from relu(s, held["kept"], x)
    if kind == "leaky_relu":
        return y + s.rescale((x - y) * round(step.attrs["slope"] * 2.0**s.frac_bits))
    if kind == "prelu":
        return y + s.rescale((yield from product(s, held["slope"], f"{step.name}.slope", x - y)))
    return y


def _spline(s: FusedShares, step: Step, held: dict[str, tuple], x: Tensor) -> Protocol:
    """Comparisons with all knots at once, then a product for each power of x."""
    knots = step.attrs["knots"]
    bits = yield from drelu(s, held["kept"], torch.stack([s.add_public(x, -knot) for knot in knots], 1))
    c0, y, c2 = (coefficient(s, step, k, bits) for k in range(3))
    if any(step.attrs["c2"]):
        y = y + s.rescale((yield from multiply(s, held["power2"], c2, x)))
    return s.rescale((yield from multiply(s, held["power1"], y, x))) + c0


def _square(s: FusedShares, step: Step, held: dict[str, tuple], x: Tensor) -> Protocol:
    y = yield from square(s, held["square"], s.add_by_position(x, step, "offset"))
    y = yield from product(s, held["factor"], f"{step.name}.factor", y)
    return s.add_by_position(s.rescale(y), step, "constant")


def _direct(s: FusedShares, step: Step, held: dict[str, tuple], x: Tensor) -> Protocol:
    degree = step.attrs["degree"]
    y = yield from product(s, held["lead"], f"{step.name}.lead", x)
    y = s.add_by_position(s.rescale(y), step, "coeffs", degree - 1)
    for k in range(1, degree):
        y = yield from multiply(s, held[f"horner{k}"], y, x)
        y = s.add_by_position(s.rescale(y), step, "coeffs", degree - 1 - k)
    return y
