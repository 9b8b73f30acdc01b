"""Splines on a masked wire: the local steps of `secure/parties/splines.py`. See the package for what is common.

Bits of n elements are planes, as in `bits`. A table has 64 cells: an element's cell is a number of six bits, of which
`m` holds a masked one, and a word of `cells` is a party's XOR share of the word with one bit set, at the cell that the
mask makes 32 of. So the word turned left by the masked number has its bit at the cell itself, counted from -32.
"""

from __future__ import annotations

from .extension import load


def cell_bits(m, v, cells, *, shift, places):
    """Planes of shares of `cell >= place`, (len(places), ceil(n / 64)).

    m: (n,), of w = 64 or 32 bits; the masked cell is `(m >> shift) mod 64`, shift 0 to w - 6. v: ceil(n / 64) words of
    bits, which of the two words is meant. cells: (2, n). places: (knots,) numbers from 0 to 63, 32 more than the cell.
    """
    return load().cell_bits(m, v, cells, shift, places)


def spline_sums(v, u, a, *, base, rises, party):
    """This party's shares of the coefficients at n elements, (rows, n), but for the first less `a`.

    Of each knot there is the public bit `v = b ^ u` (knots, ceil(n / 64)) and a share u (knots, n), of 32 or 64 bits;
    the coefficient is `base + sum rises b`. a: (rows - 1, n), as wide as u. base: (rows,), rises: (rows, knots), both
    uint64, of two or three rows.
    """
    return load().spline_sums(v, u, a, base, rises, party)


def spline_close(m, sums, theirs, a, alpha, beta, alpha2, ab, a_alpha, a_beta, a_alpha2, a_ab, *, shift, sub=None):
    """This party's share of `A0 + A1 x + A2 x**2` less `sub`, (n,), for `x = y >> shift` as in `activation_step`.

    sums, theirs: what `spline_sums` returns, (rows, n), and what the other party's has but for the first row. All that
    is shared is as wide as sums, beta and what goes with it whole. a, a_alpha, a_beta: (rows - 1, n): the masks a of
    the opening, and their products with alpha and beta; alpha, beta, alpha2, ab: (n,), as `deal_powers_` makes them;
    a_alpha2, a_ab: products of those with the second a. With two rows the last two and alpha2 and ab are None.
    """
    return load().spline_close(m, sums, theirs, a, alpha, beta, alpha2, ab, a_alpha, a_beta, a_alpha2, a_ab, sub, shift)
