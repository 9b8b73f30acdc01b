"""Sites that keep some of their positions and replace the others by polynomials."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..program.kinds import EXACT
from ..program.program import Step
from .builder import Builder
from .lines import build_lines, lines_of
from .node import Node, whole_bits
from .site import Site, site_of

#: Of a kept position at least this part of what its whole site reaches is believed.
_LEAST_KEPT = 2.0**-3


def build_hybrid(b: Builder, step: Step) -> None:
    x = step.inputs[0]
    channels = np.maximum(b.channels[x], b.floor * (b.known[x] == 0))
    site = site_of(b.program, step, channels)
    private = len(site.replaced) > 0
    kept = _compared(site, channels, b.reach(x))
    extreme = _compared(site, b.compared(x), float(b.compared(x).max(initial=0.0)))
    lines = None if step.name in b.whole else lines_of(site, b.takes_factors(x))
    if lines is not None:
        build_lines(b, step.name, site, lines, x, channels, kept, extreme)
        return
    end = step.name
    if len(site.kept) and site.kind in EXACT and EXACT[site.kind].slope == "private":
        site, end = dataclasses.replace(site, kind="relu", name=f"{step.name}.relu"), f"{step.name}.relu"
    name = f"{end}.act" if private else end
    b.activation(name, x, site, b.reach(x), kept, b.extreme(x), extreme, b.gains.site(step.name))
    if private and site.unit:
        b.add(Node(end, "constant", [name], step.shape, site=site))
    elif private:
        attrs = {"kind": "position", "per_channel": site.per_channel, "replaced": site.replaced,
                 "weight_shape": (step.shape[0],)}  # fmt: skip
        b.add(Node(end, "map", [name], step.shape, attrs, bits=0, most=b.limits.factor, scale=_factor_scale(site),
                   site=site, gain=b.gains.squares(step.name, site.coeffs[2] != 0)))  # fmt: skip
    if end != step.name:
        _sloped(b, step, site, x, end)


def _compared(site: Site, channels: np.ndarray, all_channels: float) -> float:
    """What is compared with zero reaches, where the inputs of the channels reach so far."""
    if not len(site.kept):
        return 0.0
    # What one position saw says little: its channel's others are like it.
    kept = max(float(channels[site.kept // site.per_channel].max()), _LEAST_KEPT * all_channels)
    if site.params is not None:
        return 2 * kept  # a knot is taken off, which may lie at the other end
    return EXACT[site.kind].compared(kept) if kept else 0.0


def _sloped(b: Builder, step: Step, site: Site, x: str, relu: str) -> None:
    """``relu + slope * (x - relu)`` at the kept positions; the slopes are the server's, one a channel."""
    rest = b.local("add", f"{step.name}.rest", [x, relu], step.shape, sign=-1)
    if len(site.replaced):
        rest = b.local("at", f"{step.name}.kept", [rest], step.shape, positions=np.asarray(site.kept, np.int64))
    slope = b.secret(step, "slope")
    b.factors(f"{step.name}.slope", rest, slope, b.gains.weight(step.name, "slope"))
    b.local("add", step.name, [relu, f"{step.name}.slope"], step.shape, sign=1)


def _factor_scale(site: Site) -> int:
    """So that rounding errs by the same part of the site's largest result, whatever the channels are like.

    A factor of the square, rounded to g bits, errs by 2**-(g + 1) x**2, so the channel with the largest inputs needs
    the most bits behind the point, and one whose inputs are small, and whose c2 is large for that, needs none.
    """
    channels = site.replaced_channels
    (_, c1, c2), reach = np.abs(site.coeffs[:, channels]), site.reach[channels]
    scales = []
    for c, power in ((c2, reach**2), (c1, reach)):
        taken = c2 > 0 if c is c2 else c2 == 0
        if (largest := (c * power)[taken].max(initial=0.0)) > 0:
            scales.append(whole_bits(float(largest / power[taken].max())))
    return min(scales, default=0)
