"""The activation on a masked wire: from ``m = y + r`` to shares of the result. No message with ``fss``.

What the dealer gives for a site of P positions (K of them compared) and a batch of N, with F the wire's exponent, f
that of the truncated value and k the window's bits; every array is shared additively in the ring of the result
(``bits``, ``product``: by XOR), the client's half from its seed, the server's sent. The wire is in a ring of w bits:

    array     shape           content                                                  when
    alpha     (N, P)          r >> (F - f)                                             a truncated value is needed
    beta      (N, P)          msb(r) 2^(w - F + f); its high half where the result     same
                              has w bits, too, and F - f <= w / 2
    alpha2    (N, P)          alpha^2                                                  squares
    ab        (N, P)          2 alpha beta - beta^2, stored like beta                  squares
    relu      (N K, 3)        rh, rl, rh rl                                            fss, no spline
    u         (J N K,)        a random bit a comparison, J at each position            gmw
    u_alpha   (J N K,)        u alpha                                                  gmw, no spline
    u_beta    (J N K,)        u beta, stored like beta                                 gmw, no spline
    high      (N K,)          rh                                                       fss, a spline
    a_alpha   (1 or 2, N K)   a alpha, a the masks of a spline's opening (pieces.py)   a spline
    a_beta    (1 or 2, N K)   a beta                                                   a spline
    a_alpha2  (N K,)          a alpha2 of the second a                                 a spline that bends
    a_ab      (N K,)          a ab of the second a                                     a spline that bends
    bits      (k + 1, words)  planes of the mask's window and of u                     gmw
    product   (ANDs, words)   products of the AND triples                              gmw

and, with ``fss``, the comparison key to both, with the public AES key of its hash, drawn anew each time. Truncation is
exact up to one unit of 2**-f, unbiased, and never wraps. Source: docs/protocol.md; kernels.activation_step,
kernels.relu_fss.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...kernels.masked import full
from .. import spline
from ..plan import wire
from ..plan.plan import Step
from ..ring import elements, kernel
from . import gmw, pieces, product
from .correlations import HASH_KEY, OPENING, ROOT, SHARES, TRIPLE, Stream

Shares = dict[str, np.ndarray]


def _keep(step: Step) -> np.ndarray | None:
    """Kept positions for a gather; None for all of them."""
    kept = step.attrs["kept"]
    return None if len(kept) == step.size else kept


def _compared(step: Step, v: np.ndarray) -> np.ndarray:
    """Of a wire (N, P), or what is shaped like it, the kept positions, flat."""
    keep = _keep(step)
    return (v if keep is None else v[:, keep]).reshape(-1)


def deal(
    step: Step, index: int, r: np.ndarray, client: Stream, server: Stream, public: Stream
) -> tuple[np.ndarray, np.ndarray | None]:
    """The dealer's part: the server's half of all shares as one buffer, and the key.

    r: (N, P), the wire's mask. public: where the keys' hash has its AES key from.
    """
    if step.op == "product":
        return product.deal(step, index, r, client), None
    batch = len(r)
    found = wire.layout(step, batch)
    buffer = client.words(index, SHARES, wire.words(found))
    mine, a, k = wire.views(buffer, found), step.attrs, kernel()
    if "alpha" in mine:
        k.deal_powers_(
            r, shift=a["shift"], **{name: mine[name] for name in ("alpha", "beta", "alpha2", "ab") if name in mine}
        )
    n = wire.compared(step, batch)
    if not n:
        return buffer, None
    window = k.window(r, _keep(step), shift=a["shift"], bits=a["window"]).reshape(-1)
    is_spline = "knots" in a
    if is_spline:
        masks = (opening_masks(step, index, batch, stream) for stream in (client, server))
        pieces.deal_(step, _compared(step, r), sum(masks), mine)
    if a["comparison"] == "fss":
        if is_spline:
            alpha, payload = pieces.deal_high_(window, a["window"], mine["high"])
        else:
            alpha, payload = k.deal_relu_(window, bits=a["window"], shares=mine["relu"])
        roots = (s.words(index, ROOT, (n, 2)) for s in (server, client))
        hash_key = public.words(index, HASH_KEY, 2).tobytes()
        return buffer, k.gen_dcf(alpha, payload, *roots, bits=a["window"] - 1, hash_key=hash_key)
    _deal_gmw(step, index, r, window, mine, client, server)
    return buffer, None


def _deal_gmw(
    step: Step, index: int, r: np.ndarray, window: np.ndarray, mine: Shares, client: Stream, server: Stream
) -> None:
    """Each array holds the client's half and becomes the server's."""
    a, k, n, repeat = step.attrs, kernel(), len(window), len(wire.points(step))
    width = mine["bits"].shape[1]
    u = mine["bits"][-1] ^ server.words(index, SHARES, width)  # each party knows one half
    kept = _compared(step, r)
    for i, bits in enumerate(u.reshape(repeat, -1)):
        own = slice(i * n, (i + 1) * n)
        if "knots" in a:
            true = k.unpack_bits(bits[None], n).astype(mine["u"].dtype)
            np.subtract(true, mine["u"][own], out=mine["u"][own])
        else:
            shares = {name: mine[key][own] for name, key in (("u", "u"), ("ua", "u_alpha"), ("ub", "u_beta"))}
            k.deal_select_(kept, bits, shift=a["shift"], **shares)
    mine["bits"][:-1] ^= np.tile(k.pack_bits(window, bits=a["window"]), repeat)
    mine["bits"][-1] ^= u
    masks = (triple_masks(step, index, width, stream) for stream in (client, server))
    gmw.deal_products_(a["window"], *masks, mine["product"])


def triple_masks(step: Step, index: int, width: int, stream: Stream) -> np.ndarray:
    """A party's half of the masks under which the tree opens its planes."""
    return stream.words(index, TRIPLE, (wire.masks(step.attrs["window"]), width))


def opening_masks(step: Step, index: int, batch: int, stream: Stream) -> np.ndarray:
    """A party's half of the masks under which a spline's coefficients are opened."""
    return stream.elements(index, OPENING, wire.openings(step, batch), step.width)


def complete(step: Step, index: int, batch: int, shares: Shares, stream: Stream, key: np.ndarray | None) -> Shares:
    """A party's shares with what its own seed and the key add to them."""
    if "knots" in step.attrs:
        shares["a"] = opening_masks(step, index, batch, stream)
    if step.attrs.get("comparison") == "gmw":
        shares["mask"] = triple_masks(step, index, shares["bits"].shape[1], stream)
    elif key is not None:
        shares["key"], shares["root"] = key, stream.words(index, ROOT, (wire.compared(step, batch), 2))
    return shares


def evaluate(step: Step, m: np.ndarray, shares: Shares, *, party: int, exchange: Callable[[np.ndarray], np.ndarray],
             sub: np.ndarray | None = None) -> np.ndarray:  # fmt: skip
    """This party's share of the activation of ``m`` (N, P), less ``sub``; (N, P), exponent ``step.frac_bits``.

    party: 0 is the server, which adds the public terms. exchange: used by ``gmw`` only.
    """
    if step.op == "product":
        return product.evaluate(step, m, shares, party=party, sub=sub)
    a, k = step.attrs, kernel()
    kept = a.get("kept")
    if "knots" in a:
        return _with_spline(step, m, shares, party, exchange, sub)
    relu = None
    if wire.compared(step, len(m)):
        relu = _kept(step, m, shares, party, exchange).reshape(len(m), -1)
        if "lifts" in a:
            relu <<= step.lifts.astype(relu.dtype)
    powers = {name: shares[name] for name in ("alpha", "beta", "alpha2", "ab") if name in shares}
    if relu is not None and a["kind"] == "leaky_relu":
        out = k.activation_step(
            m, shift=a["shift"], align=a["align"], party=party, linear=a["linear"], sub=sub, **powers
        )
        x = k.activation_step(m, shift=a["shift"], align=0, party=party, alpha=shares["alpha"], beta=shares["beta"])
        slope, rest = (out.dtype.type(v % 2**step.width) for v in (a["slope"], (1 << a["align"]) - a["slope"]))
        value = slope * x[:, kept] + rest * relu
        out[:, kept] = value if sub is None else value - sub[:, kept]
        return out
    if relu is None:
        kept = None
    options = {"align": a.get("align", 0), "linear": a.get("linear"), "relu": relu, "keep": kept, "sub": sub}
    return k.activation_step(m, shift=a["shift"], party=party, **options, **powers)


def _with_spline(
    step: Step, m: np.ndarray, shares: Shares, party: int, exchange: Callable, sub: np.ndarray | None
) -> np.ndarray:
    """Splines at the kept positions; what is beside them has the exponent 2f and is lifted to the splines'."""
    a, k = step.attrs, kernel()
    wires = {name: _compared(step, shares[name]) for name in ("alpha", "beta", "alpha2", "ab") if name in shares}
    for name in {"beta", "ab"} & {*wires}:
        wires[name] = full(wires[name], elements(step.width))
    value = pieces.evaluate(step, _compared(step, m), {**shares, **wires}, party=party, exchange=exchange)
    value = value.reshape(len(m), -1)
    if _keep(step) is None:
        return value if sub is None else value - sub
    powers = {name: shares[name] for name in ("alpha", "beta", "alpha2", "ab") if name in shares}
    f = a["align"] - spline.BITS
    out = k.activation_step(m, shift=a["shift"], align=f, party=party, linear=a["linear"], **powers)
    out <<= out.dtype.type(spline.BITS)
    out[:, a["kept"]] = value
    return out if sub is None else out - sub


def _kept(step: Step, m: np.ndarray, shares: Shares, party: int, exchange: Callable) -> np.ndarray:
    """Share of the kept function at exponent f, flat over batch and kept positions."""
    a, k = step.attrs, kernel()
    at = [m if point == 0 else m - m.dtype.type(point << a["shift"]) for point in wire.points(step)]
    found = []
    if a["comparison"] == "fss":
        for moved in at:
            window = k.window(moved, _keep(step), shift=a["shift"], bits=a["window"]).reshape(-1)
            found.append(k.relu_fss(shares["key"], shares["root"], window, shares["relu"], party=party))
    else:
        found = _kept_gmw(step, at, shares, party, exchange)
    return found[0] if len(found) == 1 else found[0] - found[1]


def _kept_gmw(step: Step, at: list[np.ndarray], shares: Shares, party: int, exchange: Callable) -> list[np.ndarray]:
    a, kept = step.attrs, [_compared(step, m) for m in at]
    v = gmw.open_drelu(kept, a["shift"], a["window"], shares, party, exchange)
    alpha, beta = (_compared(step, shares[name]) for name in ("alpha", "beta"))
    return [gmw.relu(m, bits, i, shares, alpha, beta, a["shift"], party)
            for i, (m, bits) in enumerate(zip(kept, v.reshape(len(at), -1)))]  # fmt: skip
