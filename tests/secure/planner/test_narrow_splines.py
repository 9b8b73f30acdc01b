"""Splines in plans that have rings of 32 bits alone: truncated once more where products follow, and precise."""

import dataclasses

import numpy as np
import pytest
import torch
from native_runs import compiled
from networks import images
from torch import nn

from autorep_fx.secure.host.threads import run
from autorep_fx.secure.plan.simulate import expected, simulate
from autorep_fx.secure.planner.headroom import headroom
from autorep_fx.secure.planner.names import CUT
from autorep_fx.secure.program.plaintext import execute, off_by
from autorep_fx.secure.program.spline import BITS, narrow_bits, spline


class Gate(nn.Module):
    def __init__(self):
        super().__init__()
        self.map = nn.Conv2d(8, 8, 1)

    def forward(self, x):
        return x * torch.sigmoid(self.map(x.mean((2, 3), keepdim=True)))


class Gain(nn.Module):
    """Arguments that reach as far as those of a network that was trained."""

    def forward(self, x):
        return 4 * x


NETWORKS = {
    "hardswish": lambda: [nn.Conv2d(3, 8, 3), nn.Hardswish(), nn.Conv2d(8, 8, 3), nn.Hardswish(), nn.Flatten(),
                          nn.Linear(128, 5)],
    "sigmoid": lambda: [nn.Conv2d(3, 8, 3), Gain(), nn.Sigmoid(), nn.Conv2d(8, 8, 3), Gain(), nn.Sigmoid(),
                        nn.Flatten(), nn.Linear(128, 5)],
    "pooled": lambda: [nn.Conv2d(3, 8, 3), nn.GELU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3), nn.SiLU(), nn.Flatten(),
                       nn.Linear(8, 5)],
    "gated": lambda: [nn.Conv2d(3, 8, 3), nn.SiLU(), Gate(), nn.Conv2d(8, 8, 3), nn.SiLU(), nn.Flatten(),
                      nn.Linear(128, 5)],
}  # fmt: skip


#: Where splines or products are truncated once more.
CUTS = ("pooled", "gated")


@pytest.fixture(scope="module")
def programs():
    """By name, as they are asked for."""
    found = {}

    def of(name):
        if name not in found:
            torch.manual_seed(0)
            model = nn.Sequential(*NETWORKS[name]())
            found[name] = compiled(model, images(32, size=8), checked=True, clamp=False)
        return found[name]

    return of


@pytest.mark.parametrize("name", NETWORKS)
def test_splines_in_rings_of_32_bits_are_nearly_as_precise_as_wider_ones(programs, name):
    program, x = programs(name), images(64, size=8, seed=2)
    plan, numbers = program.native
    found = simulate(plan, numbers, x.double().numpy(), np.random.default_rng(0))
    assert {step.width for step in plan.steps} == {32}
    assert off_by(torch.from_numpy(found), execute(program, x).double()) < 0.02


def test_what_follows_a_spline_is_truncated_where_it_needs_the_room(programs):
    plan = programs("pooled").plan()
    behind = [step.inputs[0] for step in plan.steps if step.name.endswith(CUT)]
    assert behind and all("knots" in step.attrs for step in plan.steps if step.name in behind)


@pytest.mark.parametrize("name", CUTS)
def test_runs_with_truncated_splines_stay_within_the_bound_checked_and_unchecked(programs, name):
    program, x = programs(name), images(2, size=8).double().numpy()
    plan, numbers = program.native
    assert any(step.name.endswith(CUT) for step in plan.steps)
    model = expected(plan, numbers, x)
    for each in (plan, dataclasses.replace(plan, checked=False)):
        found = run(each, numbers, x)[0]
        assert np.all(np.abs(found.output - model.output) <= model.bound)


def test_headroom_knows_what_is_truncated_behind_a_spline(programs):
    program, x = programs("gated"), images(4, size=8)
    uses = headroom(program, *program.native, x).uses
    assert any(use.step.endswith(CUT) for use in uses) and all(0 < use.share < 1 for use in uses)


def test_coefficients_of_few_bits_keep_the_error_of_a_spline():
    for kind, error in (("gelu", 0.005), ("silu", 0.001), ("sigmoid", 0.02)):
        bits = narrow_bits(kind, error)
        assert 4 <= bits < BITS
        found = spline(kind, {"approximate": "none"} if kind == "gelu" else {}, 8.0, 8, error, bits)
        assert found.error <= error
    assert narrow_bits("rsqrt", 0.002) == BITS  # small results count as much as large ones
