"""The local steps of a spline on a masked wire: every tier against its NumPy reference, and what they mean."""

import numpy as np
import pytest
from kernel_cases import SIZES

from autorep_fx import kernels
from autorep_fx.kernels import reference

PLACES = np.array([0, 1, 31, 32, 33, 63], np.uint64)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("wire, shift", [(np.uint32, 26), (np.uint64, 0), (np.uint64, 58)])
def test_cell_bits_equal_reference(tier, ring, n, wire, shift):
    args = ring(n).astype(wire), ring((n + 63) // 64), ring((2, n))
    got, want = (module.cell_bits(*args, shift=shift, places=PLACES) for module in (kernels, reference))
    np.testing.assert_array_equal(got, want)
    assert kernels.cell_bits(*args, shift=shift, places=PLACES[:0]).shape == (0, (n + 63) // 64)


def test_every_cell_under_every_mask_with_and_without_a_borrow(tier, ring):
    cell, mask, borrow, hidden = (v.ravel() for v in np.meshgrid(range(-32, 32), range(64), (0, 1), (0, 1)))
    cells = ring((2, len(cell)))
    other = cells.copy()
    for row, least in zip(other, (hidden, 1 - hidden)):
        row ^= np.uint64(1) << ((32 - mask - least) % 64).astype(np.uint64)
    m = ((cell + mask + borrow) % 64).astype(np.uint64)
    v = kernels.pack_bits((borrow ^ hidden).astype(np.uint64), bits=1)[0]
    one, two = (kernels.cell_bits(m, v, share, shift=0, places=PLACES) for share in (cells, other))
    for plane, place in zip(one ^ two, PLACES):
        np.testing.assert_array_equal(kernels.unpack_bits(plane[None], len(m)), cell + 32 >= int(place))


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("rows, knots", [(2, 1), (3, 5), (3, 0)])
@pytest.mark.parametrize("share", [np.uint32, np.uint64])
def test_sums_equal_reference(tier, ring, n, rows, knots, share):
    v, u, a = ring((knots, (n + 63) // 64)), ring((knots, n)).astype(share), ring((rows - 1, n)).astype(share)
    for party in (0, 1):
        options = {"base": ring(rows), "rises": ring((rows, knots)), "party": party}
        got, want = (module.spline_sums(v, u, a, **options) for module in (kernels, reference))
        assert got.dtype == share
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("bends", [False, True])
@pytest.mark.parametrize("wire, share", [(np.uint32, np.uint32), (np.uint32, np.uint64), (np.uint64, np.uint64)])
def test_the_last_step_equals_reference(tier, ring, n, bends, wire, share):
    rows = 3 if bends else 2
    of_rows = [ring((count, n)).astype(share) for count in (rows, rows - 1, rows - 1)]
    single = [ring(n).astype(share) for _ in range(6)]
    products = [ring((rows - 1, n)).astype(share) for _ in range(2)]
    squares = single[2:] if bends else [None] * 4
    args = ring(n).astype(wire), *of_rows, *single[:2], *squares[:2], *products, *squares[2:]
    for sub in (None, ring(n).astype(share)):
        got, want = (module.spline_close(*args, shift=17, sub=sub) for module in (kernels, reference))
        assert got.dtype == share
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("change, message", [
    ({"shift": 59}, "shift: expected 0 to 58"), ({"v": np.zeros(2, np.uint64)}, "v: "),
    ({"cells": np.zeros((2, 4), np.uint64)}, "cells: "), ({"places": np.array([64], np.uint64)}, "places: expected 0"),
])  # fmt: skip
def test_bad_arguments_are_named(change, message):
    given = {"m": np.zeros(5, np.uint64), "v": np.zeros(1, np.uint64), "cells": np.zeros((2, 5), np.uint64),
             "shift": 3, "places": PLACES}  # fmt: skip
    with pytest.raises(ValueError, match=message):
        kernels.cell_bits(**{**given, **change})
