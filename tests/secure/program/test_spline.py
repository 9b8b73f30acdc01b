"""Splines of few bits, and those that cannot be."""

import numpy as np
import pytest

from autorep_fx.secure.program.spline import BITS, evaluate, spline


def test_coefficients_that_64_bits_have_no_room_for_are_refused():
    with pytest.raises(ValueError, match="reciprocal for .* no room in 64 bits where x has 20 fractional"):
        spline("reciprocal", {"low": 2.0**-10, "high": 2.0**40}, 2.0, 20, 0.002)


def test_an_argument_of_few_bits_takes_few_knots_and_all_that_there_are_are_near():
    params, frac_bits = {"low": -3.0, "high": 2.0}, 2
    made = spline("exp", params, 32.0, frac_bits, 0.002)
    x = np.arange(-128, 128)
    found = evaluate(made.knots, made.pieces, x) * 2.0 ** -(2 * frac_bits + BITS)
    exact = np.exp(np.minimum(x / 4, params["high"]))
    assert (np.abs(found - exact) / np.maximum(exact, np.exp(params["low"]))).max() < 1 / 64
    assert len(made.knots) < 9


@pytest.mark.parametrize(("limit", "frac_bits", "error"), [(2.0**-7, 16, 2.0**-19), (8.0, 14, 0.0002)])
def test_what_is_left_at_the_end_of_a_range_is_one_piece_however_short(limit, frac_bits, error):
    made = spline("silu", {}, limit, frac_bits, error)
    x = np.rint(np.linspace(-limit, limit, 999) * 2.0**frac_bits).astype(np.int64)
    found = evaluate(made.knots, made.pieces, x) * 2.0 ** -(2 * frac_bits + BITS)
    exact = x * 2.0**-frac_bits / (1 + np.exp(-x * 2.0**-frac_bits))
    assert np.abs(found - exact).max() < 1.01 * error
    assert len(made.knots) <= 16
