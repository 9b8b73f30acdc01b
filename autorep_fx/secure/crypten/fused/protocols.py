"""Products, squares and ReLUs on shares: arrays of uint64. Each yields a :class:`~.channel.Message` a round, and gets
what the other party sent. ``need``, ``held``: a correlation of the plan, and the party's part of it, which is used up
and overwritten, as is what comes: fresh memory costs more than the arithmetic."""

from __future__ import annotations

import numpy as np

from .... import kernels
from ...plan import linear
from ...plan.plan import Step as Need
from ..roles import SERVER
from ..shares import Protocol
from . import carry
from .channel import Message
from .correlations import Held, levels


def product(party: int, need: Need, held: Held, x: np.ndarray) -> Protocol:
    """Shares of ``W * x``, W the server's factor (a convolution, a matrix, or element by element). No truncation.

    Once per model (:meth:`~.shares.FusedShares.connect`) the server opens ``E = W - A`` to the client, A from its seed.

    1. The parties hold ``[x]``, the client ``b``, and both ``[b * A]`` as c_0, c_1, c_1 being from the client's seed.
    2. The client sends ``x_1 - b``. The server adds its ``x_0``: ``M = x - b``.
    3. Server: ``W * M + c_0``. Client: ``E * b + c_1``. Sum: ``W (x - b) + (W - A) b + A b = W x``.

    Rounds: 1, one way. Online the client sends 8 bytes per element of x and the server nothing; offline the dealer
    sends 8 per element of the result. CrypTen: 8 per element of x and of W, from both parties.

    Why A may stay the same for all inferences. The client sees E once, W under a uniform A that it knows nothing of
    (its c_1 come from its own seed and do not depend on A), so E tells it nothing, and no message after that tells it
    more about A. The server, which may know A and W, sees ``x_1 - b`` under a b that is new each time, and c_0 =
    ``b * A - c_1`` under a c_1 that is new each time. Were b used twice, the server would learn a difference of inputs;
    were c_1, one of ``b * A``.
    """
    if party == SERVER:
        hidden = yield Message(receive=x.shape)
        hidden += x
    else:
        yield Message(send=x - held["b"])
        hidden = held["b"]
    return linear.apply(need, held["weight"], hidden, add=held["c"], out=held["c"])


def square(party: int, need: Need, held: Held, x: np.ndarray) -> Protocol:
    """Shares of x**2, brought back to ``frac_bits``.

    1. Open ``x - r``.
    2. One pass over memory: ``r2 + 2 r opened + opened**2``, divided by 2**frac_bits on shares (kernels.beaver_square).

    Rounds: 1. Each party sends 8 bytes an element; the dealer 8.
    """
    mine = x - held["r"]
    opened = yield Message(mine, mine.shape)
    opened += mine
    return kernels.beaver_square(opened, held["r"], held["r2"], frac_bits=need.frac_bits, party=party, out=opened)


def multiply(party: int, need: Need, held: Held, x: np.ndarray, y: np.ndarray) -> Protocol:
    """Shares of x * y, element by element (Beaver). No truncation.

    Rounds: 1. Each party sends 16 bytes an element; the dealer 8.
    """
    share, a, b = held["c"], held["a"], held["b"]
    mine = np.stack([x - a, y - b])
    opened = yield Message(mine, mine.shape)
    opened += mine
    d, e = opened
    a *= e
    b *= d
    share += a
    share += b
    if party == SERVER:
        d *= e
        share += d
    return share


def matmul(party: int, need: Need, held: Held, x: np.ndarray, y: np.ndarray) -> Protocol:
    """Shares of ``x @ y`` (Beaver), (N, ..., n, k) and (N, ..., k, m). No truncation.

    Rounds: 1. Each party sends 8 bytes for each element of either factor; the dealer 8 for each of the result.
    """
    share, a, b = held["c"], held["a"], held["b"]
    mine = np.concatenate([(x - a).reshape(-1), (y - b).reshape(-1)])
    opened = yield Message(mine, mine.shape)
    opened += mine
    d, e = opened[: x.size].reshape(x.shape), opened[x.size :].reshape(y.shape)
    if party == SERVER:
        b += e
    share += d @ b
    share += a @ e
    return share


def relu(party: int, need: Need, held: Held, x: np.ndarray) -> Protocol:
    """Shares of max(x, 0), exact, if the sign of x is bit k - 1 of it (k: ``plan.sign_bits``).

    1. Open ``m = x + r``.
    2. The sign of ``m - r``: the bits of m are public, those of r are XOR-shared, and the borrow into bit k - 1 is a
       tree of ANDs over k - 1 positions, 64 elements to a word, four nodes at a time (carry.py): one round a level.
    3. Open ``v = [x >= 0] ^ u`` with a random bit u.
    4. ``x [x >= 0]`` is then local, from m, v and the shares of r, u and u r (kernels.select).

    Rounds: 5 (at every frac_bits that compiles the tree has 3 levels). At frac_bits 16 each party sends 22 1/8 bytes an
    element: 8 for m, 7 bits for each of 16 groups of the tree, and v; the dealer 66 1/8 (r's bits 6 1/8, the tree 44,
    u and u r 16). CrypTen: 9 rounds and 232 bytes; the dealer 120.
    """
    m, v = yield from _open_sign(party, held, x)
    nothing = np.zeros(len(m), np.uint32)  # no bits are cut off
    share = kernels.select(m, v, held["u"], held["ur"], nothing, held["r"], nothing, shift=0, party=party)
    return share.reshape(x.shape)


def drelu(party: int, need: Need, held: Held, x: np.ndarray) -> Protocol:
    """Shares of ``[x >= 0]``, whole numbers: as :func:`relu`, but for its last step. Rounds and bytes as there."""
    m, v = yield from _open_sign(party, held, x)
    opened = kernels.unpack_bits(v[None], len(m))
    bits = np.where(opened > 0, -held["u"], held["u"])
    return (bits + opened if party == SERVER else bits).reshape(x.shape)


def _open_sign(party: int, held: Held, x: np.ndarray) -> Protocol:
    """``m = x + r``, and a plane of the bits ``v``; both public."""
    mine, r_planes = x.reshape(-1) + held["r"], held["planes"]
    m = yield Message(mine, mine.shape)
    m += mine
    m_planes = kernels.pack_bits(m, bits=len(r_planes))
    g, p = kernels.borrow_bits(m_planes[:-1], r_planes[:-1], party=party)
    for masks, products in levels(held):
        hidden, g3 = carry.operands(g, p, party == SERVER)
        hidden ^= masks
        opened = yield Message(hidden, hidden.shape)
        opened ^= hidden
        g, p = carry.merge(g3, opened, masks, products, party == SERVER)
    sign = g[0] ^ r_planes[-1] ^ held["u_bits"]
    if party == SERVER:
        sign ^= ~m_planes[-1]
    return m, sign ^ (yield Message(sign, sign.shape))
