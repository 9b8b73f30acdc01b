"""Products, squares and ReLUs on shares. Each is a :data:`~.channel.Protocol`: run it with ``Channel.run``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from .... import kernels
from . import carry
from .channel import Message, Protocol
from .correlations import Comparison
from .streams import signed

if TYPE_CHECKING:
    from .party import FusedShares


def product(s: FusedShares, held: tuple[Tensor, ...], factor: str, x: Tensor) -> Protocol:
    """Shares of ``W * x``, W the server's factor (a convolution, a matrix, or element by element). No truncation.

    Once per model (:meth:`~.party.FusedShares.connect`) the server opens ``E = W - A`` to the client, A from its seed.

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
    if s.first:
        (c,) = held
        hidden = yield Message(receive=x.shape)
        return s.factors[factor](hidden.add_(x), add=c)
    b, c = held
    yield Message(send=x - b)
    return s.factors[factor](b, add=c)


def square(s: FusedShares, held: tuple[Tensor, Tensor], x: Tensor) -> Protocol:
    """Shares of x**2, brought back to ``frac_bits``.

    1. Open ``x - r``.
    2. One pass over memory: ``r2 + 2 r opened + opened**2``, divided by 2**frac_bits on shares (kernels.beaver_square).

    Rounds: 1. Each party sends 8 bytes an element; the dealer 8.
    """
    r, r2 = held
    mine = x - r
    opened = (yield Message(mine, mine.shape)).add_(mine)
    kernels.beaver_square(opened, r, r2, frac_bits=s.frac_bits, party=s.party, out=opened.numpy())
    return opened


def multiply(s: FusedShares, held: tuple[Tensor, Tensor, Tensor], x: Tensor, y: Tensor) -> Protocol:
    """Shares of x * y, element by element (Beaver). No truncation.

    Rounds: 1. Each party sends 16 bytes an element; the dealer 8.
    """
    a, b, c = held
    mine = torch.stack([x - a, y - b])
    d, e = (yield Message(mine, mine.shape)).add_(mine)
    c.addcmul_(a, e).addcmul_(b, d)
    return c.addcmul_(d, e) if s.first else c


def relu(s: FusedShares, held: Comparison, x: Tensor) -> Protocol:
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
    m, v = yield from _open_sign(s, held, x)
    r, u, ur = (t.numpy() for t in (held.r, held.u, held.ur))
    nothing = np.zeros(len(m), np.uint32)  # no bits are cut off
    return signed(kernels.select(m, v, u, ur, nothing, r, nothing, shift=0, party=s.party)).view(x.shape)


def drelu(s: FusedShares, held: Comparison, x: Tensor) -> Protocol:
    """Shares of ``[x >= 0]``, whole numbers: as :func:`relu`, but for its last step. Rounds and bytes as there."""
    m, v = yield from _open_sign(s, held, x)
    opened = signed(kernels.unpack_bits(v[None].view(np.uint64), len(m)))
    bits = torch.where(opened > 0, -held.u, held.u)
    return (bits + opened if s.first else bits).view(x.shape)


def _open_sign(s: FusedShares, held: Comparison, x: Tensor) -> Protocol:
    """``m = x + r``, and a plane of the bits ``v``; both public."""
    mine = x.flatten() + held.r
    m = (yield Message(mine, mine.shape)).add_(mine).numpy()
    m_planes, r_planes = kernels.pack_bits(m, bits=len(held.planes)).view(np.int64), held.planes.numpy()
    g, p = (x.view(np.int64) for x in kernels.borrow_bits(m_planes[:-1], r_planes[:-1], party=s.party))
    for masks, products in zip(held.masks, held.products):
        hidden, g3 = carry.operands(g, p, s.first)
        hidden ^= masks.numpy()
        received = yield Message(signed(hidden), hidden.shape)
        g, p = carry.merge(g3, received.numpy() ^ hidden, masks.numpy(), products.numpy(), s.first)
    sign = g[0] ^ r_planes[-1] ^ held.u_bits.numpy()
    if s.first:
        sign ^= ~m_planes[-1]
    v = (yield Message(signed(sign), sign.shape)).numpy() ^ sign
    return m, v
