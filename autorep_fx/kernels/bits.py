"""Bit-sliced comparison (variant gmw, and CrypTen's sign): the local steps. See the package for what is common.

Planes are uint64 of shape (rows, words): row i holds bit i of every element, 64 elements to a word, element `64 w + j`
at bit j of word w. XOR shares of planes are planes; an AND of shares takes a triple from the dealer and one opening.

The sign of `x = m - r` for public windows `m` and XOR-shared windows of `r`, `k` bits wide:

    g, p = borrow_bits(pack_bits(m, bits=k)[:-1], r_planes[:-1], party=party)
    while len(g) > 1:                                        # ceil(log2(k - 1)) exchanges
        a, b, c = triple                                     # from the dealer
        message = carry_open(g, p, a, b)
        received = exchange(message)
        g, p = carry_close(g, p, message, received, a, b, c, party=party)
    drelu = r_planes[-1] ^ g[0]                              # party 0: ^ ~m_planes[-1]; share of [x >= 0]
"""

from __future__ import annotations

from .extension import load


def pack_bits(v, *, shift=0, bits):
    """Planes of `(v >> shift) mod 2**bits`: v (n,), of w = 64 or 32 bits, shift 0 to w - 1, bits 1 to w - shift.

    Elements up to a whole word are zero.
    """
    return load().pack_bits(v, shift, bits)


def unpack_bits(planes, n):
    """The n numbers whose bits the planes (1 to 64 rows) hold: the inverse of `pack_bits` with shift 0."""
    return load().unpack_bits(planes, n)


def borrow_bits(m_planes, r_planes, *, party):
    """Leaves of the borrow tree of `m - r`: returns XOR shares (g, p) of `not m and r` and `not (m xor r)`.

    m_planes: public; r_planes: this party's XOR shares; both of the low bits only. No message.
    """
    return load().borrow_bits(m_planes, r_planes, party)


def carry_open(g, p, a, b):
    """This party's message for one level of the tree, which merges neighbours: `g1 ^ (p1 & g0)`, `p1 & p0`.

    g, p: (nodes, words), nodes >= 2, node 0 the lowest. a (pairs, words), b (2 * pairs - 1, words), pairs = nodes // 2:
    XOR shares of random planes. Rows go from the top pair down to pair 0: a masks p1; b masks g0 of every pair, then p0
    of every pair but the lowest (nothing ever propagates into it). Returns the (3 * pairs - 1, words) planes `p1 ^ a`,
    `g0 ^ b`, `p0 ^ b`, for the other party. Two ANDs with one operand in common open 3 bits, not 4.
    """
    return load().carry_open(g, p, a, b)


def carry_close(g, p, message, received, a, b, c, *, party):
    """The next level's (g, p), from both parties' messages.

    c: XOR shares of `a & b`, shaped like b: row i of b with row i % pairs of a. An odd node at the top is carried over.
    Row 0 of the new p is zero and of no meaning.
    """
    return load().carry_close(g, p, message, received, a, b, c, party)


def deal_and_(a0, b0, a1, b1, *, c):
    """The dealer's half of AND triples: c, one party's share (from its seed), becomes the other's, `c ^ (a & b)`.

    a0, a1: both parties' XOR shares (rows, words). b0, b1, c: (rows', words); row i meets row i % rows of a.
    """
    load().deal_and_(a0, b0, a1, b1, c)


def select(m, v, u, ua, ub, alpha, beta, *, shift, party):
    """This party's share of `relu(x)`, `x = y >> shift`, once `v = drelu ^ u` is open. No message.

    m: (n,), public, `|y| < 2**(w - 2)`, w its bits. v: ceil(n / 64) words of bits. u, ua, ub, alpha, beta: shares,
    (n,), from the dealer: a random bit u, u * alpha, u * beta, and alpha, beta; widths, ub like beta, and error in x as
    in `activation_step`.
    """
    return load().select(m, v, u, ua, ub, alpha, beta, shift, party)


def deal_select_(r, u_bits, *, shift, u, ua, ub):
    """The dealer's half of `select`: u, ua, ub hold one party's shares and become the other's.

    For alpha and beta there is `deal_powers_`. r: (n,), the masks. u_bits: ceil(n / 64) words, both random bits
    combined.
    """
    load().deal_select_(r, u_bits, u, ua, ub, shift)
