"""The hybrid activation on shares: only what is kept is compared.

1. Gather the kept, the ``square`` and the ``direct`` positions (public indices; the forms: secure/hybrid_site.py).
2. [d] = 1{x >= 0} of the kept ones: 8 rounds (for ReLU6 of x and of x - 6, side by side).
3. Polynomials but their last product: (x + o)**2 for ``square`` and c_2 x for ``direct``, 1 round together; each degree
   above 2 is one round more.
4. One product of everything: [x] * [d], [(x + o)**2] * [c2], [c_2 x + c_1] * [x]: 1 round.
5. Scatter.

Rounds: 8 + 1 with everything kept; 8 + 1 + 1 with some; 1 + 1 with none (1 at degree 1). A PReLU with kept positions
takes one more for its private slope. Bytes that each party sends online: 232 for a kept position (216 comparison, 16
product; twice that for ReLU6), 24 for a ``square`` one (8 + 16), 32 for a ``direct`` one of degree 2.

Not protected: which positions are kept (public by design) and which channels take which form.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .. import structure
from ..program import Step
from .beaver import Shares


def relu(s: Shares, x: Tensor) -> Tensor:
    """Share of max(x, 0). 9 rounds."""
    (y,) = s.open_round([], [(x, s.drelu(x))])[1]
    return y


def hybrid(s: Shares, step: Step, secrets: dict[str, Tensor], x: Tensor) -> Tensor:
    a, flat = step.attrs, x.flatten(1)
    kept, square, direct = (flat[:, a[part]] for part in ("kept", "square", "direct"))
    left, right = [], []
    if kept.numel():
        compared = torch.cat([kept, s.add_public(kept, -6.0)], 1) if a["kind"] == "relu6" else kept
        left.append(compared)
        right.append(s.drelu(compared))
    squared, horner = _polynomials(s, step, secrets, square, direct)
    if square.numel():
        left.append(squared)
        right.append(structure.by_position(step, secrets["factor"], "square").expand_as(square))
    if direct.numel():
        left.append(horner)
        right.append(direct)
    (products,) = s.open_round([], [(torch.cat(left, 1), torch.cat(right, 1))])[1]

    sizes = [part.shape[1] for part in left]
    parts = list(products.split(sizes, 1))
    out = torch.empty_like(flat)
    if kept.numel():
        out[:, a["kept"]] = _finish_kept(s, step, secrets, kept, parts.pop(0))
    if square.numel():
        constant = structure.by_position(step, secrets["constant"], "square")
        out[:, a["square"]] = s.rescale(parts.pop(0)) + constant
    if direct.numel():
        out[:, a["direct"]] = s.rescale(parts.pop(0)) + structure.by_position(step, secrets["coeffs"], "direct")[0]
    return out.view_as(x)


def _polynomials(
    s: Shares, step: Step, secrets: dict[str, Tensor], square: Tensor, direct: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    """(x + o)**2 of the ``square`` positions, and Horner's rule short of its last product of the ``direct`` ones."""
    squares, products, horner, coeffs = [], [], None, None
    degree = step.attrs["degree"]
    if square.numel():
        squares = [square + structure.by_position(step, secrets["offset"], "square")]
    if direct.numel():
        coeffs = structure.by_position(step, secrets["coeffs"], "direct")
        horner = coeffs[degree].expand_as(direct)
        products = [(direct, coeffs[degree : degree + 1])] if degree > 1 else []
    squared = None
    if squares or products:
        squared, first = s.open_round(squares, products)
        squared = squared[0] if squared else None
        horner = s.rescale(first[0]) + coeffs[degree - 1] if first else horner
    for k in range(degree - 2, 0, -1):
        if horner is not None:
            horner = s.rescale(s.open_round([], [(horner, direct)])[1][0]) + coeffs[k]
    return squared, horner


def _finish_kept(s: Shares, step: Step, secrets: dict[str, Tensor], x: Tensor, product: Tensor) -> Tensor:
    """From x and x * d (exact: d is an integer) to the activation."""
    kind = step.attrs["kind"]
    if kind == "relu6":  # min(relu(x), 6) = relu(x) - relu(x - 6)
        low, high = product.split(x.shape[1], 1)
        return low - high
    if kind == "leaky_relu":
        return product + s.rescale((x - product) * round(step.attrs["slope"] * 2.0**s.frac_bits))
    if kind == "prelu":
        slope = structure.by_position(step, secrets["slope"], "kept").unsqueeze(0)
        return product + s.rescale(s.open_round([], [(x - product, slope)])[1][0])
    return product
