"""What rounded weights shift on average is taken out, on inputs that were not looked at, too."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from native_runs import compiled, planned
from networks import images
from torch import nn

from autorep_fx.secure.plan.server_numbers import Numbers
from autorep_fx.secure.plan.simulate import simulate
from autorep_fx.secure.planner.bias_correction import Centering, centered
from autorep_fx.secure.planner.precision import Look
from autorep_fx.secure.program.plaintext import execute, values


def test_the_mean_of_what_a_coarse_plan_is_off_by_shrinks():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3))
    known, new = images(64).abs(), images(64, seed=9).abs()
    program = compiled(model, known)
    plan, numbers = planned(program, known, useful=7, widths=(32,))
    coarse = {name: n for name, n in numbers.items()}
    for step in plan.steps:  # weights of 4 bits less
        if step.op == "map":
            low = np.rint(coarse[step.name].weight.view(np.int64) / 16).astype(np.int64) * 16
            coarse[step.name] = type(numbers[step.name])(low.view(np.uint64), numbers[step.name].constant, 16)
    x = known.double()
    mended = centered(plan, coarse, x.numpy(), values(program, x))
    exact = execute(program, new.double()).numpy()
    off = [
        np.abs((simulate(plan, n, new.double().numpy(), np.random.default_rng(1)) - exact).mean((0, 2, 3))).max()
        for n in (coarse, mended)
    ]
    assert off[1] < off[0] / 3
    assert {name: n.weight is coarse[name].weight for name, n in mended.items() if n.weight is not None}


def test_what_few_samples_are_off_by_alone_is_not_added_to_all_others():
    """Noise has no mean worth taking out, a shift has; and what is told of a few is what others are off by."""
    rng, step = np.random.default_rng(0), SimpleNamespace(op="map", name="last", frac_bits=20)
    noise, shift = rng.normal(0, 0.01, (2, 200)), rng.normal(0, 0.01, 200)
    new = rng.normal(0, 0.01, (50, 200))
    for own, others in ((noise, new), (noise / 20 + shift, new / 20 + shift)):
        centering = Centering({"last": Numbers()}, {"last": np.zeros((2, 200))})
        added = centering.see(step, np.rint(own * 2**20).astype(np.int64))
        found, expected = (np.sqrt(np.square(off + (0.0 if added is None else added)).mean()) for off in (own, others))
        assert expected == pytest.approx(centering.of_others(2) * found, rel=0.1)
        assert expected < 1.05 * np.sqrt(np.square(others).mean())
    assert expected < 0.1 * np.sqrt(np.square(shift).mean())


def test_one_example_moves_no_mean():
    model, x = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3)), torch.randn(32, 16)
    program = compiled(model, x)
    plan, numbers = planned(program, x, useful=5, widths=(32,))
    own, found = Look(program, None, x[:1].double(), centers=True).centered(plan, numbers)
    assert all(own[name] is n for name, n in numbers.items()) and found.error > 0
