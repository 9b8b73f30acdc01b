"""Noise gains against the noise itself, and what the planner makes of them."""

import numpy as np
import pytest
import torch
from networks import images, replace
from torch import nn

import autorep_fx as ar
from autorep_fx.secure.lower.lowered import lowered
from autorep_fx.secure.plan.simulate import simulate
from autorep_fx.secure.planner.fold_squares import unit_squares
from autorep_fx.secure.planner.known_gains import DRAWN, ROUNDED
from autorep_fx.secure.planner.noise_gains import gains
from autorep_fx.secure.planner.precision import measured
from autorep_fx.secure.program.plaintext import OPS, execute
from autorep_fx.secure.program.program import Program


class Net(nn.Module):
    """A stem, a residual block, pooling: with sites that keep, square, and mix."""

    def __init__(self):
        super().__init__()
        self.stem, self.a, self.b = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 6, 1)
        self.pool, self.fc = nn.AvgPool2d(3, 2, 1), nn.Linear(6, 5)

    def forward(self, x):
        x = self.stem(x).relu()
        x = (x + self.b(self.a(x).relu())).relu()
        return self.fc(self.pool(x).mean((2, 3)))


@pytest.fixture(scope="module")
def program():
    torch.manual_seed(0)
    x = images(8)
    gm = replace(ar.transform(Net().eval(), example_inputs=x), 0.5)
    made = ar.compile(gm, x, max_error=1.0)
    return unit_squares(lowered(gm, x), made.reach)[0], x.double()


def added(program, x, noise, draws=40):
    """Variance that ``noise`` adds to the outputs, as a part of theirs. noise: (step, inputs, secrets) -> the same."""
    exact, off = execute(program, x), 0.0
    for _ in range(draws):
        found = {program.public.input: x}
        for step in program.steps:
            inputs, secrets = noise(step, [found[name] for name in step.inputs], program.secrets(step))
            found[step.name] = OPS[step.op](step, secrets, *inputs)
        off += float((found[program.public.output] - exact).square().mean()) / draws
    return off / float((exact - exact.mean(0)).square().mean())


def test_of_what_a_site_reads(program):
    program, x = program
    known, deviation = gains(program, x), 1e-4
    for site in [step for step in program.steps if step.op == "hybrid"]:

        def noise(step, inputs, secrets, site=site):
            if step is site:
                inputs = [inputs[0] + deviation * torch.randn_like(inputs[0])]
            return inputs, secrets

        assert known.site(site.name).sum() * deviation**2 / DRAWN == pytest.approx(added(program, x, noise), rel=0.3)


def test_of_weights_their_means_taken_out(program):
    program, x = program
    known, exact = gains(program, x), execute(program, x)
    for layer in [step for step in program.steps if step.op in ("conv2d", "linear")]:
        key, found = layer.secrets["weight"], []
        for _ in range(40):
            noisy = program.server[key] + 1e-4 * torch.randn_like(program.server[key])
            off = execute(Program(program.public, {**program.server, key: noisy}), x) - exact
            found.append(float((off - off.mean(0)).square().mean()))
        share = np.mean(found) / float((exact - exact.mean(0)).square().mean())
        # Here the means of the outputs are taken out, there those of what the layer reads: about the same.
        assert 0.5 * share <= known.weight(layer.name, "weight").sum() * 1e-8 / ROUNDED <= 3 * share


@pytest.mark.parametrize("asked", [0.2, 0.05, 0.01, 0.002])
def test_a_plan_is_as_precise_as_it_is_asked_to_be(asked):
    torch.manual_seed(0)
    x = images(32)
    gm = replace(ar.transform(Net().eval(), example_inputs=x), 0.5)
    made = ar.compile(gm, x, precision=asked, max_error=1.0)
    assert measured(made, *made.native, x.double()).standard_error <= asked


def test_compared_values_have_no_more_bits_than_precision_takes():
    torch.manual_seed(0)
    x = images(32)
    gm = ar.transform(Net().eval(), example_inputs=x)
    windows = [[s.attrs["window"] for s in ar.compile(gm, x, precision=asked, max_error=1.0).plan().steps
                if s.attrs.get("comparison")] for asked in (0.2, 0.02, 0.002)]  # fmt: skip
    assert all(a < b < c for a, b, c in zip(*windows))


@pytest.mark.parametrize("ranges", ["calibrated", "worst"])
def test_an_example_of_round_numbers_makes_no_coarse_plan(ranges):
    net = nn.Sequential(nn.Linear(4, 1), nn.ReLU(), nn.Linear(1, 1)).eval()
    for p, value in zip(net.parameters(), (0.99995, 0.0, 1.0, 0.0)):
        p.data.fill_(value)
    x = torch.ones(1, 4)
    made = ar.compile(ar.transform(net, example_inputs=x), x, ranges=ranges, margin_bits=0, window_margin_bits=0)
    plan, numbers = made.native
    assert np.abs(simulate(plan, numbers, np.ones((5000, 4)), np.random.default_rng(0)) - 3.9998).max() < 0.01


@pytest.mark.parametrize("layer", [nn.Conv2d(6, 8, 3, 2, 1), nn.Linear(90, 40)], ids=["conv", "linear"])
def test_pairs_of_rows_say_what_the_derivatives_by_all_weights_do(layer, monkeypatch):
    from autorep_fx.secure.planner.operations import map as module

    torch.manual_seed(0)
    x = torch.randn((2, 6, 5, 7) if isinstance(layer, nn.Conv2d) else (3, 90))
    gm = ar.transform(nn.Sequential(layer, nn.ReLU(), nn.Flatten()).eval(), example_inputs=x)
    program, found = lowered(gm, x), []
    for few in (True, False):
        monkeypatch.setattr(module, "_few", lambda weight, rows, few=few: few)
        found.append(gains(program, x).weight(program.steps[0].name, "weight"))
    assert (found[0] > 0).any()
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-6 * found[0].max())
