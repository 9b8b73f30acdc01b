"""The hybrid activation on shares: only what is kept is compared.

1. Gather the kept, the ``square`` and the ``direct`` positions (public indices; the forms: secure/crypten/forms.py).
2. Start (x + o)**2 for ``square`` and c_d x for ``direct``: 1 round, which travels beside the first one of 3.
3. [d] = 1{x >= 0} of the kept ones: 8 rounds (for ReLU6 of x and of x - 6, side by side).
4. Horner's rule of ``direct`` up to its last product: a round for each degree above 2.
5. One product of everything: [x] * [d], [(x + o)**2] * [c2], [c_2 x + c_1] * [x]: 1 round.
6. Scatter.

Rounds at degree 2: 8 + 1 with anything kept, as many as ReLU alone; 1 + 1 with nothing kept (1 at degree 1). A PReLU
with kept positions takes one more for its private slope. Bytes that each party sends online: 232 for a kept position
(216 comparison, 16 product; twice that for ReLU6), 24 for a ``square`` one (8 + 16), 32 for a ``direct`` one of degree
2 (8 of them once for all samples).

Not protected: which positions are kept (public by design) and which channels take which form.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..program import tensor_ops
from ..program.program import Step
from .beaver import Opening, Shares
from .values import Values


def relu(s: Shares, x: Tensor) -> Tensor:
    """Share of max(x, 0). 9 rounds."""
    (y,) = s.open_round([], [(x, s.drelu(x))])[1]
    return y


def hybrid(s: Shares, step: Step, secrets: dict[str, Tensor], x: Tensor) -> Tensor:
    a, flat = step.attrs, x.flatten(1)
    kept, square, direct = (flat[:, a[part]] for part in ("kept", "square", "direct"))
    started = _start_polynomials(s, step, secrets, square, direct, beside_next=kept.numel() > 0)
    left, right = [], []
    if kept.numel() and "knots" in a:
        constant, factor = _coefficients(s, step, kept)
        left.append(factor)
        right.append(kept)
    elif kept.numel():
        compared = torch.cat([kept, s.add_public(kept, -6.0)], 1) if a["kind"] == "relu6" else kept
        left.append(compared)
        right.append(s.drelu(compared))
    squares, products = started.finish() if started else ([], [])
    if square.numel():
        left.append(squares[0])
        right.append(tensor_ops.by_position(step, secrets["factor"], "square").expand_as(square))
    if direct.numel():
        left.append(_horner(s, step, secrets, direct, products))
        right.append(direct)
    (product,) = s.open_round([], [(torch.cat(left, 1), torch.cat(right, 1))])[1]

    parts = list(product.split([part.shape[1] for part in left], 1))
    out = torch.empty_like(flat)
    if kept.numel() and "knots" in a:
        out[:, a["kept"]] = s.rescale(parts.pop(0)) + constant
    elif kept.numel():
        out[:, a["kept"]] = _finish_kept(s, step, secrets, kept, parts.pop(0))
    if square.numel():
        constant = tensor_ops.by_position(step, secrets["constant"], "square")
        out[:, a["square"]] = s.rescale(parts.pop(0)) + constant
    if direct.numel():
        out[:, a["direct"]] = s.rescale(parts.pop(0)) + tensor_ops.by_position(step, secrets["coeffs"], "direct")[0]
    return out.view_as(x)


def _start_polynomials(
    s: Shares, step: Step, secrets: dict[str, Tensor], square: Tensor, direct: Tensor, beside_next: bool
) -> Opening | None:
    """(x + o)**2 of the ``square`` positions and c_d x of the ``direct`` ones; None where there is nothing to do."""
    squares, products = [], []
    if square.numel():
        squares = [square + tensor_ops.by_position(step, secrets["offset"], "square")]
    if direct.numel() and step.attrs["degree"] > 1:
        lead = tensor_ops.by_position(step, secrets["coeffs"], "direct")[-1:]  # one row, the same for all samples
        products = [(direct, lead)]
    return s.begin(squares, products, beside_next=beside_next) if squares or products else None


def _horner(s: Shares, step: Step, secrets: dict[str, Tensor], x: Tensor, started: list[Tensor]) -> Tensor:
    """``(c_d x + ...) x + c_1``, the factor of the last x, from ``[c_d x]`` (nothing at degree 1)."""
    coeffs = tensor_ops.by_position(step, secrets["coeffs"], "direct")
    y = coeffs[-1].expand_as(x)
    for k in range(step.attrs["degree"] - 1, 0, -1):
        product = started.pop() if started else s.open_round([], [(y, x)])[1][0]
        y = s.rescale(product) + coeffs[k]
    return y


def _coefficients(s: Shares, step: Step, x: Tensor) -> tuple[Tensor, Tensor]:
    """Of the piece of a spline that x lies in: ``c_0`` and ``c_2 x + c_1``. A round more than the comparison."""
    knots = step.attrs["knots"]
    bits = s.drelu(torch.cat([s.add_public(x, -knot) for knot in knots], 1)).view(len(x), len(knots), -1)
    c0, c1, c2 = (coefficient(s, step, k, bits) for k in range(3))
    if any(step.attrs["c2"]):
        c1 = c1 + s.rescale(s.open_round([], [(c2, x)])[1][0])
    return c0, c1


def coefficient(s: Values, step: Step, power: int, bits: Tensor) -> Tensor:
    """From shares of ``[x >= knot]`` (N, knots, positions), whole numbers, to those of one coefficient. Local."""
    first, *rest = (round(c * 2.0**s.frac_bits) for c in step.attrs[f"c{power}"])
    rises = torch.tensor([after - before for before, after in zip([first, *rest], rest)]).view(-1, 1)
    total = (bits * rises).sum(1)
    return total + first if s.first else total


def _finish_kept(s: Shares, step: Step, secrets: dict[str, Tensor], x: Tensor, product: Tensor) -> Tensor:
    """From x and x * d (exact: d is an integer) to the activation."""
    kind = step.attrs["kind"]
    if kind == "relu6":  # min(relu(x), 6) = relu(x) - relu(x - 6)
        low, high = product.split(x.shape[1], 1)
        return low - high
    if kind == "leaky_relu":
        return product + s.rescale((x - product) * round(step.attrs["slope"] * 2.0**s.frac_bits))
    if kind == "prelu":
        slope = tensor_ops.by_position(step, secrets["slope"], "kept").unsqueeze(0)
        return product + s.rescale(s.open_round([], [(x - product, slope)])[1][0])
    return product
