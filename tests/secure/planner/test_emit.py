"""From chosen exponents to a plan."""

from dataclasses import replace

from autorep_fx.secure.plan.input_range import InputRange
from autorep_fx.secure.planner.emit import emit
from autorep_fx.secure.planner.exponents import exponents
from autorep_fx.secure.planner.node import Margins, Node
from autorep_fx.secure.planner.planned import Chosen
from autorep_fx.secure.planner.table import PLANNED


def widths():
    """(bits of the wire, if there is one, bits of the result) of a product on 32 bits whose result has 64."""
    shapes = {"first": (2,), "second": (2,)}
    nodes = {node.name: node for node in (
        Node("x", "input", [], (2,), bits=8),
        Node("y", "product", ["x", "x"], (2,), shapes, bits=8, reach=1.0, reach_kept=1.0, wire=32),
        Node("output", "output", ["y"], (2,), bits=8, reach=1.0, wire=64),
    )}  # fmt: skip
    chosen = Chosen(nodes, exponents(nodes, Margins()), InputRange.given(-1.0, 1.0, 2))
    return [(step.attrs.get("wire"), step.width) for step in emit(chosen)[0].steps]


def test_a_truncated_wire_may_be_narrower_than_its_result():
    assert widths() == [(None, 32), (32, 64), (64, 64)]


def test_a_wire_that_is_not_truncated_is_as_wide_as_its_result(monkeypatch):
    monkeypatch.setitem(PLANNED, "product", replace(PLANNED["product"], truncates=False))
    assert widths() == [(None, 64), (64, 64), (64, 64)]
