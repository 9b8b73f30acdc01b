"""Sites of lines: what needs no interaction does not travel, and the result is the same."""

import json

import numpy as np
import pytest
import torch
from native_runs import hold, planned
from networks import images
from torch import nn

import autorep_fx as ar
from autorep_fx import SecureProgram
from autorep_fx.errors import FormatError
from autorep_fx.secure.cost.cost import plan_cost
from autorep_fx.secure.lower.lowered import lowered
from autorep_fx.secure.plan.plan import Step
from autorep_fx.secure.plan.validate import RULES
from autorep_fx.secure.planner.lines import lines_of
from autorep_fx.secure.planner.precision import measured
from autorep_fx.secure.planner.site import Site
from autorep_fx.secure.program import step_json
from autorep_fx.secure.program.checks import check_step


class Net(nn.Module):
    """Sites behind a layer that takes their slopes, behind a sum, behind a pooling, and on a vector."""

    def __init__(self, act):
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.c3, self.fc1, self.fc2 = nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 12), nn.Linear(12, 4)
        self.acts = nn.ModuleList([act() for _ in range(5)])
        self.pool = nn.AvgPool2d(2)

    def forward(self, x):
        x = self.acts[0](self.c1(x))
        x = self.acts[1](self.c3(self.acts[2](self.pool(self.c2(x)))) + self.pool(x))
        return self.fc2(self.acts[3](self.fc1(x.mean((2, 3)))))


def network(act, replaced, kept_sites=(0, 1, 2, 3), seed=0):
    torch.manual_seed(seed)
    gm = ar.transform(Net(act).eval(), example_inputs=images())
    generator = torch.Generator().manual_seed(seed)
    for i, site in enumerate(ar.sites(gm).values()):
        keep = torch.rand(site.shape, generator=generator) >= replaced
        keep[3] = False  # a channel without any
        site.set_keep(keep if i in kept_sites else torch.zeros_like(keep))
        coeffs = torch.rand(2, site.shape[0], generator=generator)
        coeffs[1, :5] = torch.tensor([-0.3, 0.0, 0.05, 0.01, 1.0])  # negative, none, small, small and alone, as it is
        site.set_coeffs(coeffs)
    return gm


@pytest.mark.parametrize("comparison", ["fss", "gmw"])
@pytest.mark.parametrize("replaced", [0.6, 0.9, 1.0])
@pytest.mark.parametrize("act", [nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.SiLU, nn.PReLU])
def test_the_result_is_the_same(act, replaced, comparison):
    gm, x = network(act, replaced), images(6)
    result = hold(lowered(gm, x), x, comparison=comparison, examples=images(32))
    assert np.abs(result.output - gm(x).detach().numpy()).max() < 0.002


@pytest.mark.parametrize("kept_sites", [(), (0,), (1,), (2, 3)])
def test_a_site_without_kept_positions_sends_nothing(kept_sites):
    gm, x = network(nn.ReLU, 0.9, kept_sites), images(6)
    plan, numbers = planned(lowered(gm, x), x)
    sent = [s for s in plan.steps if s.op == "activation" and s.attrs["kind"] != "truncate"]
    assert len(sent) == len(kept_sites)
    hold(lowered(gm, x), x)


def test_slopes_go_into_the_layer_before():
    conv, site = nn.Conv2d(3, 4, 3), nn.ReLU()
    gm = ar.transform(nn.Sequential(conv, site, nn.Conv2d(4, 2, 1)).eval(), calibration=images(64), degree=1)
    for each in ar.sites(gm).values():
        each.set_keep(torch.zeros_like(each.keep))
    plan, _ = planned(lowered(gm, images()), images(64))
    assert [s.op for s in plan.steps] == ["input", "map", "map", "output"]
    hold(lowered(gm, images()), images(), examples=images(64))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("second_is_a_layer", [True, False])
@pytest.mark.parametrize("kept", [0.0, 0.2])
def test_slopes_go_into_the_parts_of_a_sum(kept, second_is_a_layer, sign):
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.c1, self.c2 = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, padding=1)
            self.c3, self.c4 = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 2, 1)

        def forward(self, x):
            y = self.c1(x).relu()
            other = self.c3(y) if second_is_a_layer else y
            return self.c4((other + self.c2(y) if sign > 0 else other - self.c2(y)).relu())

    torch.manual_seed(0)
    gm = ar.transform(Sum().eval(), example_inputs=images())
    *_, site = ar.sites(gm).values()
    site.set_keep(torch.rand(site.shape, generator=torch.Generator().manual_seed(0)) < kept)
    site.set_coeffs(torch.stack([torch.linspace(-1, 1, 8), torch.linspace(0.2, 0.9, 8)]))
    plan, _ = planned(lowered(gm, images()), images(64), useful=10)
    assert sum(s.attrs.get("kind") == "channel" for s in plan.steps) == (kept > 0) + (not second_is_a_layer)
    result = hold(lowered(gm, images()), images(), examples=images(64), useful=10)
    assert np.abs(result.output - gm(images()).detach().numpy()).max() < 0.002


def _deep(layers=24):
    torch.manual_seed(0)
    parts = []
    for _ in range(layers):
        parts += [nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()]
    net = nn.Sequential(*parts, nn.Flatten(), nn.Linear(256, 3)).eval()
    gm = ar.transform(net, calibration=images(64, 4), degree=1)
    for each in ar.sites(gm).values():
        each.set_keep(torch.zeros_like(each.keep))
    return gm


def test_truncations_come_as_late_as_there_is_room():
    gm, x = _deep(), images(4, 4)
    plan, _ = planned(lowered(gm, x), images(64, 4))
    assert plan_cost(plan).rounds <= 2 + 2 * 24 // 3  # every third layer, or later
    hold(lowered(gm, x), x, examples=images(64, 4))


def test_a_site_that_travels_is_truncated_whole_before_a_message_is_added():
    gm, x = _deep(), images(4, 4)
    generator = torch.Generator().manual_seed(0)
    for site in ar.sites(gm).values():
        site.set_keep(torch.rand(site.shape, generator=generator) < 0.1)
    plan, _ = planned(lowered(gm, x), images(64, 4))
    sizes = [s.size for s in plan.steps if s.op == "activation"]
    assert plan_cost(plan).rounds == 2 + 2 * 24 and len(sizes) == 24
    assert 4 <= sizes.count(256) <= 12 and max(s for s in sizes if s < 256) <= 128
    hold(lowered(gm, x), x, examples=images(64, 4))


def test_too_few_lines_and_squares_travel_whole():
    kept = np.arange(40)

    def site(kept, coeffs, kind="relu"):
        return Site("s", kind, 0.0, kept, np.setdiff1d(np.arange(64), kept), 16, np.array(coeffs), np.ones(4))

    line, square = [[0.1] * 4, [0.5] * 4, [0.0] * 4], [[0.1] * 4, [0.5] * 4, [0.0, 0.0, 0.1, 0.0]]
    assert lines_of(site(kept, line), True) is None
    assert lines_of(site(kept[:20], square), True) is None
    assert lines_of(site(kept[:20], line, "prelu"), True) is None
    small = [[0.1] * 4, [0.05] * 4, [0.0] * 4]  # every line would travel
    assert lines_of(site(np.arange(0, 64, 4), small), True) is None
    assert list(lines_of(site(kept[:20], line), True).travels) == list(range(20))


def test_a_plan_with_places_is_read_back(tmp_path):
    gm, x = network(nn.ReLU, 0.9), images(32)
    program = ar.compile(gm, x)
    assert any(s.attrs.get("kind") == "take" for s in program.native[0].steps)
    program.save(tmp_path)
    again = SecureProgram.load(tmp_path)
    assert again.native[0].digest() == program.native[0].digest()
    assert all(use.fits for use in again.headroom(x).uses)
    text = (tmp_path / "public.json").read_text()
    found = [v for s in json.loads(text)["plan"] for v in s["attrs"].values() if isinstance(v, dict) and "places" in v]
    assert found


@pytest.mark.parametrize("places", ["", "AA==", "gA==", "gAA=", "gAAA", "*", 3])
def test_places_have_one_form(places):
    row = {"name": "a", "op": "local", "inputs": ["b"], "shape": [9], "frac_bits": 0,
           "attrs": {"positions": {"places": places}}}  # fmt: skip
    with pytest.raises(FormatError):
        step_json.from_json(Step, row, "a step")


@pytest.mark.parametrize("kind, positions, shape, known, message", [
    ("take", np.array([0, 12]), (2,), (3, 4), "beyond"),
    ("take", np.array([0, 11]), (3,), (3, 4), "gives the shape"),
    ("put", np.array([0, 11]), (3, 4), (3,), "puts"),
    ("put", np.array([0, 12]), (3, 4), (2,), "increasing positions"),
])  # fmt: skip
def test_what_is_taken_and_put_is_there(kind, positions, shape, known, message):
    step = Step("a", "local", ("x",), shape, 0, 64, {"kind": kind, "positions": positions, "shifts": (0,)})
    with pytest.raises(FormatError, match=message):
        check_step(step, RULES["local", kind], {"x": known})


def test_truncations_are_as_many_as_precision_takes():
    gm, x = _deep(), images(64, 4)
    coarse, fine = (ar.compile(gm, x, max_error=error) for error in (2e-2, 2e-5))  # far enough apart for any CPU
    rounds = [program.cost("lan").rounds for program in (coarse, fine)]
    off = [measured(p, *p.native, x).error for p in (coarse, fine)]
    assert rounds[0] < rounds[1] and off[1] < off[0] <= 2e-2 and off[1] <= 2e-5
