"""Hybrid activation sites, and activations that are none."""

from __future__ import annotations

import math

from ...hybrid.activation import HybridActivation
from .call import Call, Unsupported, lowers
from .lowering import Lowering
from .site import lower_site


@lowers(modules=(HybridActivation,))
def hybrid(low: Lowering, call: Call) -> str:
    site, x = call.module, low.value(call.get(0, "input"))
    if not low.shape_of(x):  # one number a sample, a channel to its site
        x = low.emit(call, "reshape", (x,), shape=(1,), suffix=".channel")
    shape = low.shape_of(x)
    if site.shape != shape:
        raise Unsupported(f"was masked for samples of shape {site.shape} and gets {shape}")
    attrs, secrets = lower_site(site)
    channels = math.prod(shape) // attrs["per_channel"]
    if channels != shape[0]:  # each position is one
        shape = (channels,)
        x = low.emit(call, "reshape", (x,), shape=shape, suffix=".positions")
    if low.sample_shape(call.node) == shape:
        return low.emit(call, "hybrid", (x,), secrets=secrets, **attrs)
    y = low.emit(call, "hybrid", (x,), shape=shape, suffix=".site", secrets=secrets, **attrs)
    return low.emit(call, "reshape", (y,))
