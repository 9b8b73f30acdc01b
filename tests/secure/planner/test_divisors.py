"""Normalisations that follow one another: none sees to first order what the one before is off by."""

import numpy as np
import pytest
import torch
from native_runs import compiled
from torch import nn

from autorep_fx.secure.plan.simulate import simulate
from autorep_fx.secure.planner.bias_correction import Centering
from autorep_fx.secure.planner.divisors import least_bits, of_divisors
from autorep_fx.secure.planner.precision import Look
from autorep_fx.secure.program.plaintext import execute


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.LayerNorm(24), nn.LayerNorm(24), nn.Linear(24, 5)

    def forward(self, x):
        return self.last(self.second(self.first(x)))


def samples(count, seed):
    """Of sizes that differ by a factor of six."""
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(count, 24, generator=draw) * (torch.rand(count, 1, generator=draw) + 0.2)


@pytest.fixture(scope="module")
def program():
    torch.manual_seed(0)
    return compiled(Twice(), samples(32, 0))


def test_a_small_sample_is_as_exact_as_large_ones(program):
    x = samples(64, 1).double()
    exact = execute(program, x).numpy()
    off = simulate(program.base_plan, program.numbers, x.numpy(), np.random.default_rng(0)) - exact
    assert np.abs(off).max() < 0.05 * exact.std()


def test_a_plan_that_divides_is_finer_where_that_takes_hardly_longer(program):
    x = samples(64, 1).double()
    exact = execute(program, x).numpy()
    off = simulate(program.base_plan, program.numbers, x.numpy(), np.random.default_rng(0)) - exact
    assert np.sqrt(np.square(off).mean()) < 0.005 * exact.std()


def test_the_mean_of_what_is_divided_by_is_left_alone(program):
    names = of_divisors(program)
    assert {"first.square", "first.variance", "first.positive", "second.square", "second.positive"} <= names
    assert not names & {"first.normalised", "second.normalised", "last"}
    wanted = Look(program, None, samples(8, 0), centers=True).wanted
    assert not names & wanted.keys()
    positive = next(step for step in program.base_plan.steps if step.name == "second.positive")
    assert Centering(program.numbers, wanted).see(positive, np.zeros((1, 1), np.int64)) is None


def test_an_argument_has_bits_for_the_smallest_there_is(program):
    reach = {name: float(found.max()) for name, found in program.reach.items()}
    found = least_bits(program, reach)
    site = next(step for step in program.steps if step.name == "first.root.rsqrt")
    bits = found[site.name] - np.log2(reach[site.inputs[0]])
    assert 2.0**-bits < site.attrs["params"]["low"]
    assert 5 < found["first.square"] < found[site.name]
