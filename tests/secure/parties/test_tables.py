"""Splines whose knots are looked up (comparison "table"): right at every place, and telling nothing."""

import numpy as np
import pytest
import torch
from native_runs import compared, compiled, hold, planned
from networks import images
from observed import INPUTS, alike, assert_independent, views
from torch import nn

from autorep_fx.secure.host.threads import connect, run
from autorep_fx.secure.makers.table import PAIRED


def network(seed):
    torch.manual_seed(seed)
    return compiled(nn.Sequential(nn.Conv2d(3, 2, 3), nn.GELU(), nn.Flatten(), nn.Linear(8, 3)), images(2, size=4))


def spline_of(plan):
    return next(step for step in plan.steps if "knots" in step.attrs)


@pytest.fixture(scope="module")
def both():
    plan, numbers = alike([network(1), network(2)], "gmw")
    return compared(plan, "table"), numbers


@pytest.mark.parametrize("scale", [0.1, 1.0, 1.5])
def test_a_run_is_within_the_bound_of_the_model_and_takes_fewer_bytes_than_a_tree(scale):
    program, x = network(1), scale * images(3, size=4, seed=3)
    sent = {}
    for comparison in ("table", "gmw"):
        result = hold(program, x, comparison=comparison, examples=images(2, size=4))
        sent[comparison] = result.online["client"].total_bytes
    assert sent["table"] < 0.8 * sent["gmw"], sent


def test_neither_party_sees_more(both):
    plan, (numbers, other) = both
    assert_independent(*(views(plan, numbers, x, "server") for x in INPUTS))
    assert_independent(*(views(plan, numbers, INPUTS[1], "client") for numbers in (numbers, other)))


def planes_of(plan, numbers, x, runs=60):
    """XORs of every two planes that are opened, of all exchanges of an inference: (runs, bytes)."""
    rows, at = [], plan.steps.index(spline_of(plan))
    for _ in range(runs):
        members, theirs, mine = connect(plan, numbers, timeout=20), {}, {}
        client, server = members.client.links["server"], members.server.links["client"]
        record_exchanges(client, at, theirs)
        record_exchanges(server, at, mine)
        run(plan, numbers, x, members=members)
        opened = np.concatenate([a ^ b for a, b in zip(theirs[at], mine[at]) if a.dtype == np.uint64 and a.ndim == 2])
        one, other = np.triu_indices(len(opened), 1)
        rows.append((opened[one, 0] ^ opened[other, 0]).view(np.uint8))
    return np.stack(rows)


def record_exchanges(channel, at, into):
    exchange = channel.exchange

    def kept(step, mine, theirs):
        exchange(step, mine, theirs)
        if step == at and mine.dtype == np.uint64 and mine.shape[1] == 1:  # a word of a plane each
            into.setdefault(step, []).append(mine.copy())

    channel.exchange = kept


def test_two_planes_together_say_nothing(both):
    plan, (numbers, other) = both
    assert_independent(planes_of(plan, numbers, INPUTS[0]), planes_of(plan, numbers, INPUTS[1]), most=7)
    assert_independent(planes_of(plan, numbers, INPUTS[1]), planes_of(plan, other, INPUTS[1]), most=7)


def test_a_plan_with_a_grid_is_compared_by_trees_where_there_is_no_dealer(both):
    plan, numbers = planned(network(1), images(2, size=4))
    assert "grid" in spline_of(plan).attrs and PAIRED.comparisons_of(plan) == ("gmw",)
    with pytest.raises(ValueError, match="'mixed' needs a dealer"):
        PAIRED.check_comparison("mixed")


def test_a_mixed_plan_compares_few_positions_by_keys_splines_by_tables_and_all_else_by_trees():
    x = images(2, size=48)
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.GELU(), nn.Conv2d(2, 2, 3), nn.ReLU(), nn.AvgPool2d(8), nn.GELU())
    plan, _ = planned(compiled(model, x), x)
    mixed = plan.with_comparison("mixed")
    found = [step.attrs["comparison"] for step in mixed.steps if step.attrs.get("comparison")]
    assert found == ["table", "gmw", "fss"] and mixed.variant == "mixed"
    assert plan.with_comparison("gmw").variant == "gmw" and plan.with_comparison("fss").variant == "fss"


def test_a_plan_made_without_a_dealer_has_the_fewest_knots():
    plan, _ = planned(network(1), images(2, size=4), maker=PAIRED)
    assert "grid" not in spline_of(plan).attrs
