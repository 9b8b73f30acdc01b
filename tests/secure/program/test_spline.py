"""Splines that cannot be."""

import pytest

from autorep_fx.secure.program.spline import spline


def test_coefficients_that_64_bits_have_no_room_for_are_refused():
    with pytest.raises(ValueError, match="reciprocal for .* no room in 64 bits where x has 20 fractional"):
        spline("reciprocal", {"low": 2.0**-10, "high": 2.0**40}, 2.0, 20, 0.002)
