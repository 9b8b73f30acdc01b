"""Squares without a factor: the rewritten program is the same function, and takes fewer maps and fewer bits."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from native_runs import compiled, hold, planned
from networks import images, replace
from torch import nn

import autorep_fx as ar
from autorep_fx.models import resnet_cifar
from autorep_fx.secure.planner.fold_squares import UNIT, unit_squares
from autorep_fx.secure.planner.ranges import by_channel, calibrated
from autorep_fx.secure.program.plaintext import execute, values


class Residual(nn.Module):
    """A site that a layer and a shortcut read, one behind a sum, one that goes through pooling into a linear layer."""

    def __init__(self, kind=nn.ReLU):
        super().__init__()
        self.first, self.second, self.third = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 6, 1)
        self.act, self.act2, self.act3, self.fc = kind(), kind(), kind(), nn.Linear(6, 4)

    def forward(self, x):
        y = self.act(self.first(x))
        y = self.act3(self.third(self.act2(y + self.second(y))))
        return self.fc(F.avg_pool2d(y, 2).mean((2, 3)))


def program_of(model, fraction, coeffs=None):
    def change(gm):
        replace(gm, fraction)
        for i, site in enumerate(ar.sites(gm).values() if coeffs is not None else ()):
            site.set_coeffs(coeffs.roll(i, 1)[:, : site.shape[0]])
        return gm

    torch.manual_seed(0)
    return compiled(model, images(8), change)


#: Squares of every bend, one that opens downwards, a line, a falling line, nothing.
COEFFS = torch.tensor([[0.1, 0.1, 0.2, 0.0, 0.1, 0.3],
                       [0.5, 0.9, 0.1, 0.7, -0.4, 0.0],
                       [0.2, 2e-2, 1e-3, 1e-4, 0.0, 0.0]])  # fmt: skip


@pytest.mark.parametrize("coeffs", [None, COEFFS, COEFFS * torch.tensor([[1], [1], [-1]])], ids=["fit", "all", "down"])
@pytest.mark.parametrize("fraction", [0.5, 1.0])
@pytest.mark.parametrize("kind", [nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.ReLU6, nn.SiLU])
def test_it_is_the_same_function(kind, fraction, coeffs):
    program, x = program_of(Residual(kind), fraction, coeffs), images(8).double()
    reach = calibrated(program, x)
    unit, reached = unit_squares(program, reach)
    exact, found = execute(program, x), execute(unit, x)
    assert (found - exact).abs().max() < 2**-8 * (1 + exact.abs().max())  # squares that are made to bend
    for name, value in values(unit, x).items():
        assert (by_channel(value) <= reached[name] * 1.01 + 1e-9).all(), name


def test_a_maximum_is_not_turned_upside_down():
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 4, 1))
    program, x = program_of(model, 1.0, COEFFS * torch.tensor([[1], [1], [-1]])), images(8).double()
    unit, _ = unit_squares(program, calibrated(program, x))
    assert (execute(unit, x) - execute(program, x)).abs().max() < 0.02


@pytest.mark.parametrize("fraction", [0.5, 1.0])
def test_a_shortcut_takes_one_map_and_the_sites_none(fraction):
    program = program_of(Residual(), fraction, COEFFS)
    unit, _ = unit_squares(program, calibrated(program, images(8).double()))
    assert [step.name for step in unit.steps if step.name.endswith(UNIT)] == ["act.unit"]
    assert all(step.attrs["unit"] for step in unit.steps if step.op == "hybrid")
    plan, _ = planned(program, images(8))
    assert not any(step.attrs.get("kind") == "position" for step in plan.steps)


@pytest.mark.parametrize("options", [{"widths": (64,)}, {"widths": (32,)}, {}], ids=["wide", "narrow", "default"])
@pytest.mark.parametrize("comparison", ["fss", "gmw"])
@pytest.mark.parametrize("coeffs", [None, COEFFS], ids=["fit", "all"])
def test_runs_are_within_the_bound(comparison, coeffs, options):
    run = hold(program_of(Residual(), 0.5, coeffs), images(4), comparison=comparison, examples=images(8), **options)
    coarse = 0.1 if options else 0.05
    np.testing.assert_allclose(run.output, run.exact, rtol=0, atol=coarse * np.abs(run.exact).max())


def test_what_hardly_bends_is_lifted_and_within_its_room():
    program = program_of(Residual(), 0.5, COEFFS)
    made = ar.compile(_transformed(), images(64))
    plan, _ = planned(program, images(8))
    lifts = [step.attrs["lifts"] for step in plan.steps if "lifts" in step.attrs]
    assert lifts and all(0 <= k <= 4 for each in lifts for k in each)
    assert made.headroom(images(8)).fits


def _transformed():
    torch.manual_seed(0)
    gm = ar.transform(Residual().eval(), calibration=images(64), relu_budget=60)
    first, *_ = ar.sites(gm).values()
    first.set_coeffs(COEFFS)
    return gm


def test_most_of_a_network_of_squares_has_room_on_wires_of_32_bits():
    """With a factor for each position almost none had."""
    torch.manual_seed(0)
    x = images(64, size=16)
    gm = ar.transform(resnet_cifar(8).eval(), calibration=x, relu_budget=300)
    made = ar.compile(gm, x, precision=0.1, max_error=0.2)
    wires = [step.attrs["wire"] for step in made.base_plan.steps if "wire" in step.attrs]
    assert wires.count(32) >= 0.7 * len(wires)
    exact = gm.eval()(x[:8]).detach()
    assert (made.run(x[:8]).output - exact).square().mean() < 0.1**2 * (exact - exact.mean(0)).square().mean() * 2
