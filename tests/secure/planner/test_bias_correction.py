"""What rounded weights shift on average is taken out, on inputs that were not looked at, too."""

import numpy as np
import torch
from native_runs import compiled, planned
from networks import images
from torch import nn

from autorep_fx.secure.plan.simulate import simulate
from autorep_fx.secure.planner.bias_correction import centered
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
