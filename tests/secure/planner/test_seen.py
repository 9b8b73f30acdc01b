"""What one walk has shown is not walked again, and walks that look at plans are quick."""

import sys

import numpy as np
import pytest
import torch
from native_runs import compiled, planned
from networks import images
from torch import nn

import autorep_fx as ar
from autorep_fx.secure.lower.lowered import lowered
from autorep_fx.secure.plan.input_range import InputRange
from autorep_fx.secure.plan.simulate import watch
from autorep_fx.secure.planner.ascents import ascents
from autorep_fx.secure.planner.equalize import in_one_scale, scaled
from autorep_fx.secure.planner.extreme_inputs import probes
from autorep_fx.secure.planner.precision import Look
from autorep_fx.secure.planner.ranges import by_samples, together
from autorep_fx.secure.planner.seen import seen, seen_in_single


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 5))


@pytest.fixture(scope="module")
def program():
    return compiled(network(), images(8))


def test_what_a_walk_has_shown_holds_in_the_scale_of_what_was_made_of_the_program():
    net, x = network(), images(8).double()
    with torch.no_grad():
        net[0].weight[2] /= 1000
    original = lowered(ar.transform(net.eval(), example_inputs=x[:2].float()), x.float())
    saw = seen_in_single(original, x)
    program, factors = in_one_scale(original, before := together(saw.largest))
    found, exact = saw.scaled(factors), seen(program, x)
    for name, mean in exact.means_of([0, 3, 5]).items():
        np.testing.assert_allclose(found.means_of([0, 3, 5])[name], mean, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found.largest[name], exact.largest[name], rtol=1e-4, atol=1e-6)
    reach = scaled(before, factors)
    assert any((reach[name] > 2 * before[name]).any() for name in reach)


def test_plans_are_looked_at_on_the_example_on_which_values_get_largest(program):
    x = torch.cat([images(63), 3 * images(1)]).double()
    assert any(torch.equal(each, x[-1]) for each in Look(program, None, x, asked=0.02).x[:2])
    assert torch.equal(Look(program, None, x[:8], asked=0.02).x.sort(0).values, x[:8].sort(0).values)


@pytest.mark.parametrize("widths", [(32,), (64,)])
def test_sums_in_float32_are_off_by_little_of_what_a_truncation_leaves(program, widths):
    x = images(8).double()
    plan, numbers = planned(program, x, widths=widths)
    found = []
    for single in (False, True):
        values = {}
        watch(plan, numbers, x.numpy(), np.random.default_rng(0), lambda step, y, to=values: to.update({step.name: y}),
              single=single)  # fmt: skip
        found.append(values[plan.output.name].view(f"i{plan.output.width // 8}").astype(np.float64))
    exact, quick = found
    assert np.abs(quick - exact).max() <= 0.002 * np.abs(exact).max()


def test_what_leaves_the_ring_wraps_around_with_sums_in_float32_too(program):
    x = images(2).double()
    plan, numbers = planned(program, x, widths=(32,))
    found = []
    for single in (False, True):
        watch(plan, numbers, 4096 * x.numpy(), np.random.default_rng(0),
              lambda step, y: found.append(y) if step.op == "map" else None, single=single)  # fmt: skip
    layers = len(found) // 2
    assert np.array_equal(found[0], found[layers])


def test_ascents_start_where_pictures_are_furthest(program):
    x = images(8).double()
    within = InputRange.of_examples(x.numpy())
    pictures = torch.from_numpy(probes(within, (3, 8, 8)))
    reach = by_samples(program, pictures)
    found = ascents(program, within, x, (pictures, reach))
    reads = [step.inputs[0] for step in program.steps if step.op == "hybrid"]
    assert all(found[name].max() >= reach[name].max() * (1 - 1e-6) for name in reads)


def test_nothing_of_compile_imports_what_takes_longer_than_it(monkeypatch):
    x = images(8)
    gm = ar.transform(network().eval(), example_inputs=x)
    monkeypatch.setitem(sys.modules, "torch.fx.experimental.symbolic_shapes", None)
    assert ar.compile(gm, x).base_plan is not None


def test_examples_and_artificial_pictures_are_walked_at_once(monkeypatch):
    from autorep_fx.secure.planner import seen as module

    walked, of_part = [], module._of_part
    monkeypatch.setattr(module, "_of_part", lambda program, part: walked.append(len(part)) or of_part(program, part))
    x = images(8)
    ar.compile(ar.transform(network().eval(), example_inputs=x), x)
    assert len(walked) == 1 and walked[0] > len(x)


def test_a_plan_is_walked_in_parts_as_it_is_at_once(program, monkeypatch):
    x = images(8).double()
    plan, numbers = planned(program, x)
    found = []
    for most in (2**30, 1):
        for module in ("map", "activation"):
            monkeypatch.setattr(f"autorep_fx.secure.plan.operations.{module}.AT_ONCE", most)
        watch(plan, numbers, x.numpy(), np.random.default_rng(0),
              lambda step, y: found.append(y) if step is plan.output else None, single=True)  # fmt: skip
    assert np.array_equal(*found)
