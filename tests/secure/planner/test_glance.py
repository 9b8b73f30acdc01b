"""Plans that are far off are told by a few examples, and what float32 has no room for is found in float64."""

from types import SimpleNamespace

import numpy as np
import torch
from native_runs import compiled
from torch import nn

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


def test_where_nothing_is_precise_enough_all_are_walked_and_the_best_is_taken():
    look = Looked()
    plan, _, found = precise(lambda error: planned(1e4 * error), look, 0.02, None)
    assert plan.error == min(look.walks) == found.standard_error and len(look.walks) == 16


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
