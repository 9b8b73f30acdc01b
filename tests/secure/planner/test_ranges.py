"""What a plan promises of values: a bound is a bound, and what examples reach fits."""

import numpy as np
import pytest
import torch
from edge_networks import EDGES, networks
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from native_runs import planned
from networks import images, replace
from torch import nn

import autorep_fx as ar
from autorep_fx.secure.host.threads import run
from autorep_fx.secure.plan.simulate import expected
from autorep_fx.secure.planner.node import Margins
from autorep_fx.secure.program.plaintext import execute


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(networks(), st.sampled_from([0, 1, 2]), EDGES.filter(bool), st.sampled_from(["fss", "gmw"]))
def test_no_input_that_worst_ranges_promise_comes_out_wrong(network, margin, example, comparison):
    model, fraction = network
    gm = replace(ar.transform(model, example_inputs=torch.zeros(1, 2, 4, 4)), fraction)
    x = torch.full((1, 2, 4, 4), example)
    made = ar.compile(gm, x, ranges="worst", margin_bits=margin, max_error=1e9)
    if made.base_plan is None:
        assert "no room" in made.obstacle
        return
    plan, numbers = made.native
    signs = torch.randint(0, 2, (6, 2, 4, 4), generator=torch.Generator().manual_seed(0)) * 2.0 - 1
    signs[0], signs[1] = 1, -1
    edge = (signs * example * 2.0**margin).double()
    edge[2:4] *= torch.rand(2, 2, 4, 4, generator=torch.Generator().manual_seed(1))
    result = run(plan.with_comparison(comparison), numbers, edge.numpy())[0]
    model = expected(plan, numbers, edge.numpy())
    assert np.all(np.abs(result.output - model.output) <= model.bound)
    exact = execute(made, edge).numpy()
    # The fixed-point model itself must not have wrapped: it is near exact arithmetic, for its few bits.
    assert np.all(np.abs(model.output - exact) <= 0.1 * np.abs(exact).max() + 0.1)


@pytest.mark.parametrize("margin, example, weight", [(0, 1.0, 0.999999), (0, 1.0, 0.99995), (2, 0.25, 0.99999)])
def test_roundings_belong_to_the_bound(margin, example, weight):
    """Four times 0.999999 is below 4; with weights rounded to 1 it is 4, which needs one more bit."""
    net = nn.Sequential(nn.Linear(4, 1), nn.ReLU(), nn.Linear(1, 1)).eval()
    for p, value in zip(net.parameters(), (weight, 0.0, 1.0, 0.0)):
        nn.init.constant_(p, value)
    x = torch.full((1, 4), example)
    made = ar.compile(ar.transform(net, example_inputs=x), x, ranges="worst", margin_bits=margin)
    output = run(*made.native, np.ones((1, 4)))[0].output
    assert abs(output.item() - 4 * weight) < 0.01


@pytest.mark.parametrize("fraction", [0.0, 0.5])
def test_examples_fit_without_any_margin(fraction):
    """At the very edge of a window: one more unit by rounding must not turn a sign."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    x = images(8)
    gm = replace(ar.transform(net.eval(), example_inputs=x), fraction)
    made = ar.compile(gm, x, margin_bits=0)
    assert made.headroom(x).fits
    output = run(*made.native, x.double().numpy())[0].output
    assert np.abs(output - execute(made, x).numpy()).max() < 0.02 * np.abs(output).max()


def test_a_window_has_a_margin_of_its_own():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.MaxPool2d(2), nn.ReLU()).eval()
    x = images(8)
    gm = ar.transform(net, example_inputs=x)
    program, windows = ar.compile(gm, x), []
    for bits in (0, 1, 3):
        plan, _ = planned(program, x.double(), margins=Margins(3, bits))
        windows.append({s.name: s.attrs["window"] for s in plan.steps if s.attrs.get("comparison")})
    assert all(windows[1][name] == windows[0][name] + 1 and windows[2][name] == windows[0][name] + 3
               for name in windows[0]) and len(windows[0]) >= 3  # fmt: skip


def test_any_margins_leave_a_window_that_lies_within_the_ring():
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU6(), nn.MaxPool2d(3, 2, 1),
                        nn.Conv2d(4, 4, 3, groups=4, padding=1), nn.LeakyReLU(0.1), nn.AvgPool2d(3, 1, 1),
                        nn.Conv2d(4, 8, 1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 5)).eval()  # fmt: skip
    x = images(8)
    for margin, window in ((0, 16), (16, 0), (0, 0)):
        made = ar.compile(ar.transform(net, example_inputs=x), x, margin_bits=margin, window_margin_bits=window)
        output = run(*made.native, x.double().numpy())[0].output
        assert np.abs(output - execute(made, x).numpy()).max() < 0.02 * np.abs(output).max()
