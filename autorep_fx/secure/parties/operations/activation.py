"""The activation on a masked wire: from ``m = y + r`` to shares of the result. No message with ``fss``.

What it takes of correlations, by name: plan/operations/activation.py. Truncation is exact up to one unit of 2**-f,
unbiased, and never wraps. Source: docs/protocol.md; kernels.activation_step, kernels.relu_fss.
"""

from __future__ import annotations

import numpy as np

from ....kernels.masked import full
from ...correlations.prepared import Shares
from ...plan import wire
from ...plan.plan import Step
from ...plan.ring import elements, kernel
from .. import gmw, splines
from ..talk import Exchange

#: Shares that truncate a masked wire, and square it.
_POWERS: tuple[str, ...] = ("alpha", "beta", "alpha2", "ab")


def evaluate(step: Step, m: np.ndarray, shares: Shares, *, party: int, exchange: Exchange,
             sub: np.ndarray | None = None) -> np.ndarray:  # fmt: skip
    """See parties/table.py. exchange: used by ``gmw`` and splines only."""
    a, k = step.attrs, kernel()
    kept = a["kept"]
    if "knots" in a:
        return _with_spline(step, m, shares, party, exchange, sub)
    relu = None
    if wire.compared(step, len(m)):
        relu = _kept(step, m, shares, party, exchange).reshape(len(m), -1)
        if "lifts" in a:
            relu <<= step.lifts.astype(relu.dtype)
    powers = {name: shares[name] for name in _POWERS if name in shares}
    below = None if relu is None else wire.slope(step)
    if below is not None:
        out = k.activation_step(
            m, shift=a["shift"], align=a["align"], party=party, linear=a["linear"], sub=sub, **powers
        )
        x = k.activation_step(m, shift=a["shift"], align=0, party=party, alpha=shares["alpha"], beta=shares["beta"])
        slope, rest = (out.dtype.type(v % 2**step.width) for v in (below, (1 << a["align"]) - below))
        value = slope * x[:, kept] + rest * relu
        out[:, kept] = value if sub is None else value - sub[:, kept]
        return out
    if relu is None:
        kept = None
    options = {"align": a["align"], "linear": a["linear"], "relu": relu, "keep": kept, "sub": sub}
    return k.activation_step(m, shift=a["shift"], party=party, **options, **powers)


def _with_spline(
    step: Step, m: np.ndarray, shares: Shares, party: int, exchange: Exchange, sub: np.ndarray | None
) -> np.ndarray:
    """Splines at the kept positions; what is beside them has the exponent 2f and is lifted to the splines'."""
    a, k = step.attrs, kernel()
    wires = {name: wire.kept_of(step, shares[name]) for name in _POWERS if name in shares}
    for name in {"beta", "ab"} & {*wires}:
        wires[name] = full(wires[name], elements(step.width))
    of_kept, kept = {**shares, **wires}, wire.kept_of(step, m)
    if wire.keep(step) is None:
        flat = None if sub is None else sub.reshape(-1)
        return splines.evaluate(step, kept, of_kept, party=party, exchange=exchange, sub=flat).reshape(m.shape)
    value = splines.evaluate(step, kept, of_kept, party=party, exchange=exchange).reshape(len(m), -1)
    powers = {name: shares[name] for name in _POWERS if name in shares}
    lift = wire.spline_bits(step)
    out = k.activation_step(m, shift=a["shift"], align=a["align"] - lift, party=party, linear=a["linear"], **powers)
    out <<= out.dtype.type(lift)
    out[:, a["kept"]] = value
    return out if sub is None else out - sub


def _kept(step: Step, m: np.ndarray, shares: Shares, party: int, exchange: Exchange) -> np.ndarray:
    """Share of the kept function at exponent f, flat over batch and kept positions."""
    a, k, at, found = step.attrs, kernel(), wire.moved(step, m), []
    if "kept" in shares:  # evaluated together with tags (check.py)
        found = [*shares["kept"]]
    elif a["comparison"] == "fss":
        for moved in at:
            window = k.window(moved, wire.keep(step), shift=a["shift"], bits=a["window"]).reshape(-1)
            found.append(k.relu_fss(shares["key"], shares["root"], window, shares["relu"], party=party))
    else:
        found = _kept_gmw(step, at, shares, party, exchange)
    return found[0] if len(found) == 1 else found[0] - found[1]


def _kept_gmw(step: Step, at: list[np.ndarray], shares: Shares, party: int, exchange: Exchange) -> list[np.ndarray]:
    a, kept = step.attrs, [wire.kept_of(step, m) for m in at]
    v = gmw.open_drelu(kept, a["shift"], a["window"], shares, party, exchange)
    alpha, beta = (wire.kept_of(step, shares[name]) for name in ("alpha", "beta"))
    return [gmw.relu(m, bits, i, shares, alpha, beta, a["shift"], party)
            for i, (m, bits) in enumerate(zip(kept, v.reshape(len(at), -1)))]  # fmt: skip
