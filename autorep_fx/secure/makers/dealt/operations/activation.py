"""What is dealt for an activation: shares, and with ``fss`` the comparison key, which goes to both.

The key comes with the public AES key of its hash, drawn anew each time. Which arrays: plan/operations/activation.py.
"""

from __future__ import annotations

import numpy as np

from ....correlations.prepared import Shares
from ....correlations.stream import Stream
from ....parties import gmw
from ....plan import wire
from ....plan.plan import Step
from ....plan.ring import U64, kernel
from .. import splines
from ..dealing import Dealing
from ..own import Own, opening_masks
from ..seeds import HASH_KEY, ROOT, SHARES, TRIPLE


def deal(
    step: Step, index: int, r: np.ndarray, client: Own, server: Stream, public: Stream
) -> tuple[np.ndarray, np.ndarray | None]:
    """The dealer's part: the server's half of all shares as one buffer, and the key.

    r: (N, P), the wire's mask. client: what it has from its seed. public: where the keys' hash has its AES key from.
    """
    batch, a, k = len(r), step.attrs, kernel()
    buffer, mine = client.shares(step, index, batch)
    if "alpha" in mine:
        k.deal_powers_(
            r, shift=a["shift"], **{name: mine[name] for name in ("alpha", "beta", "alpha2", "ab") if name in mine}
        )
    n = wire.compared(step, batch)
    if not n:
        return buffer, None
    window = k.window(r, wire.keep(step), shift=a["shift"], bits=a["window"]).reshape(-1)
    is_spline = "knots" in a
    if is_spline:
        opening = client.opening(step, index, batch) + opening_masks(step, index, batch, server)
        splines.deal_(step, wire.kept_of(step, r), opening, mine)
    if a["comparison"] == "fss":
        if is_spline:
            alpha, payload = splines.deal_high_(window, a["window"], mine["high"])
        else:
            alpha, payload = k.deal_relu_(window, bits=a["window"], shares=mine["relu"])
        roots = (s.words(index, ROOT, (n, 2)) for s in (server, client.client))
        hash_key = public.words(index, HASH_KEY, 2).tobytes()
        return buffer, k.gen_dcf(alpha, client.payload(payload), *roots, bits=a["window"] - 1, hash_key=hash_key)
    (_deal_tables if wire.by_table(step) else _deal_gmw)(step, index, r, window, mine, client.client, server)
    return buffer, None


def _deal_tables(
    step: Step, index: int, r: np.ndarray, window: np.ndarray, mine: Shares, client: Stream, server: Stream
) -> None:
    """Each array holds the client's half and becomes the server's."""
    k, n, grid = kernel(), len(window), step.attrs["grid"]
    flips, hidden = mine["flips"], mine["low"][grid]
    drawn = server.words(index, SHARES, (len(flips) + 1, len(hidden)))  # each party knows one half of them
    _deal_flips_(mine["u"], flips ^ drawn[1:])
    borrow = k.unpack_bits((hidden ^ drawn[0])[None], n)
    for cells, least in zip(mine["cells"], (borrow, borrow ^ U64(1))):
        cells ^= U64(1) << (U64(wire.CELLS // 2) - (window >> U64(grid)) - least) % U64(wire.CELLS)
    mine["low"][:grid] ^= k.pack_bits(window, bits=grid)
    mine["low"][grid], flips[...] = drawn[0], drawn[1:]
    clients, servers = (triple_masks(step, index, len(hidden), stream) for stream in (client, server))
    _deal_products_(wire.tree_window(step), clients, servers, mine["product"])


def _deal_flips_(share: np.ndarray, bits: np.ndarray) -> None:
    """Of random bits (J, words), one party's share (J n,) becomes the other's."""
    n = len(share) // len(bits)
    for own, plane in zip(share.reshape(len(bits), n), bits):
        np.subtract(kernel().unpack_bits(plane[None], n).astype(own.dtype), own, out=own)


def _deal_gmw(
    step: Step, index: int, r: np.ndarray, window: np.ndarray, mine: Shares, client: Stream, server: Stream
) -> None:
    """Each array holds the client's half and becomes the server's."""
    a, k, n, repeat = step.attrs, kernel(), len(window), len(wire.points(step))
    width = mine["bits"].shape[1]
    u = mine["bits"][-1] ^ server.words(index, SHARES, width)  # each party knows one half
    kept = wire.kept_of(step, r)
    if "knots" in a:
        _deal_flips_(mine["u"], u.reshape(repeat, -1))
    else:
        for i, bits in enumerate(u.reshape(repeat, -1)):
            own = slice(i * n, (i + 1) * n)
            shares = {name: mine[key][own] for name, key in (("u", "u"), ("ua", "u_alpha"), ("ub", "u_beta"))}
            k.deal_select_(kept, bits, shift=a["shift"], **shares)
    mine["bits"][:-1] ^= np.tile(k.pack_bits(window, bits=a["window"]), repeat)
    mine["bits"][-1] ^= u
    clients, servers = (triple_masks(step, index, width, stream) for stream in (client, server))
    _deal_products_(a["window"], clients, servers, mine["product"])


def triple_masks(step: Step, index: int, width: int, stream: Stream) -> np.ndarray:
    """A party's half of the masks under which the tree opens its planes."""
    return stream.words(index, TRIPLE, (wire.masks(wire.tree_window(step)), width))


def _complete(step: Step, index: int, batch: int, shares: Shares, stream: Stream, key: np.ndarray | None) -> Shares:
    """A party's shares with what its own seed and the key add to them."""
    if "knots" in step.attrs:
        shares["a"] = opening_masks(step, index, batch, stream)
    if step.attrs.get("comparison") in ("gmw", "table"):
        shares["mask"] = triple_masks(step, index, shares["product"].shape[1], stream)
    elif key is not None:
        shares["key"], shares["root"] = key, stream.words(index, ROOT, (wire.compared(step, batch), 2))
    return shares


def _deal_products_(window: int, client: np.ndarray, server: np.ndarray, product: np.ndarray) -> None:
    """The dealer's half: ``product`` holds one party's shares and becomes the other's. client, server: their masks."""
    for (a0, b0, c), (a1, b1, _) in zip(gmw.triples(window, client, product), gmw.triples(window, server, product)):
        kernel().deal_and_(a0, b0, a1, b1, c=c)


DEALING = Dealing(deal, _complete)
