"""Plans that are far off are told by a few examples, and what float32 has no room for is found in float64."""

import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from native_runs import compiled
from torch import nn

from autorep_fx.errors import CompileError
from autorep_fx.secure.planner.noise_gains import gains
from autorep_fx.secure.planner.precise import precise
from autorep_fx.secure.planner.precision import Precision
from autorep_fx.secure.planner.ranges import calibrated
from autorep_fx.secure.program.program import Program


class Looked:
    """Plans are numbers: the error that they were made for, which is about what they show."""

    def __init__(self, of_few=1.0):
        self.of_few, self.glances, self.walks = of_few, [], []

    def glanced(self, plan, numbers):
        self.glances.append(plan.error)
        return self._of(self.of_few * plan.error)

    def centered(self, plan, numbers):
        self.walks.append(plan.error)
        return numbers, self._of(plan.error)

    @staticmethod
    def _of(error):
        return Precision(error / 2, error, 1.0, 0.0)


def planned(error):
    return SimpleNamespace(error=error, digest=lambda: error, steps=[]), {}


def test_only_what_a_glance_leaves_open_is_walked_on_all_examples():
    look = Looked()
    plan, _, found = precise(lambda error: planned(10 * error), look, 0.02, None)  # ten times worse than planned for
    assert len(look.glances) > 4 and look.walks[0] <= 2 * 0.02 and len(look.walks) <= 4
    assert found.standard_error == plan.error <= 0.02


def test_of_what_is_clearly_within_only_the_finer_plan_is_walked():
    look = Looked()
    plan, _, _ = precise(lambda error: planned(error / 100), look, 0.02, None)
    assert look.walks == [plan.error] and plan.error < look.glances[0]


def test_where_nothing_is_precise_enough_the_most_precise_is_taken_and_few_are_walked():
    look = Looked()
    plan, _, found = precise(lambda error: planned(1e4 * error), look, 0.02, None)
    assert plan.error == min(look.walks) == found.standard_error and 1 < len(look.walks) <= 3
    assert plan.error == pytest.approx(1e4 * 0.04 * 2**-7.5)  # the sixteenth, however few were made before it


def test_what_a_leap_has_no_room_for_is_reached_step_by_step():
    def little(error):
        if error < 0.04 * 2**-2.75:
            raise CompileError("no room")
        return planned(1e4 * error)

    plan, _, _ = precise(little, Looked(), 0.02, None)
    assert plan.error == pytest.approx(1e4 * 0.04 * 2**-2.5)


def test_where_nothing_is_precise_enough_more_room_is_tried_with_the_best_alone():
    coarse, made = set(), []
    plan, _, _ = precise(lambda error: planned(1e4 * error), Looked(), 0.02, None, coarse=coarse)
    again, _, _ = precise(lambda error: made.append(error) or planned(1e4 * error), Looked(), 0.02, None, coarse=coarse)
    assert again.error == plan.error and len(made) == 1


def test_with_more_room_nothing_is_made_where_all_tries_were_far_off_with_less():
    look = Looked()
    with pytest.raises(CompileError, match="with less room"):
        precise(planned, look, 0.02, None, coarse={*range(16)})
    assert not look.glances and not look.walks


def test_tries_end_where_more_bits_no_longer_help():
    look = Looked()
    errors = iter([0.5, *(0.3 + 0.01 * i for i in range(40))])
    plan, _, _ = precise(lambda error: planned(next(errors)), look, 0.02, None)
    assert plan.error == 0.3 and len(look.glances) <= 9


def layers(scale):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    x = torch.randn(16, 4)
    program = compiled(model, x)
    return Program(program.public, {name: value * scale for name, value in program.server.items()}), x.double()


def test_values_beyond_float32_are_found():
    program, x = layers(1e30)
    reach = calibrated(program, x)
    assert 1e50 < reach[program.public.output].max() < 1e70
    assert gains(program, x).finite


def test_float32_finds_the_ranges_and_gains_of_float64(monkeypatch):
    program, x = layers(1.0)
    found = calibrated(program, x), gains(program, x)
    for module in ("ranges", "noise_gains"):
        monkeypatch.setattr(f"autorep_fx.secure.planner.{module}.single", lambda program: program)
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    exact = calibrated(program, x), gains(program, x)
    for name, value in exact[0].items():
        np.testing.assert_allclose(found[0][name], value, rtol=1e-5)
    for name, value in exact[1]._values.items():
        np.testing.assert_allclose(found[1]._values[name], value, rtol=1e-4)


class ServersNumbers(dict):
    """Of which one can say whether they are still there."""


def test_of_plans_that_are_not_precise_enough_few_are_kept():
    made, there = [], []

    def noted(error):
        plan, numbers = planned(0.06 * error**0.05)[0], ServersNumbers()  # twice as far off as it may be
        made.append(weakref.ref(numbers))
        there.append(sum(each() is not None for each in made))
        return plan, numbers

    precise(noted, Looked(), 0.02, 0.02)
    assert len(there) == 16 and max(there) <= 5  # three of the best, the last one and the next
