"""The hybrid activation on shares: only what is kept is compared, everything that can go side by side does.

1. Gather the kept, the ``square`` and the ``direct`` positions (public indices; the forms: forms.py).
2. Side by side: the activation of the kept ones, c2 (x + o)**2 + e, and Horner's rule.
3. Scatter.

Rounds with fused kernels: the most of 5 for kept positions (6 for a PReLU, whose slope is private, and for a spline, 7
for one that bends), 2 for ``square`` ones and the degree for ``direct`` ones. With torch 9 for kept positions (10 for a
PReLU and for a spline that bends); the first of the others' is beside the 8 of the comparison.

Not protected: which positions are kept (public by design) and which channels take which form.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..program import tensor_ops
from ..program.kinds import EXACT
from ..program.program import Step
from .shares import Protocol, Shares

#: Role of a number -> where it is used.
_PARTS = {"slope": "kept", "factor": "square", "offset": "square", "constant": "square", "coeffs": "direct"}


def by_position(step: Step, numbers: dict[str, Tensor]) -> dict[str, Tensor]:
    """A site's numbers, one for each position; ``lead`` is the coefficient of the highest power."""
    found = {role: tensor_ops.by_position(step, value, _PARTS[role]) for role, value in numbers.items()}
    return {**found, "lead": found["coeffs"][-1]} if "coeffs" in found else found


def hybrid(s: Shares, step: Step, numbers: dict[str, Tensor], x: Tensor) -> Tensor:
    a, flat = step.attrs, x.flatten(1)
    rules = {"kept": _kept, "square": _square, "direct": _direct}
    parts = [part for part in rules if len(a[part])]
    if len(parts) == 1:
        (part,) = parts  # all positions, in order
        return s.run(rules[part](s, step, numbers, flat))[0].view_as(x)
    results = s.run(*(rules[part](s, step, numbers, flat.index_select(1, a[part])) for part in parts))
    out = torch.empty_like(flat)
    for part, result in zip(parts, results):
        out.index_copy_(1, a[part], result)
    return out.view_as(x)


def _kept(s: Shares, step: Step, numbers: dict[str, Tensor], x: Tensor) -> Protocol:
    """What the record of a kind says (program/kinds.py)."""
    if "knots" in step.attrs:
        return (yield from _spline(s, step, x))
    kind = EXACT[step.attrs["kind"]]
    compared = [x if point == 0 else s.add_public(x, -point) for point in kind.points]
    low, *high = (yield from s.relu(step, "kept", torch.cat(compared, 1))).split(x.shape[1], 1)
    y = low - high[0] if high else low
    if kind.slope == "public":
        return y + s.rescale((x - y) * round(step.attrs["slope"] * 2.0**s.frac_bits))
    if kind.slope == "private":
        return y + s.rescale((yield from s.product(step, "slope", numbers["slope"], x - y)))
    return y


def _spline(s: Shares, step: Step, x: Tensor) -> Protocol:
    """Comparisons with all knots at once, then a product for each power of x."""
    bits = yield from s.drelu(step, "kept", torch.stack([s.add_public(x, -knot) for knot in step.attrs["knots"]], 1))
    c0, y, c2 = (_coefficient(s, step, k, bits) for k in range(3))
    if any(step.attrs["c2"]):
        y = y + s.rescale((yield from s.multiply(step, "power2", c2, x)))
    return s.rescale((yield from s.multiply(step, "power1", y, x))) + c0


def _coefficient(s: Shares, step: Step, power: int, bits: Tensor) -> Tensor:
    """From shares of ``[x >= knot]`` (N, knots, positions), whole numbers, to those of one coefficient. Local."""
    first, *rest = (round(c * 2.0**s.frac_bits) for c in step.attrs[f"c{power}"])
    rises = torch.tensor([after - before for before, after in zip([first, *rest], rest)]).view(-1, 1)
    total = (bits * rises).sum(1)
    return total + first if s.first else total


def _square(s: Shares, step: Step, numbers: dict[str, Tensor], x: Tensor) -> Protocol:
    y = yield from s.square(step, "square", s.add(x, numbers["offset"]))
    y = yield from s.product(step, "factor", numbers["factor"], y)
    return s.add(s.rescale(y), numbers["constant"])


def _direct(s: Shares, step: Step, numbers: dict[str, Tensor], x: Tensor) -> Protocol:
    degree, coeffs = step.attrs["degree"], numbers["coeffs"]
    y = s.rescale((yield from s.product(step, "lead", numbers["lead"], x)))
    for k in range(1, degree):
        y = s.add(y, coeffs[degree - k])
        y = s.rescale((yield from s.multiply(step, f"horner{k}", y, x)))
    return s.add(y, coeffs[0])
