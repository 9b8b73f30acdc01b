"""Sites whose replaced positions are lines: what needs no interaction does not travel.

A line ``c1 y + c0`` is linear. Where at least half of a site are lines, only the other positions are taken out, masked,
sent and put back, and the slopes go into the weights of the layer before::

    before:  y = layer(x) -> site                          every position on a masked wire, then a factor for each
    after:   z = (s layer)(x) -> z at the lines            s = c1
                              -> take -> site -> / s -> put     and the sum of both, + c0

The exponent of ``z`` is not brought down, so the next wire of all positions comes where the room is used up
(truncate_at.py). A channel with kept positions whose slope is too small to divide by, or negative, has ``s = 1``: its
lines travel with the kept positions and get their slope behind. Where the layer cannot take slopes (something else
reads it, or the kept positions compute what does not commute with a factor: ReLU6, a spline), a map gives the lines
their slopes.

Source: docs/protocol.md, "Lines".
"""

from __future__ import annotations

import numpy as np

from ..program.kinds import EXACT, homogeneous
from .builder import Builder
from .names import ACT, OWN, PUT, TAKEN
from .site import Site

#: Part of a site that must be lines; the least slope that is divided by.
_ENOUGH, _SMALL = 0.5, 2.0**-3


class Lines:
    """What a site comes to.

    Attributes:
        slope: (C,), what the layer before is multiplied by; None: nothing, ``line`` is what lines are multiplied by.
        travels: positions that are taken out; of these ``kept`` (in that order) are compared.
        stays: positions whose line is left where it is.
        own: factors of what travelled, behind the activation.
        constant: (P,), c0 at the lines.
    """

    def __init__(self, site: Site, folds: bool):
        """folds: whether the layer can take slopes, as far as it is concerned."""
        (c0, c1, _), each = site.coeffs, site.per_channel
        total = len(c0) * each
        channel = np.arange(total) // each
        kept, replaced = np.zeros(total, bool), np.zeros(total, bool)
        kept[site.kept], replaced[site.replaced] = True, True
        has_kept, has_lines = (mask.reshape(-1, each).any(1) for mask in (kept, replaced))
        if folds and (not kept.any() or homogeneous(site.kind)):
            self.slope = np.where(has_lines & (~has_kept | (c1 >= _SMALL)), c1, 1.0)
            left = has_lines & (self.slope != c1)  # with slopes of their own
            travels = kept | (replaced & (left & (c1 != 0))[channel])
            self.stays = np.flatnonzero(replaced & ~left[channel])
            own = np.where(kept, 1 / np.where(self.slope == 0, 1, self.slope)[channel], c1[channel])
        else:
            self.slope, travels = None, kept
            self.stays = np.flatnonzero(replaced & (c1 != 0)[channel])
            own = np.ones(total)
        self.line = c1
        self.travels, self.kept = np.flatnonzero(travels), np.flatnonzero(kept[travels])
        self.own = own[travels]
        self.constant = np.where(replaced, c0[channel], 0.0)

    def travelling(self, site: Site, name: str) -> Site:
        """The site of the positions that travel, each a channel of its own place."""
        lines = np.setdiff1d(np.arange(len(self.travels)), self.kept)
        return Site(name, site.kind, site.slope, self.kept, lines, max(len(self.travels), 1), np.zeros((3, 1)),
                    np.ones(1), site.params)  # fmt: skip


def lines_of(site: Site, folds: bool) -> Lines | None:
    """How a site runs as lines; None where it has squares, or too few lines for that."""
    total = site.per_channel * site.coeffs.shape[1]
    channels = np.unique(site.replaced // site.per_channel)
    private = site.kind in EXACT and EXACT[site.kind].slope == "private"
    if private and len(site.kept) or site.coeffs[2, channels].any():
        return None
    if len(site.replaced) < _ENOUGH * total or not len(site.replaced):
        return None
    found = Lines(site, folds)
    return found if len(found.travels) <= _ENOUGH * total else None


def build_lines(b: Builder, name: str, site: Site, lines: Lines, x: str, reach: np.ndarray, reach_kept: float,
                extreme_kept: float) -> None:  # fmt: skip
    """The nodes of a site.

    reach: (C,), of the layer's output. reach_kept, extreme_kept: of what is compared, of all slopes 1.
    """
    shape = b.nodes[x].shape
    slope = np.ones(len(reach)) if lines.slope is None else lines.slope
    constant, source = lines.constant.reshape(shape), x
    if lines.slope is not None:
        alone = not len(lines.travels) and len(lines.stays) == len(lines.constant)
        x = b.scale_layer(x, slope, name if alone else f"{name}.layer", constant if alone else None)
        if alone:
            return
    parts = []
    if len(lines.stays):
        stays = x
        if lines.slope is None:
            stays = b.factors(f"{name}.line", x, lines.line, b.gains.line(name))
        parts.append(b.local("at", f"{name}.stays", [stays], shape, positions=lines.stays))
    if len(lines.travels):
        channel = lines.travels // site.per_channel
        count = (len(lines.travels),)
        taken = b.local("take", name + TAKEN, [x], count, positions=lines.travels)
        largest = float((reach * np.abs(slope))[channel].max())
        steepest = float(slope[channel[lines.kept]].max(initial=0.0))
        gain, own_gain = b.gains.site(name), b.gains.relative(name)
        extreme = float((b.extremes.rings.get(source, np.zeros(len(reach))) * np.abs(slope))[channel].max())
        gain = None if gain is None else gain[lines.travels] / slope[channel] ** 2
        y = b.activation(name + ACT, taken, lines.travelling(site, name + OWN), largest, reach_kept * steepest, extreme,
                         extreme_kept * steepest, gain)  # fmt: skip
        if not (lines.own == 1).all():
            own_gain = None if own_gain is None else own_gain[lines.travels] / lines.own**2
            y = b.factors(name + OWN, y, lines.own, own_gain)
        parts.append(b.local("put", name + PUT, [y], shape, positions=lines.travels))
    if not parts:  # constants alone
        parts.append(b.local("at", f"{name}.stays", [x], shape, positions=lines.stays))
    y = parts[0] if len(parts) == 1 else b.local("add", f"{name}.sum", parts, shape, sign=1)
    b.constant(name, y, shape, constant)
