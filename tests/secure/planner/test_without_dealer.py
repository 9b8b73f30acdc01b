"""Plans for two who make the correlations themselves: what they cost then, and what they promise of roundings."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from edge_networks import EDGES, networks
from hypothesis import HealthCheck, given, settings
from native_runs import compiled
from networks import images, replace
from torch import nn

import autorep_fx as ar
from autorep_fx.errors import CompileError
from autorep_fx.secure.host.threads import run
from autorep_fx.secure.makers.table import PAIRED
from autorep_fx.secure.plan import wire
from autorep_fx.secure.plan.plan import SPARE
from autorep_fx.secure.plan.ring import decode
from autorep_fx.secure.plan.rounding import Rounding
from autorep_fx.secure.plan.simulate import _walk, expected
from autorep_fx.secure.planner.known_gains import DRAWN, DRAWN_BY_TWO
from autorep_fx.secure.planner.node import Margins, Node
from autorep_fx.secure.planner.noise_gains import gains
from autorep_fx.secure.planner.planned import Chosen
from autorep_fx.secure.planner.room import NoRoom, check_room
from autorep_fx.secure.planner.table import PLANNED


def lines():
    """Layers of lines, one behind the other: what takes rings of 64 bits, or truncations between them."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()]
    for _ in range(4):
        layers += [nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, 4)).eval()


def as_lines(gm):
    for site in ar.sites(gm).values():
        site.set_coeffs(torch.tensor([[0.2], [0.5]]).expand(2, site.shape[0]).clone())
        site.set_keep(torch.zeros(site.shape, dtype=torch.bool))
    return gm


@pytest.fixture(scope="module")
def both():
    """Programs of a network of lines for runs with a dealer, and without one."""
    model = lines()
    return [compiled(model, images(8), as_lines, network="wan", dealer=dealer) for dealer in (True, False)]


def test_a_plan_for_two_costs_two_less(both):
    dealt, paired = both
    for program, other in ((dealt, paired), (paired, dealt)):
        dealer = program is dealt
        own, others = (p.cost("wan", dealer=dealer) for p in (program, other))
        if dealer:
            assert own.online_seconds < others.online_seconds
        else:
            assert own.total_seconds < 0.8 * others.total_seconds
            assert sum(own.offline.values()) < 0.8 * sum(others.offline.values())
    assert {step.width for step in dealt.base_plan.steps} == {64}
    assert {step.width for step in paired.base_plan.steps} == {32}


def test_a_plan_for_two_runs_with_a_dealer_too(both):
    x = images(2)
    plan, numbers = both[1].native
    exact = lines()
    as_lines_of = ar.transform(exact, example_inputs=x)
    wanted = as_lines(as_lines_of)(x).detach().numpy()
    for options in ({"maker": PAIRED}, {}):
        output = run(plan.with_comparison("gmw"), numbers, x.double().numpy(), **options)[0].output
        model = expected(plan, numbers, x.double().numpy(), nearest=bool(options))
        assert (np.abs(output - model.output) <= model.bound).all()
        assert np.abs(output - wanted).max() < 0.02 * np.abs(wanted).max()


def test_a_program_says_for_whom_it_was_planned(both, tmp_path):
    dealt, paired = both
    assert "without a dealer" in repr(paired) and "without a dealer" in str(paired).splitlines()[0]
    assert "dealer" not in repr(dealt) + str(dealt).splitlines()[0]
    assert dealt.cost("wan").note == paired.cost("wan", dealer=False).note == ""
    assert "compile(..., dealer=False)" in str(dealt.cost("wan", dealer=False))
    assert "for two without a dealer" in str(paired.cost("wan"))
    paired.save(tmp_path)
    assert not ar.SecureProgram.load(tmp_path).dealer
    dealt.save(tmp_path)
    assert ar.SecureProgram.load(tmp_path).dealer


def test_precision_is_judged_by_the_roundings_of_two():
    """Of variance 1/4: the same bits add more to the output, and those that are drawn are what a run draws."""
    program = compiled(lines(), images(8), as_lines)
    x = images(8).double()
    one, two = gains(program, x), gains(program, x, DRAWN_BY_TWO)
    name = program.public.steps[0].name
    assert two.truncated(name) / one.truncated(name) == pytest.approx(DRAWN_BY_TWO / DRAWN)
    assert two.output / one.output == pytest.approx(DRAWN_BY_TWO / DRAWN) and two.rounded(name) == one.rounded(name)


def test_a_wire_has_room_for_a_unit_and_a_half_beside_its_values():
    node, f = Node("wire", "activation", [], (1,), wire=32), 8
    for reach, fits in ((4 - 1.625 * 2.0**-f, True), (4 - 1.25 * 2.0**-f, False)):
        try:
            check_room(node, 28, reach, Margins(0, 0), f)
            assert fits
        except NoRoom as lacks:
            assert not fits and lacks.bits == 1
    check_room(node, 28, 4 - 1.25 * 2.0**-f, Margins(0, 0), 28)  # nothing is cut off


def test_a_bound_for_all_inputs_has_a_unit_and_a_half_for_every_truncation():
    cut = Node("cut", "activation", ["x"], (1,), bits=8)
    product = Node("product", "product", ["x", "x"], (1,), bits=8, reach=1 / 2, reach_kept=1 / 2)
    nodes = {"x": Node("x", "input", [], (1,)), "cut": cut, "product": product}
    chosen, given = Chosen(nodes, {"x": 20, "cut": 8, "product": 16}, None), np.array([[0.5]])
    unit = 2.0**-cut.frac_bits
    assert PLANNED["activation"].bound(chosen, cut, [given]).result == 0.5 + 1.5 * unit
    assert PLANNED["product"].bound(chosen, product, [given, given]).result == (0.5 + 1.5 * unit) ** 2


def test_a_map_that_two_cannot_prepare_is_refused_before_it_is_run():
    net = nn.Sequential(nn.Conv2d(1, 1, (1, 2), dilation=(1, 5000)), nn.ReLU(), nn.Flatten(), nn.Linear(1, 2)).eval()
    x = torch.randn(4, 1, 1, 5001)
    assert ar.compile(ar.transform(net, example_inputs=x), x).base_plan is not None
    with pytest.warns(ar.CompileWarning, match="dealer=True can.: _0: a kernel of 2 with dilation 5000 is too long"):
        made = ar.compile(ar.transform(net, example_inputs=x), x, dealer=False)
    with pytest.raises(CompileError, match="too long"):
        made.run(x, dealer=False)


@dataclass(frozen=True)
class Extreme(Rounding):
    """What two may come to at most: the difference of their low bits is as large as it gets, up or down."""

    up: bool = True

    def added(self, shift, shape):
        most = 2**shift - 1
        return (most if self.up else -most) + (1 << (shift - 1))


@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(networks(), EDGES.filter(bool))
def test_bounds_for_all_inputs_hold_for_the_largest_roundings_of_two(network, example):
    model, fraction = network
    gm = replace(ar.transform(model, example_inputs=torch.zeros(1, 2, 4, 4)), fraction)
    x = torch.full((1, 2, 4, 4), example)
    made = ar.compile(gm, x, ranges="worst", margin_bits=0, max_error=1e9, dealer=False)
    if made.base_plan is None:
        assert "no room" in made.obstacle
        return
    plan, numbers = made.native
    signs = torch.randint(0, 2, (6, 2, 4, 4), generator=torch.Generator().manual_seed(0)) * 2.0 - 1
    signs[0], signs[1] = 1, -1
    for up in (True, False):
        _walk(plan, numbers, (signs * example).double().numpy(), Extreme(True, up=up), Rooms(numbers))


class Rooms:
    """Looks at every masked wire of a walk."""

    def __init__(self, numbers):
        self.numbers, self.seen = numbers, {}

    def __call__(self, step, value):
        self.seen[step.name] = decode(value, step.frac_bits)
        if step.masked:
            assert_room(step, [self.seen[name] for name in step.inputs], self.numbers.get(step.name))


def assert_room(step, given, own):
    """Values on a wire, and what truncation adds, lie within the ring's part that is exact; compared ones in
    windows."""
    shifts = np.atleast_1d(step.attrs["shift"]).tolist()
    for value, exponent, shift in zip(given, wire.exponents(step), shifts):
        if own is not None and own.constant is not None:
            value = value + decode(own.constant, exponent)
        units = np.abs(np.ldexp(value, exponent))
        assert units.max() + 1.5 * 2**shift * (shift > 0) <= 2 ** (step.attrs["wire"] - SPARE)
        if len(step.attrs.get("kept", ())):
            kept = units.reshape(len(units), -1)[:, step.attrs["kept"]].max() / 2**shift
            assert kept + (shift > 0) <= 2 ** (step.attrs["window"] - 1)


def test_a_checked_program_is_not_planned_for_two():
    with pytest.raises(ValueError, match="checked=True needs a dealer"):
        compiled(lines(), images(8), checked=True, dealer=False)
