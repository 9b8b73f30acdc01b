"""Kept positions on CrypTen follow from the record of their kind; a kind without one is an error, and no ReLU."""

import pytest
import torch

from autorep_fx.secure.crypten.fixed_point import FixedPublic
from autorep_fx.secure.crypten.fused.plan import plan
from autorep_fx.secure.crypten.shares import Shares
from autorep_fx.secure.crypten.site import hybrid
from autorep_fx.secure.program import kinds
from autorep_fx.secure.program.kinds import Kind
from autorep_fx.secure.program.program import Step

FRAC, SLOPE = 16, 0.25


class InTheClear(Shares):
    """One party that has all, and so no messages."""

    def __init__(self):
        self.frac_bits, self.first, self.compared = FRAC, True, 0

    def relu(self, step, role, x):
        self.compared += x[0].numel()
        return x.clamp(min=0)
        yield

    def product(self, step, role, number, x):
        return number * x
        yield

    connect = share_input = exchange = multiply = square = drelu = None


InTheClear.__abstractmethods__ = frozenset()
KINDS = {**kinds.EXACT, "relu1": Kind(top=1.0)}


def site(kind, x):
    none = torch.empty(0, dtype=torch.int64)
    attrs = {"kind": kind, "kept": torch.arange(x[0].numel()), "square": none, "direct": none, "slope": SLOPE}
    return Step("site", "hybrid", ("x",), tuple(x.shape[1:]), attrs, {"slope": "slope"})


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_computed_as_its_record_says(kind, monkeypatch):
    monkeypatch.setattr(kinds, "EXACT", KINDS)
    for module in ("site", "fused.plan"):
        monkeypatch.setattr(f"autorep_fx.secure.crypten.{module}.EXACT", KINDS)
    x = torch.linspace(-9, 9, 19, dtype=torch.float64).reshape(1, 19)
    step, shares, scale = site(kind, x), InTheClear(), 2**FRAC
    numbers = {"slope": torch.full((19,), round(SLOPE * scale))}
    found = hybrid(shares, step, numbers, (x * scale).long()).double() / scale
    torch.testing.assert_close(found, KINDS[kind].plain(x, SLOPE), rtol=0, atol=2 / scale)
    public = FixedPublic("x", (19,), (step,), "site", {"slope": (19,)}, None, FRAC)
    needs = plan(public).steps
    assert [need.shape for need in needs if need.op == "compare"] == [(shares.compared,)]
    assert any(need.name == "site.slope" for need in needs) == (KINDS[kind].slope == "private")


def test_a_kind_without_a_record_is_an_error_and_no_relu():
    x = torch.zeros(1, 3, dtype=torch.int64)
    step = site("softsign", x)
    with pytest.raises(KeyError, match="softsign"):
        hybrid(InTheClear(), step, {}, x)
    with pytest.raises(KeyError, match="softsign"):
        plan(FixedPublic("x", (3,), (step,), "site", {"slope": (3,)}, None, FRAC))
