"""Splines of ordinary plans: in rings of 32 bits where that takes less time, and their knots on a grid for tables."""

import numpy as np
import pytest
import torch
from native_runs import compared, compiled
from networks import images
from torch import nn

from autorep_fx import Network
from autorep_fx.secure.cost.cost import plan_cost
from autorep_fx.secure.host.threads import run
from autorep_fx.secure.makers.table import DEALT, PAIRED
from autorep_fx.secure.plan.simulate import expected
from autorep_fx.secure.planner.names import CUT
from autorep_fx.secure.planner.node import Node
from autorep_fx.secure.planner.operations.activation import _spline
from autorep_fx.secure.planner.planned import Chosen
from autorep_fx.secure.planner.site import Site
from autorep_fx.secure.program.plaintext import execute, off_by

#: Where bytes are what takes time, and where messages are.
SLOW, FAR = Network(0.001, 20), Network(200, 100_000)


def splines(plan):
    return [step for step in plan.steps if "knots" in step.attrs]


def program_for(network, **options):
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3), nn.SiLU(), nn.Conv2d(8, 8, 3), nn.GELU(), nn.Flatten(), nn.Linear(128, 5)]
    return compiled(nn.Sequential(*layers), images(32, size=8), network=network, **options)


@pytest.fixture(scope="module")
def slow():
    return program_for(SLOW)


def test_splines_are_in_rings_of_32_bits_where_bytes_take_longer_than_a_round_trip(slow):
    far = program_for(FAR)
    assert 32 in {step.width for step in splines(slow.base_plan)}
    assert {step.width for step in splines(far.base_plan)} == {64}
    sent = [sum(plan_cost(p.base_plan.with_comparison("gmw"), SLOW).online.values()) for p in (slow, far)]
    assert sent[0] < 0.75 * sent[1], sent


def test_they_are_as_precise_as_is_asked_for(slow):
    plan, numbers = slow.native
    x = images(64, size=8, seed=2)
    found = expected(plan, numbers, x.double().numpy()).output
    assert off_by(torch.from_numpy(found), execute(slow, x).double()) < 0.02


@pytest.mark.parametrize(("comparison", "maker"), [("fss", DEALT), ("gmw", DEALT), ("table", DEALT), ("gmw", PAIRED)])
@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_runs_are_those_of_the_model_and_cost_what_is_declared(slow, comparison, maker, scale):
    plan, numbers = slow.native
    plan, x = compared(plan, comparison), scale * images(2, size=8, seed=3).double().numpy()
    result = run(plan, numbers, x, maker=maker)[0]
    model = expected(plan, numbers, x, nearest=maker is PAIRED)
    assert np.all(np.abs(result.output - model.output) <= model.bound)
    declared = plan_cost(plan, batch=2, maker=maker)
    assert {party: count.total_bytes for party, count in result.online.items()} == declared.online


def test_small_arguments_that_need_few_bits_take_no_truncation_more():
    plan = program_for(FAR, precision=0.02).base_plan
    assert splines(plan)[0].width == 32 and not any(step.name.endswith(CUT) for step in plan.steps)


def test_a_spline_that_no_grid_is_near_enough_to_is_looked_up_with_more_error():
    site = Site("one", "silu", 0.0, np.arange(8), np.arange(0), 1, np.zeros((3, 8)), np.ones(8), {})
    one = Node("one", "activation", ["x"], (8,), site=site, reach_kept=16.0, spline_error=1e-4)
    near, far = (_spline(one, 12, 18, Chosen({}, {}, None, tables=tables)) for tables in (False, True))
    assert "grid" not in near and near["error"] <= 1e-4 < far["error"] <= 8e-4
    assert all(knot % 2 ** far["grid"] == 0 for knot in far["knots"])
