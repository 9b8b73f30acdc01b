"""A hybrid activation for two parties: which positions are compared, and which form each polynomial takes.

A replaced position takes one of two forms, chosen per channel when the program is compiled; the choice is public.

``square``: ``c2 (x + o)**2 + e`` with ``o = c1 / (2 c2)`` and ``e = c0 - c2 o**2``. The coefficients stay private: the
server shares ``o``, ``c2`` and ``e``; one squaring and one product. ``c2`` is first rounded to the grid, then ``o`` is
computed from the rounded one, then ``e`` from both (fixed_point.py), so the rounding of ``c2`` is not multiplied by
o**2. What is left of it is, for |x| <= R and u = 2**-frac_bits,

    |c2' - c2| x**2 + |2 c2' o' - c1| |x|  <=  u/2 R**2 + c2 u R .

A square has to be divided by 2**frac_bits on shares, which fails with probability (x + o)**2 2**(2 frac_bits) / 2**64
(see error_bound.py) and then destroys the result. A vertex far outside of the data (``c2`` tiny: the fit is nearly a
line) makes that likely and gains nothing, so this form is taken only where |o| <= 2 R, R being the largest calibrated
|x| of the site: then (x + o)**2 <= 9 R**2, within a factor 9 of what squaring x itself would risk.

``direct``: ``(... (c_d x + c_{d-1}) x + ...) x + c0``, Horner's rule, ``d`` products. Everything else takes it: sites
of degree 1 (one product), 3 and 4, ``c2 <= 0``, and vertices far out. It has no large intermediate value, and the
rounding of each product is multiplied by |x| in the next; ``square`` multiplies it by c2 < 1 and sends one tensor less.
A channel with c2 == 0 in a site of degree 2 is computed like one with c2 < 0, so the program does not say that it is a
line.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..hybrid.activation import HybridActivation

#: R where a site was never calibrated.
_DEFAULT_RANGE = 8.0


def lower_site(site: HybridActivation, frac_bits: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Public attributes and the server's tensors of one site.

    Attributes: ``kind``, ``slope`` (leaky ReLU), ``degree`` of the direct form, ``per_channel`` (positions of one
    channel), and the positions of each part as indices into a flattened sample: ``kept``, ``square``, ``direct``. All
    secrets are per channel, (C,) or (degree + 1, C).
    """
    activation, keep = site.activation, site.keep.cpu()
    coeffs = site.coeffs.detach().cpu().double()
    form = _square_form(coeffs, _range(site), frac_bits)
    per_channel = keep[0].numel()
    is_square = (form["factor"] > 0).repeat_interleave(per_channel)
    flat = keep.flatten()
    index = {
        "kept": torch.nonzero(flat).flatten(),
        "square": torch.nonzero(~flat & is_square).flatten(),
        "direct": torch.nonzero(~flat & ~is_square).flatten(),
    }
    secrets = {}
    if len(index["square"]):
        secrets.update(form)
    if len(index["direct"]):
        secrets["coeffs"] = coeffs
    if activation.kind == "prelu" and len(index["kept"]):
        secrets["slope"] = activation.weight.detach().cpu().double().expand(keep.shape[0])
    attrs = {"kind": activation.kind, "degree": len(coeffs) - 1, "per_channel": per_channel, **index}
    if activation.kind == "leaky_relu":
        attrs["slope"] = float(activation.params["negative_slope"])
    return attrs, secrets


def _square_form(coeffs: Tensor, largest: float, frac_bits: int) -> dict[str, Tensor]:
    """``factor``, ``offset`` and ``constant`` per channel; zeros where the form does not apply."""
    if len(coeffs) != 3:
        nothing = torch.zeros(coeffs.shape[1], dtype=torch.float64)
        return {"factor": nothing, "offset": nothing, "constant": nothing}
    c0, c1, c2 = coeffs
    visible = c2 * 2.0**frac_bits >= 1  # does not vanish on the grid
    offset = c1 / (2 * torch.where(visible, c2, 1))
    applies = visible & (offset.abs() <= 2 * largest)
    factor, offset = torch.where(applies, c2, 0), torch.where(applies, offset, 0)
    return {"factor": factor, "offset": offset, "constant": torch.where(applies, c0 - factor * offset**2, 0)}


def _range(site: HybridActivation) -> float:
    return _DEFAULT_RANGE if site.input_range is None else max(float(site.input_range.abs().max()), 1.0)
