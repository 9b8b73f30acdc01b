"""The smallest change of forms that is within a limit: what is given up, in which order, and when it ends."""

import pytest
import torch

from autorep_fx.errors import CompileError
from autorep_fx.forms.choose import Price, Prices
from autorep_fx.forms.least_change import Masks, least_change
from autorep_fx.forms.prices import Budget, Predicted
from autorep_fx.secure.link.network import network_of

WAN = network_of("wan")
#: Sites of 100 positions: what opens one of lines, a kept position there, squares, a kept one among them.
PRICES = [Prices(10.0, {"few": Price(5.0, 0.1, 12.0, 0.05), "all": Price(5.0, 0.1, 12.0, 0.05),
                        "none": Price(5.0, 0.1, 12.0, 0.05)})]  # fmt: skip


def masks():
    """A site with 20 kept positions beside lines, one that keeps everything, one of lines alone."""
    keep = {name: torch.zeros(10, 10, dtype=torch.bool) for name in PRICES[0].sites}
    line = {name: torch.ones(10, 10, dtype=torch.bool) for name in keep}
    keep["few"][:2], keep["all"][:], line["all"][:] = True, True, False
    return Masks(keep, line)


def price(found):
    """Of masks, as prices say."""
    total = 10.0
    for name, keep in found.keep.items():
        n, squares = int(keep.sum()), not bool((found.line[name] | keep).all() and found.line[name].any())
        total += 12 + 0.05 * n if squares else (5 + 0.1 * n) * (n > 0)
    return total


def changed(limit, costs=price, granularity="element", reserve=0.0):
    """The change, and the costs of all that were planned."""
    generator, planned = torch.Generator().manual_seed(0), []
    loss = {name: torch.rand(10, 10, generator=generator) for name in PRICES[0].sites}

    def plan(found):
        planned.append(costs(found))
        return Predicted(planned[-1], 0.0, 2, WAN), found

    start = Predicted(costs(masks()), 0.0, 2, WAN)
    budget = Budget(limit, None, WAN)
    found = least_change(budget, masks(), start, loss, loss, PRICES, plan, granularity, reserve, progress=False)
    return (None if found is None else found[1]), planned, loss


def test_what_is_beyond_by_little_loses_few_positions_of_least_loss():
    found, planned, loss = changed(33.7)  # of 34
    gone = {name: (before & ~found.keep[name]) for name, before in masks().keep.items()}
    assert {name: int(where.sum()) for name, where in gone.items()} == {"few": 3, "all": 0, "none": 0}
    assert loss["few"][gone["few"]].max() < loss["few"][found.keep["few"]].min()
    assert len(planned) == 1 and planned[0] <= 33.7


def test_a_site_closes_where_that_is_fewer_positions():
    found, planned, _ = changed(27.0)  # 7 less: 20 positions and what they open, or 140 of the one that keeps all
    assert not found.keep["few"].any() and found.keep["all"].all() and planned == [27.0]


def test_a_change_of_most_positions_is_none():
    found, planned, _ = changed(18.0)  # 120 positions send something; the 100 squares would have to close
    assert found is None and not planned


def test_channels_are_given_up_whole():
    found, _, _ = changed(33.7, granularity="channel")
    assert sorted(found.keep["few"].sum(1).tolist()) == [0] * 9 + [10]


def test_a_plan_that_stays_beyond_is_followed_by_larger_changes():
    def half(found):  # of what prices say is saved
        return price(found) + 0.05 * (20 - int(found.keep["few"].sum()))

    found, planned, _ = changed(33.49, half)
    assert planned[0] > 33.49 >= planned[-1] and len(planned) <= 4 and found.keep["few"].sum() >= 8


def test_a_reserve_is_left_where_it_can_be():
    assert changed(33.7, reserve=0.02)[1][-1] <= 33.7 * 0.98
    found, planned, _ = changed(33.7, lambda found: max(price(found), 33.6), reserve=0.02)
    assert found is not None and planned[0] == 33.6  # the first one within the limit itself


def test_there_may_be_no_such_change():
    def refused(found):
        if not torch.equal(found.keep["few"], masks().keep["few"]):
            raise CompileError("fixed point is off")
        return price(found)

    assert changed(9.0)[0] is None  # less than lines alone
    found, planned, _ = changed(30.0, refused)
    assert found is None and not planned


@pytest.mark.parametrize("limit", [33.9, 33.0, 31.0, 29.0, 28.0, 27.0, 26.6])
def test_limits_that_few_positions_make_are_met(limit):
    found, planned, _ = changed(limit)
    assert found is not None and planned[-1] <= limit and len(planned) <= 3
