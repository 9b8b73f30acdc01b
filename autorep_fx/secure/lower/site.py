"""A hybrid activation as numbers: which positions are compared, and the polynomials of the others.

A line is a polynomial whose square is zero, so a site whose channels each take squares or lines alone has one
polynomial a channel. Where a channel has both, each position of the site counts as a channel of its own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...hybrid.activation import HybridActivation
from ..program.kinds import EXACT


def lower_site(site: HybridActivation) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Public attributes and the server's tensors of one site.

    Attributes: ``kind``; ``slope`` of a leaky ReLU; ``params`` of what is kept as a spline; ``degree`` of the
    polynomials; ``per_channel``, positions of one channel; ``kept`` and ``replaced``, positions as indices into a
    flattened sample, increasing. Secrets, by channel: ``coeffs`` (degree + 1, C), where anything is replaced; ``slope``
    (C,) of a PReLU that keeps positions. ``per_channel`` is 1 where all positions are channels.
    """
    activation, keep = site.activation, site.keep.cpu()
    flat = keep.flatten()
    coeffs = _by_channel(site)
    if coeffs is None:
        keep, coeffs = flat, _by_position(site)
    attrs: dict[str, Any] = {
        "kind": activation.kind,
        "degree": len(coeffs) - 1,
        "per_channel": keep[0].numel(),
        "kept": torch.nonzero(flat).flatten(),
        "replaced": torch.nonzero(~flat).flatten(),
    }
    kind = EXACT.get(activation.kind)
    slope = kind and kind.slope
    if slope == "public":
        attrs["slope"] = float(activation.params["negative_slope"])
    if kind is None and len(attrs["kept"]):
        attrs["params"] = dict(activation.params)
    secrets = {}
    if len(attrs["replaced"]):
        secrets["coeffs"] = coeffs
    if slope == "private" and len(attrs["kept"]):
        slopes = activation.weight.detach().cpu().double().expand(site.shape[0])
        secrets["slope"] = slopes.repeat_interleave(len(keep) // len(slopes))
    return attrs, secrets


def _by_channel(site: HybridActivation) -> Tensor | None:
    """(degree + 1, C), the degree 1 where all that is replaced is a line; None where a channel has both."""
    coeffs = site.coeffs.detach().cpu().double()
    if not site.lines:
        return coeffs
    line, square = (mask.cpu().reshape(len(mask), -1).any(1)
                    for mask in (site.takes_line, ~site.keep & ~site.takes_line))  # fmt: skip
    lines = site.line_coeffs.detach().cpu().double()
    if not square.any():
        return lines
    if (line & square).any():
        return None
    return torch.where(line, _raised(lines, len(coeffs)), coeffs)


def _by_position(site: HybridActivation) -> Tensor:
    """(degree + 1, P)."""
    line, each = site.takes_line.cpu().flatten(), site.keep[0].numel()
    coeffs, lines = (c.detach().cpu().double().repeat_interleave(each, 1) for c in (site.coeffs, site.line_coeffs))
    return torch.where(line, _raised(lines, len(coeffs)), coeffs)


def _raised(lines: Tensor, count: int) -> Tensor:
    """Lines (2, n) as polynomials of ``count`` coefficients."""
    return torch.cat([lines, lines.new_zeros(count - 2, lines.shape[1])])
