"""What a plan's digest covers, and that a party takes no plan that it could not run."""

from dataclasses import replace

import numpy as np
import pytest
from native_runs import compiled
from networks import Everything, images
from networks import replace as replace_activations
from observed import attends
from torch import nn

from autorep_fx.errors import FormatError
from autorep_fx.secure.makers.dealt.table import DEALINGS
from autorep_fx.secure.parties.client import Client
from autorep_fx.secure.parties.table import EVALUATE
from autorep_fx.secure.plan import table
from autorep_fx.secure.plan.local import LOCAL
from autorep_fx.secure.plan.plan import Plan, Step
from autorep_fx.secure.plan.validate import RULES, check_plan
from autorep_fx.secure.planner.table import PLANNED, SOURCES
from autorep_fx.secure.program.checks import check_step
from autorep_fx.secure.program.table import OPERATIONS


@pytest.fixture(scope="module")
def plan():
    model = Everything()
    model.prelu = nn.LeakyReLU(0.2)
    return compiled(model, images(), lambda gm: replace_activations(gm, 0.5)).native[0]


def others(value):
    """Other values in its place, of the same type and of others that look alike."""
    if isinstance(value, np.ndarray) and value.dtype == bool:
        return [~value, np.flatnonzero(value), None]
    if isinstance(value, np.ndarray):
        return [value[1:], np.arange(0)] if len(value) > 1 else [np.array([3])]
    if isinstance(value, dict):
        return [{"mean": (0.0, 1.0)}, {"mean": (0.0, 2.0)}, ()]
    if isinstance(value, tuple):
        return [(*value, 7), str(value), (value,), *([value[:-1]] if value else [])]
    if isinstance(value, bool):
        return [not value, int(value), str(value)]
    if isinstance(value, int):
        return [value + 1, value + 1000, float(value), str(value)]
    return [f"{value}x", 0, 7.5] if value is not None else [0, "None", False]


def test_the_digest_covers_everything(plan):
    found = {}

    def see(step, what):
        digest = Plan((step,)).digest()
        assert digest not in found, f"{what} and {found[digest]}"
        found[digest] = what

    for step in plan.steps:
        see(step, step.name)
        positions = any(isinstance(value, np.ndarray) for value in step.attrs.values())
        for field in ("name", "op", "inputs", "frac_bits", *(() if positions else ("shape",))):
            for value in others(getattr(step, field)):
                see(replace(step, **{field: value}), f"{field} of {step.name} as {value!r}")
        for key, old in step.attrs.items():
            for value in others(old):
                see(replace(step, attrs={**step.attrs, key: value}), f"{key} of {step.name} as {value!r}")
            see(replace(step, attrs={k + "x" * (k == key): v for k, v in step.attrs.items()}), f"{key} renamed")
            see(replace(step, attrs={k: v for k, v in step.attrs.items() if k != key}), f"no {key} of {step.name}")


def test_the_digest_covers_shape_and_type_of_arrays():
    def digest(shape, kept):
        return Plan((Step("a", "activation", (), shape, 0, 64, {"kept": kept}),)).digest()

    kept = np.arange(4)
    same = [digest((8,), kept), digest((16,), kept), digest((2, 4), kept), digest((8,), np.arange(8) < 4)]
    same += [digest((8,), kept + 4), digest((8,), kept + 5), digest((2,), kept)]  # beyond the sample: for a 'take'
    assert len({*same}) == len(same)
    for other in (kept.astype(np.int32), kept.reshape(2, 2), kept[::-1], kept.astype(float)):
        with pytest.raises(TypeError, match="no form in a file"):
            digest((8,), other)


@pytest.mark.parametrize("change, message", [
    ({"shift": 63}, "'shift' of step '.*' must be an integer from 0 to 62"),
    ({"window": 64}, "'window' of step '.*' must be an integer from 2 to 63"),
    ({"kept": np.array([1, 0])}, "'kept' of step '.*' must be increasing positions within the sample"),
    ({"kept": np.array([10**9])}, "increasing positions within the sample"),
    ({"kept": np.array([0, 1], np.int32)}, "increasing positions within the sample"),
    ({"kept": np.arange(0)}, "compares without kept positions"),
    ({"kind": "gelu"}, "keeps gelu, which cannot be compared"),
    ({"powers": 0}, "needs truncated values|has lines among squares"),
    ({"linear": np.zeros(3, bool)}, "'linear' of step '.*' must be a boolean mask"),
    ({"comparison": "guess"}, "'comparison' of step '.*' must be one of fss, gmw, table, None"),
    ({"comparison": "table"}, "has tables and no grid"),
    ({"grid": 3}, "has a grid of other cells than its window's"),
    ({"align": 1}, r"'frac_bits' of step '.*' must be \d+|no room for 6"),
])  # fmt: skip
def test_a_party_takes_no_such_plan(plan, change, message):
    i, step = next((i, s) for i, s in enumerate(plan.steps) if s.attrs.get("comparison") and s.attrs["kind"] == "relu6")
    bad = Plan((*plan.steps[:i], replace(step, attrs={**step.attrs, **change}), *plan.steps[i + 1 :]))
    with pytest.raises(FormatError, match=message):
        Client(bad)


@pytest.mark.parametrize("comparison", ["fss", "gmw", "table"])
@pytest.mark.parametrize("change, message", [
    ({"window": None}, "compares without a window"),
    ({"knots": (), "c0": (5,), "c1": (0,), "c2": (0,)}, "'knots' of step 's' must be 1 to 64 times"),
    ({"knots": (0, 64), "c0": (1, 2, 3), "c1": (0, 0, 0), "c2": (0, 0, 0)}, None),
    ({"knots": (0, 256), "c0": (1, 2, 3), "c1": (0, 0, 0), "c2": (0, 0, 0)}, "a knot off its grid"),
    ({"knots": (-256,)}, None),
    ({"knots": (4,)}, "a knot off its grid"),
])  # fmt: skip
def test_a_spline_has_a_window_and_knots_that_all_parties_can_compare_with(comparison, change, message):
    spline = {"kind": "gelu", "wire": 64, "shift": 0, "align": 12, "powers": 1, "kept": np.arange(2), "linear": None,
              "comparison": comparison, "window": 10, "grid": 3, "knots": (8,), "c0": (0, 1), "c1": (0, 1),
              "c2": (0, 0), "error": 0.1}  # fmt: skip
    attrs = {key: value for key, value in {**spline, **change}.items() if value is not None or key == "linear"}
    step = Step("s", "activation", ("x",), (2,), 22, 64, attrs)
    if message is None:
        check_step(step, RULES["activation", None], {"x": (2,)})
        return
    with pytest.raises(FormatError, match=message):
        check_step(step, RULES["activation", None], {"x": (2,)})


@pytest.mark.filterwarnings("ignore:no activation was found")
def test_a_product_of_matrices_is_no_wider_than_its_wire():
    plan = attends(1).native[0]
    assert check_plan(plan) is plan
    steps = [replace(step, width=64, attrs={**step.attrs, "wire": 32}) if step.op == "matmul" else step
             for step in plan.steps]  # fmt: skip
    with pytest.raises(FormatError, match="wider than its wire"):
        check_plan(replace(plan, steps=tuple(steps)))


def test_order_and_names(plan):
    first, second, *rest = plan.steps
    for steps in ((second, first, *rest), plan.steps[1:], plan.steps[:-1], (first, second, second, *rest), ()):
        with pytest.raises(FormatError):
            check_plan(Plan(tuple(steps)))
    assert check_plan(plan) is plan


def test_every_operation_has_a_rule():
    assert {kind for op, kind in RULES if op == "local"} == {*LOCAL}
    assert {*SOURCES} == {*OPERATIONS}


def test_every_operation_of_a_plan_is_planned_evaluated_and_dealt():
    assert {*PLANNED} == {*table.OPERATIONS}
    masked = {op for op, operation in table.OPERATIONS.items() if operation.masked}
    assert masked == {*EVALUATE} == {*DEALINGS}
    assert all((PLANNED[op].rooms is not None) == (op in masked) for op in PLANNED)
