"""How far off splines may be: together what is asked for, with few knots, and none more than its activation."""

import numpy as np
import pytest

from autorep_fx.secure.planner.node import Node
from autorep_fx.secure.planner.operations.activation import _spline
from autorep_fx.secure.planner.planned import Chosen
from autorep_fx.secure.planner.site import Site
from autorep_fx.secure.planner.spline_errors import set_spline_errors, spline_error_at


def node(name, kept, gain):
    site = Site(name, "silu", 0.0, np.arange(kept), np.arange(0), 1, np.zeros((3, kept)), np.ones(kept), {})
    return Node(name, "activation", ["x"], (kept,), site=site, reach_kept=7.0, spline_gain=gain)


def test_errors_that_add_less_than_asked_for_are_those_that_activations_may_have():
    nodes = [node("few", 8, 1e-3), node("many", 800, 1e-3), node("unknown", 8, None)]
    set_spline_errors(nodes, 0.01, 0.005)
    assert [n.spline_error for n in nodes] == [0.005] * 3


def test_errors_add_no_more_than_asked_for_and_are_less_where_that_takes_few_comparisons():
    nodes = [node("few", 8, 10.0), node("many", 8000, 10.0), node("vain", 8, 0.0)]
    set_spline_errors(nodes, 0.01, 0.005)
    few, many, vain = (n.spline_error for n in nodes)
    assert few < many / 2 and many < 0.005 == vain
    assert 0.001 < (5 * (few**2 + many**2)) ** 0.5 <= 0.005


@pytest.mark.parametrize(("frac_bits", "coefficient_bits"), [(4, 12), (14, 5)])
def test_a_spline_is_no_nearer_than_its_argument_and_its_coefficients(frac_bits, coefficient_bits):
    one = node("one", 8, 1e9)
    one.coefficient_bits = coefficient_bits
    set_spline_errors([one], 0.01, 0.005)
    assert one.spline_error < 1e-3 < spline_error_at(one, frac_bits, 0.005) <= 0.005
    one.spline_error = None
    assert spline_error_at(one, frac_bits, 0.005) == 0.005


def test_what_no_spline_is_near_to_gets_the_nearest_that_there_is():
    params = {"low": 2.0**-9, "high": 2.0**40}
    site = Site("root", "rsqrt", 0.0, np.arange(8), np.arange(0), 1, np.zeros((3, 8)), np.ones(8), params)
    root = Node("root", "activation", ["x"], (8,), site=site, reach_kept=7.0, spline_error=2e-5)
    found = _spline(root, 14, 21, Chosen({}, {}, None))
    assert 2e-5 < found["error"] < 2e-4 and len(found["knots"]) <= 64
