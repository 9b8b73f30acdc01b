"""Helpers of the tests here: plans from models, and runs in threads held against the fixed-point model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from networks import compile

import autorep_fx as ar
from autorep_fx.secure.host.threads import run
from autorep_fx.secure.makers.table import DEALT
from autorep_fx.secure.plan.input_range import InputRange
from autorep_fx.secure.plan.simulate import expected
from autorep_fx.secure.planner.fold_squares import unit_squares
from autorep_fx.secure.planner.planner import Planning
from autorep_fx.secure.planner.ranges import calibrated
from autorep_fx.secure.program.plaintext import execute


def planned(program, x, useful=10, **options):
    """(plan, numbers) with ranges from ``x``, and 10 significant bits wherever they fit any wire."""
    unit, reach = unit_squares(program, calibrated(program, x))
    return make_plan(unit, reach, InputRange.of_examples(x.numpy()), useful=useful, **options)


def compared(plan, comparison):
    """The plan in a variant, or with ``"table"`` wherever there may be one, and trees elsewhere."""
    if comparison != "table":
        return plan.with_comparison(comparison)
    steps = (replace(s, attrs={**s.attrs, "comparison": "table"}) if "grid" in s.attrs else s
             for s in plan.with_comparison("gmw").steps)  # fmt: skip
    return replace(plan, steps=tuple(steps))


def make_plan(program, reach, within, *, error=0.02, **options):
    """The plan for one error, and what the server alone has of it. options: of ``Planning``."""
    return Planning(program, reach, within, **options).made(error)


def hold(program, x, *, comparison="fss", examples=None, maker=DEALT, **options):
    """Run in threads; the output must be within the bound of the fixed-point model. Returns the run."""
    plan, numbers = planned(program, x if examples is None else examples, **options)
    plan = compared(plan, comparison)
    values = x.double().numpy()
    result = run(plan, numbers, values, maker=maker)[0]
    model = expected(plan, numbers, values, nearest=maker is not DEALT)
    assert result.output.shape == model.output.shape
    assert np.all(np.abs(result.output - model.output) <= model.bound), np.abs(result.output - model.output).max()
    result.plan, result.model = plan, model
    result.exact = execute(program, x).numpy()
    return result


def compiled(model, x, transform=None, **options):
    gm = ar.transform(model.eval(), example_inputs=x)
    return compile(gm if transform is None else transform(gm), x, **options)
