"""The input is clipped inside the protocol: nobody gets an answer to what lies outside of the published range."""

import numpy as np
import pytest
import torch
from networks import images
from torch import nn

import autorep_fx as ar
from autorep_fx.errors import CompileError
from autorep_fx.secure.cost.cost import plan_cost
from autorep_fx.secure.host.threads import connect, run
from autorep_fx.secure.link.network import network_of
from autorep_fx.secure.makers.table import maker_of
from autorep_fx.secure.plan.input_range import InputRange
from autorep_fx.secure.plan.plan import Plan, Step
from autorep_fx.secure.plan.simulate import expected
from autorep_fx.secure.plan.validate import check_numbers, check_plan
from autorep_fx.secure.planner.clamp import clamped, is_clamped, most_bits

F = 12

#: Ends of the ranges of three channels.
LOW, HIGH = np.array([-1.5, 0.0, -700.25]), np.array([2.0, 0.0, 90000.0])

MAKERS = [("fss", True), ("gmw", True), ("gmw", False)]


def bare(width):
    """A plan that gives its input back, bit by bit, but for what clips it."""
    within = InputRange(LOW, HIGH)
    source = Step("x", "input", (), (3, 40), F, width, within.attrs)
    return Plan((source, Step("output", "output", ("x",), (3, 40), F, width, {"shift": 0, "wire": width}))), within


def absurd(within):
    """(3, 40) elements of the ring of 32 bits: the ends, what is beside them, where they wrap, and any others."""
    low, high = (np.rint(end * 2.0**F).astype(np.int64) for end in within.admitted)
    rows = []
    for least, most in zip(low, high):
        there = [least, most, (least + most) // 2, *(end + way for end in (least, most) for way in (-1, 1))]
        around = [end + 2**31 + way for end in (least, most) for way in (-1, 0, 1)]
        powers = [sign * 2**k for sign in (1, -1) for k in (0, 11, 29, 30, 31)]
        row = [*there, *around, *powers, 0, 2**31 - 1, 2**31 - 2]
        random = np.random.default_rng(least % 97).integers(-(2**31), 2**31, 40 - len(row))
        rows.append(np.concatenate([row, random]))
    return np.stack(rows), low[:, None], high[:, None]


@pytest.mark.parametrize("comparison, dealer", MAKERS)
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("width", [32, 64])
def test_every_ring_element_is_clipped_and_none_of_the_range_is_changed(width, batch, comparison, dealer):
    plan, within = bare(width)
    plan, numbers = clamped(plan, {})
    check_numbers(check_plan(plan), numbers)
    elements, low, high = absurd(within)
    asked = np.stack([np.roll(elements, i, axis=1) for i in range(batch)])
    maker = maker_of(dealer, network_of("loopback"))
    found = run(plan.with_comparison(comparison), numbers, np.ldexp(asked.astype(np.float64), -F), maker=maker)[0]
    got = np.rint(np.ldexp(found.output, F)).astype(np.int64)
    # What wraps is what the ring says that it is: x - low as a signed number of 32 bits.
    above = (asked - low + 2**31) % 2**32 - 2**31
    np.testing.assert_array_equal(got, low + np.clip(above, 0, high - low))
    inside = (asked >= low) & (asked <= high)
    assert inside.any() and not inside.all() and (got[inside] == asked[inside]).all()
    model = expected(plan, numbers, np.ldexp(asked.astype(np.float64), -F))
    np.testing.assert_array_equal(np.ldexp(model.output, F), got)


def made(**options):
    torch.manual_seed(0)
    net = nn.Sequential(nn.ReLU(), nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3))
    return ar.compile(ar.transform(net.eval(), example_inputs=images()), images(16), **options)


@pytest.fixture(scope="module")
def both():
    return made(), made(clamp=True)


@pytest.mark.parametrize("comparison", ["fss", "gmw"])
def test_inputs_of_the_range_are_answered_as_without_and_others_as_what_is_left_of_them(both, comparison):
    (plan, numbers), (clipping, more) = (program.native for program in both)
    x = images(4).double().numpy()
    np.testing.assert_array_equal(expected(clipping, more, x).output, expected(plan, numbers, x).output)
    within = InputRange.of_plan(clipping)
    shape = (-1, 1, 1)
    low, high = (end.reshape(shape) for end in within.admitted)
    far = x * np.array([1.0, 20.0, -1e6, 3e7]).reshape(-1, 1, 1, 1)
    f = clipping.input.frac_bits
    as_sent = np.ldexp((np.rint(np.ldexp(far, f)) + 2.0**31) % 2.0**32 - 2.0**31, -f)
    model = expected(plan, numbers, np.clip(as_sent, low, high))
    found = run(clipping.with_comparison(comparison), more, far)[0].output
    assert (np.abs(found - model.output) <= model.bound).all()
    assert not (np.abs(run(plan, numbers, far)[0].output - model.output) <= model.bound).all()


@pytest.mark.parametrize("dealer", [True, False])
def test_it_costs_two_round_trips_and_what_is_declared_is_counted(both, dealer):
    for comparison in ("fss", "gmw") if dealer else ("gmw",):
        plan, clipping = (program.native[0].with_comparison(comparison) for program in both)
        maker = maker_of(dealer, network_of("loopback"))
        cost, before = (plan_cost(each, "loopback", batch=2, maker=maker) for each in (clipping, plan))
        members = connect(clipping, both[1].native[1], maker=maker)
        result = run(clipping, both[1].native[1], images(2).double().numpy(), members=members)[0]
        assert result.online["client"].depth == cost.rounds
        assert comparison == "gmw" or cost.rounds == before.rounds + 4
        for role in ("client", "server"):
            assert result.online[role].total_bytes == cost.online[role]
            assert not dealer or result.offline[role].total_bytes == cost.offline.get(role, 0)


def test_prices_plans_and_reports_name_what_clips(both):
    program = both[1]
    assert is_clamped(program.native[0]) and not is_clamped(both[0].native[0])
    name = program.public.input
    assert f"{name}.clamp.low" in str(program.plan()) and f"{name}.clamp.high" in program.cost().steps
    gm = ar.transform(nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU()).eval(), example_inputs=images())
    report = str(ar.inspect(gm, program=ar.compile(gm, images(16), clamp=True)))
    row = next(line.split() for line in report.splitlines() if line.split()[:1] == ["input_1.clamp"])
    assert row[1:4] == ["fss", "of", "32"] and "4" in row


def test_a_client_still_says_itself_what_lies_outside(both, tmp_path):
    program = both[1]
    x = images(2)
    x[1, 2, 3, 3] = 1e3
    with pytest.raises(ValueError, match="x holds 1 values beyond the range.*1000 in sample 1, channel 2"):
        program.run(x)
    assert not program.headroom(x).fits and program.headroom(images(2)).fits
    program.save(tmp_path)
    assert ar.SecureProgram.load(tmp_path).native[0].digest() == program.native[0].digest()


def test_roundings_of_the_input_leave_room_for_its_range():
    wide = made(clamp=True, input_range=(-1e5, 1e5), max_error=1.0).native[0]
    assert wide.input.frac_bits <= most_bits(InputRange.given(-1e5, 1e5, 3)) < made().native[0].input.frac_bits + 1
    with pytest.raises(CompileError, match="an input range of -1e\\+09 to 1e\\+09 is too wide to be clipped to"):
        made(clamp=True, input_range=(-1e9, 1e9), max_error=1.0)


def test_checked_programs_clip_unless_told_not_to():
    for clamp, clips in ((None, True), (True, True), (False, False)):
        plan = made(checked=True, clamp=clamp).native[0]
        assert plan.checked and is_clamped(plan) == clips and check_plan(plan)
    assert not made().native[0].checked


def test_what_cannot_clip_says_so(both):
    with pytest.raises(ValueError, match="backend='crypten' clips no inputs, and this program was compiled with clamp"):
        both[1].run(images(), backend="crypten")
    with pytest.raises(ValueError, match="clamp must be True, False or None, got 'yes'"):
        made(clamp="yes")
    cubes = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    gm = ar.transform(cubes.eval(), calibration=images(16), degree=3, relu_budget=0)
    with pytest.raises(CompileError, match="clamp=True is for the native runtime, which cannot run this program: "):
        ar.compile(gm, images(16), clamp=True)
