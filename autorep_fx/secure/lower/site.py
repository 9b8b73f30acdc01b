"""A hybrid activation as numbers: which positions are compared, and the polynomials of the others."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...hybrid.activation import HybridActivation
from ..spline import EXACT


def lower_site(site: HybridActivation) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Public attributes and the server's tensors of one site.

    Attributes: ``kind``; ``slope`` of a leaky ReLU; ``params`` of what is kept as a spline; ``degree`` of the
    polynomials; ``per_channel``, positions of one channel; ``kept`` and ``replaced``, positions as indices into a
    flattened sample, increasing. Secrets, by channel: ``coeffs`` (degree + 1, C), where anything is replaced; ``slope``
    (C,) of a PReLU that keeps positions.
    """
    activation, keep = site.activation, site.keep.cpu()
    flat = keep.flatten()
    coeffs = site.coeffs.detach().cpu().double()
    attrs: dict[str, Any] = {
        "kind": activation.kind,
        "degree": len(coeffs) - 1,
        "per_channel": keep[0].numel(),
        "kept": torch.nonzero(flat).flatten(),
        "replaced": torch.nonzero(~flat).flatten(),
    }
    if activation.kind == "leaky_relu":
        attrs["slope"] = float(activation.params["negative_slope"])
    if activation.kind not in EXACT and len(attrs["kept"]):
        attrs["params"] = dict(activation.params)
    secrets = {}
    if len(attrs["replaced"]):
        secrets["coeffs"] = coeffs
    if activation.kind == "prelu" and len(attrs["kept"]):
        secrets["slope"] = activation.weight.detach().cpu().double().expand(keep.shape[0])
    return attrs, secrets
