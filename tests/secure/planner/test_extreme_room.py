"""Inputs of the published range that are made to leave a window or a ring are answered rightly."""

import warnings

import numpy as np
import pytest
import torch
from hard_inputs import beyond, hard_inputs, random_case
from native_runs import planned
from networks import images, replace
from torch import nn

import autorep_fx as ar
from autorep_fx.secure.cost.cost import plan_cost
from autorep_fx.secure.host.threads import run
from autorep_fx.secure.plan.input_range import InputRange
from autorep_fx.secure.planner.ascents import ascents
from autorep_fx.secure.planner.ranges import calibrated, worst_case
from autorep_fx.secure.planner.reach import by_channel
from autorep_fx.secure.program.plaintext import execute, values
from autorep_fx.secure.rates import Rates


def answers(program, x):
    return run(*program.native, x.double().numpy())[0].output


def of_random_networks(seeds, steps=50, **options):
    """(beyond the model, answered) of their hard inputs."""
    wrong = answered = 0
    for seed in seeds:
        case = random_case(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ar.CompileWarning)
            program = ar.compile(case.gm, case.examples, **options)
        x = hard_inputs(case.gm, case.filters, InputRange.of_plan(program.plan()), (3, 8, 8), seed, steps)
        wrong += int(beyond(program, x, "fss" if seed % 2 else "gmw").sum())
        answered += len(x)
    return wrong, answered


def test_inputs_that_are_made_to_leave_a_window_do_not():
    wrong, answered = of_random_networks((1, 16), steps=30)
    assert answered > 100 and wrong == 0


@pytest.mark.slow
@pytest.mark.parametrize("ranges, most", [("calibrated", 0.005), ("extreme", 0.0)])
def test_of_twenty_networks_fewer_than_one_in_two_hundred_do(ranges, most):
    wrong, answered = of_random_networks(range(20), ranges=ranges)
    assert answered > 1200 and wrong <= most * answered


def test_a_row_s_signs_are_answered_rightly():
    """The picture that fits one row of a first layer: far beyond what noise of the same range reaches."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(768, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    x = torch.rand(64, 3, 16, 16) * 2 - 1
    program = ar.compile(ar.transform(net.eval(), example_inputs=x), x)
    signs = torch.cat([s * net[1].weight.detach().sign() for s in (1, -1)]).reshape(-1, 3, 16, 16)
    exact = execute(program, signs).numpy()
    off = np.abs(answers(program, signs) - exact).max(1)
    assert (off < 0.02 * np.abs(exact).max(1)).all()


def test_what_affine_steps_reach_is_held_exactly():
    """The range is all but symmetric: its middle and radius go through a layer, no absolute value does."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)).eval()
    x = images(16) * 0.1 + 3
    program = ar.compile(ar.transform(net, example_inputs=x), x, input_range=(2.0, 4.0))
    within, name = InputRange.of_plan(program.plan()), program.steps[0].name
    weight = program.secrets(program.steps[0])["weight"]
    fit = [torch.where(s * weight > 0, 4.0, 2.0).repeat(1, 1, 3, 3)[..., :8, :8] for s in (1, -1)]
    reached = by_channel(values(program, torch.cat(fit).double())[name])
    bound = worst_case(program, within)[name]
    assert np.all(reached <= bound) and np.allclose(reached, bound, rtol=1e-5)
    assert np.all(bound < 0.6 * worst_case(program, InputRange.given(-4.0, 4.0, 3))[name])


@pytest.mark.parametrize("fraction", [0.0, 0.5])
def test_ascents_go_beyond_examples_and_never_beyond_the_bound(fraction):
    torch.manual_seed(1)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(),
                        nn.Linear(16, 3)).eval()  # fmt: skip
    x = images(32)
    program = ar.compile(replace(ar.transform(net, example_inputs=x), fraction), x)
    within = InputRange.of_plan(program.plan())
    found, again = (ascents(program, within, x.double()) for _ in range(2))
    plain, bounds = calibrated(program, x.double()), worst_case(program, within)
    assert all(np.array_equal(found[name], again[name]) for name in found) and found.keys() == plain.keys()
    assert all((found[name] <= bounds[name] * (1 + 1e-5)).all() for name in found)
    reads = [step.inputs[0] for step in program.steps if step.op in ("hybrid", "max_pool2d")]
    assert all(found[name].max() > 1.2 * plain[name].max() for name in reads)


def test_where_a_plan_publishes_statistics_ascents_stay_within_them():
    torch.manual_seed(0)
    x = torch.rand(32, 1, 8, 8)
    within = InputRange.of_examples(x.numpy())
    narrow = within.with_statistics(x.double().numpy(), np.stack([np.zeros((1, 8, 8)), np.ones((1, 8, 8))]))
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).eval()
    program = ar.compile(ar.transform(net, example_inputs=x), x)
    output = program.public.output
    wide, told = (ascents(program, w, x.double())[output].max() for w in (within, narrow))
    assert calibrated(program, x.double())[output].max() < told < wide


def test_room_costs_little_online_and_nothing_that_plain_inputs_need():
    """Predicted seconds, for the same rates, beside a plan that knows nothing of extreme inputs."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 5))
    x = images(32)
    program = ar.compile(ar.transform(net.eval(), example_inputs=x), x)
    plain, _ = planned(program, x.double())
    seconds = [plan_cost(plan, "lan", rates=Rates()).online_seconds for plan in (program.plan(comparison="fss"), plain)]
    assert seconds[0] < 1.05 * seconds[1]
    assert np.abs(answers(program, x) - execute(program, x).numpy()).max() < 0.01 * execute(program, x).abs().max()


def test_worst_ranges_are_precise_on_the_whole_range_or_say_that_they_are_not():
    case = random_case(19)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", ar.CompileWarning)
        program = ar.compile(case.gm, case.examples, ranges="worst")
    within = InputRange.of_plan(program.plan())
    low, high = (torch.from_numpy(end)[:, None, None] for end in (within.low, within.high))
    noise = low + (high - low) * torch.rand(64, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    exact = execute(program, noise).numpy()
    off = np.abs(answers(program, noise) - exact).max(1) / np.abs(exact).max(1)
    assert off.max() < 0.1 or any("of the whole input range" in str(w.message) for w in said)


def test_an_unknown_kind_of_range_is_an_error_that_names_them_all():
    x = images(4)
    gm = ar.transform(nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU()).eval(), example_inputs=x)
    with pytest.raises(ValueError, match="ranges must be one of 'calibrated', 'extreme', 'worst', got 'best'"):
        ar.compile(gm, x, ranges="best")
