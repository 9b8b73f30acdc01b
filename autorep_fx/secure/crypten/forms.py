"""A program in CrypTen's number format: which form each polynomial takes, and what the format has room for.

A replaced position takes one of two forms, chosen per channel when the program is compiled; the choice is public.

``square``: ``c2 (x + o)**2 + e`` with ``o = c1 / (2 c2)`` and ``e = c0 - c2 o**2``. The coefficients stay private: the
server shares ``o``, ``c2`` and ``e``; one squaring and one product. ``c2`` is first rounded to the grid, then ``o`` is
computed from the rounded one, then ``e`` from both (fixed_point.py), so the rounding of ``c2`` is not multiplied by
o**2. What is left of it is, for |x| <= R and u = 2**-frac_bits,

    |c2' - c2| x**2 + |2 c2' o' - c1| |x|  <=  u/2 R**2 + c2 u R .

A square has to be divided by 2**frac_bits on shares, which fails with probability (x + o)**2 2**(2 frac_bits) / 2**64
(see precision.py) and then destroys the result. A vertex far outside of the data (``c2`` tiny: the fit is nearly a
line) makes that likely and gains nothing, so this form is taken only where |o| <= 2 R, R being the largest calibrated
|x| of the site: then (x + o)**2 <= 9 R**2, within a factor 9 of what squaring x itself would risk.

``direct``: ``(... (c_d x + c_{d-1}) x + ...) x + c0``, Horner's rule, ``d`` products. Everything else takes it: sites
of degree 1 (one product), 3 and 4, ``c2 <= 0``, and vertices far out. It has no large intermediate value, and the
rounding of each product is multiplied by |x| in the next; ``square`` multiplies it by c2 < 1 and sends one tensor less.
A channel with c2 == 0 in a site of degree 2 is computed like one with c2 < 0, so the program does not say that it is a
line.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from ...errors import CompileError
from ..program.program import Program, Step
from ..program.ranged import RANGED
from ..program.spline import BITS, SPLINE_ERROR, allowed, spline
from .fixed_point import FixedProgram, FixedPublic


def fixed_program(program: Program, frac_bits: int, reach: Mapping[str, np.ndarray]) -> FixedProgram:
    """The program with a form for every polynomial.

    A hybrid step's ``replaced`` positions become ``square`` and ``direct``, its ``coeffs`` become ``factor``,
    ``offset`` and ``constant`` (C,), zeros where that form does not apply, and ``coeffs`` (degree + 1, C).

    Args:
        reach: largest absolute values of each channel, by name, for the forms.

    Raises:
        CompileError: a step that CrypTen does not run here, or a number of the server that leaves no room for a product
            in the ring.
    """
    server, steps = dict(program.server), []
    program, reach = _balanced(program, reach)
    for step in program.steps:
        steps.append(_formed(step, program, server, frac_bits, reach) if step.op == "hybrid" else step)
    used = {key for step in steps for key in step.secrets.values()}
    server = {key: value for key, value in server.items() if key in used}
    public = {f.name: getattr(program.public, f.name) for f in dataclasses.fields(program.public)}
    public.update(steps=tuple(steps), secret_shapes={key: tuple(value.shape) for key, value in server.items()})
    made = FixedProgram(FixedPublic(**public, frac_bits=frac_bits), server)
    _check_room(made)
    return made


def _balanced(program: Program, reach: Mapping[str, np.ndarray]) -> tuple[Program, Mapping[str, np.ndarray]]:
    """Arguments of roots and reciprocals, which are at most around 1, so much larger that they have as many
    significant bits where they are least as the result has where that is least."""
    steps, reach = {step.name: step for step in program.steps}, dict(reach)
    for site in program.steps:
        power = RANGED[site.attrs["kind"]].power if site.op == "hybrid" and site.attrs["kind"] in RANGED else None
        if power is None:
            continue
        params, (name,) = site.attrs["params"], site.inputs
        factor = 4.0 ** max(round(math.log(params["low"], 4) / (power - 1)), 0)
        behind = next(step for step in program.steps if site.name in step.inputs)
        steps[site.name] = _with(site, params={**params, "low": params["low"] * factor})
        steps[name] = _with(steps[name], factor=steps[name].attrs["factor"] * factor)
        steps[behind.name] = _with(steps[behind.name], factor=steps[behind.name].attrs["factor"] * factor**-power)
        reach[name] = reach[name] * factor
    return Program(dataclasses.replace(program.public, steps=tuple(steps.values())), program.server), reach


def _with(step: Step, **attrs: object) -> Step:
    return dataclasses.replace(step, attrs={**step.attrs, **attrs})


def check_input(program: FixedProgram, x: Tensor) -> None:
    """Raise ValueError where ``x`` is too large for the number format."""
    limit = _limit(program.frac_bits)
    if x.abs().max() >= limit:
        raise ValueError(
            f"x holds values up to {float(x.abs().max()):.3g}; at frac_bits={program.frac_bits} the limit is "
            f"{limit:.3g}, compile with fewer frac_bits or scale the input"
        )


def _limit(frac_bits: int) -> float:
    """Products have 2 * frac_bits fractional bits and must stay below 2**62 in a ring of 64 bits."""
    return 2.0 ** (62 - 2 * frac_bits)


def _check_room(program: FixedProgram) -> None:
    limit = _limit(program.frac_bits)
    for step in program.steps:
        for role, value in program.secrets(step).items():
            largest = float(value.abs().max()) if value.numel() else 0.0
            if not largest < limit:  # NaN too
                raise CompileError(
                    f"the {role} of step '{step.name}' has values up to {largest:.3g}; on CrypTen with "
                    f"frac_bits={program.frac_bits} they must be finite and below {limit:.3g}"
                )


def _formed(
    step: Step, program: Program, server: dict[str, Tensor], frac_bits: int, reach: Mapping[str, np.ndarray]
) -> Step:
    attrs, secrets = dict(step.attrs), dict(step.secrets)
    replaced = attrs.pop("replaced")
    attrs["square"], attrs["direct"] = replaced[:0], replaced
    if "params" in attrs:
        attrs.update(_spline(step, frac_bits, reach))
    if len(replaced):
        coeffs = program.server[secrets["coeffs"]]
        largest = max(float(reach[step.inputs[0]].max()), 1.0)
        form = _square_form(coeffs, largest, frac_bits)
        is_square = (form["factor"] > 0)[replaced // attrs["per_channel"]]
        attrs["square"], attrs["direct"] = replaced[is_square], replaced[~is_square]
        if len(attrs["square"]):
            secrets.update({role: f"{step.name}.{role}" for role in form})
            server.update({secrets[role]: value for role, value in form.items()})
        if not len(attrs["direct"]):
            del secrets["coeffs"]
    return dataclasses.replace(step, attrs=attrs, secrets=secrets)


def _square_form(coeffs: Tensor, largest: float, frac_bits: int) -> dict[str, Tensor]:
    """``factor``, ``offset`` and ``constant`` per channel; zeros where the form does not apply."""
    if len(coeffs) != 3:
        nothing = torch.zeros(coeffs.shape[1], dtype=torch.float64)
        return {"factor": nothing, "offset": nothing, "constant": nothing}
    c0, c1, c2 = coeffs
    visible = c2 * 2.0**frac_bits >= 1  # does not vanish on the grid
    offset = c1 / (2 * torch.where(visible, c2, 1))
    applies = visible & (offset.abs() <= 2 * largest)
    factor, offset = torch.where(applies, c2, 0), torch.where(applies, offset, 0)
    return {"factor": factor, "offset": offset, "constant": torch.where(applies, c0 - factor * offset**2, 0)}


def _spline(step: Step, frac_bits: int, reach: Mapping[str, np.ndarray]) -> dict[str, tuple[float, ...]]:
    """Knots and pieces of what is kept, on the grid: a comparison has room for whatever a value may be here, so the
    range is one whose ends all kinds are straight at."""
    largest = float(reach[step.inputs[0]].max())
    limit = 2.0 ** (math.ceil(math.log2(max(largest, 8.0))) + 3)
    bits = min(frac_bits, 12)  # a grid of knots finer than that gains nothing
    error = allowed(step.attrs["kind"], SPLINE_ERROR, 4 * max(largest, 2.0**-2))
    try:
        found = spline(step.attrs["kind"], step.attrs["params"], limit, bits, error)
    except ValueError as refused:
        raise CompileError(f"'{step.name}' has no spline on CrypTen: {refused}; use backend='native'") from refused
    rows = {}
    for k in range(3):
        real = found.pieces[:, k].astype(np.float64) * 2.0 ** -(BITS + (2 - k) * bits)
        rows[f"c{k}"] = tuple((np.rint(real * 2.0**frac_bits) / 2.0**frac_bits).tolist())
    return {"knots": tuple((found.knots * 2.0**-bits).tolist()), **rows}
