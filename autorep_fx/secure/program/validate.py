"""Whether a program, whoever wrote it, is one that the backends can run: every step, and the server's tensors."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import FormatError
from ...graph.names import KINDS
from ...text import brief
from . import checks, shapes
from .checks import Check, Rule, check, check_step, one_of, pair, several, whole
from .kinds import EXACT
from .outputs import check_form
from .program import Program, Step
from .shapes import LARGEST, Shape, need
from .spline import function


@dataclass(frozen=True)
class Private(Rule):
    """A rule of a step that has tensors of the server.

    Attributes:
        secrets: role -> whether it must be there.
    """

    secrets: dict[str, bool] = field(default_factory=dict)

    __repr__ = brief


_POSITIONS = checks.POSITIONS._replace(holds=lambda v, s: isinstance(v, Tensor) and checks.POSITIONS.holds(v, s))
_DIVISOR = checks.NUMBER._replace(
    text="a finite number, not 0", holds=lambda v, s: checks.NUMBER.holds(v, s) and v != 0
)
_PARAMS = Check(
    "a table of numbers and words",
    lambda v, s: type(v) is dict and all(type(x) is str or checks.NUMBER.holds(x, s) for x in v.values()),
)
_POOL = {"kernel": pair(1), "stride": pair(1), "padding": pair(0)}


def _pool(step: Step, x: Shape) -> Shape:
    return shapes.pool(step.attrs, x)


def _conv2d(step: Step, x: Shape, weight: Shape, bias: Shape | None = None) -> Shape:
    need(bias in (None, weight[:1]), f"a bias of shape {bias}")
    return shapes.conv2d(step.attrs, weight, x)


def _linear(step: Step, x: Shape, weight: Shape, bias: Shape | None = None) -> Shape:
    need(bias in (None, weight[:1]), f"a bias of shape {bias}")
    return shapes.linear(weight, x)


def _affine(step: Step, x: Shape, scale: Shape, shift: Shape | None = None) -> Shape:
    need(shift in (None, scale), f"a shift of shape {shift}")
    return shapes.by_channel(scale, x)


def _add_private(step: Step, x: Shape, constant: Shape) -> Shape:
    shapes.broadcast(x, step.shape)
    return shapes.broadcast(constant, step.shape)


def _hybrid(step: Step, x: Shape, coeffs: Shape | None = None, slope: Shape | None = None) -> Shape:
    a = step.attrs
    need(len(x) >= 1 and a["per_channel"] * x[0] == math.prod(x), "counts other positions in a channel")
    both = torch.cat([a["kept"], a["replaced"]])
    need(len(both) == math.prod(x) == len(both.unique()), "must keep or replace each position")
    need(coeffs == ((a["degree"] + 1, x[0]) if len(a["replaced"]) else None), f"has coefficients of shape {coeffs}")
    kind = a["kind"] if len(a["kept"]) else ""
    need(kind in ("", *EXACT) or "params" in a, f"keeps {kind} and lacks its 'params'")
    need(kind in ("", *EXACT) or _computes(kind, a["params"]), f"has 'params' that are none of {kind}")
    own = EXACT.get(kind, EXACT["relu"])
    need(slope == (x[:1] if own.slope == "private" else None), f"has slopes of shape {slope}")
    need(own.slope != "public" or "slope" in a, "lacks 'slope'")
    return x


def _computes(kind: str, params: dict[str, Any]) -> bool:
    try:
        return bool(np.isfinite(function(kind, params)(np.array([-1.0, 0.0, 1.0]))).all())
    except (TypeError, ValueError, RuntimeError):
        return False


RULES: dict[str, Rule] = {
    "conv2d": Private(_conv2d, {"stride": pair(1), "padding": pair(0), "dilation": pair(1), "groups": checks.WHOLE},
                      secrets={"weight": True, "bias": False}),
    "linear": Private(_linear, secrets={"weight": True, "bias": False}),
    "affine": Private(_affine, secrets={"scale": True, "shift": False}),
    "add": Rule(lambda s, x, y: shapes.add(x, y), {"sign": checks.SIGN}, inputs=2),
    "mul": Rule(lambda s, x, y: shapes.add(x, y), inputs=2),
    "add_number": Rule(lambda s, x: x, {"number": checks.NUMBER}),
    "add_private": Private(_add_private, secrets={"constant": True}),
    "scale": Rule(lambda s, x: x, {"factor": checks.NUMBER}),
    "avg_pool2d": Rule(_pool, {**_POOL, "divisor": _DIVISOR}),
    "mean": Rule(lambda s, x: shapes.sum_over(s.attrs, x), {"dims": several(checks.WHOLE), "keepdim": checks.FLAG}),
    "max_pool2d": Rule(_pool, {**_POOL, "dilation": pair(1)}),
    "hybrid": Private(
        _hybrid,
        {"kind": one_of(*KINDS), "degree": whole(1, 16), "per_channel": whole(1, LARGEST), "kept": _POSITIONS,
         "replaced": _POSITIONS},
        {"slope": checks.NUMBER, "params": _PARAMS},
        secrets={"coeffs": False, "slope": False},
    ),
    "reshape": Rule(lambda s, x: shapes.reshape(x, s.shape)),
    "permute": Rule(lambda s, x: shapes.permute(s.attrs, x), {"dims": several(whole(0))}),
    "pad": Rule(lambda s, x: shapes.pad(s.attrs, x), {"pads": several(whole(-shapes.MOST))}),
    "index": Rule(lambda s, x: shapes.index(s.attrs, x), {"index": checks.INDEX}),
    "cat": Rule(lambda s, *parts: shapes.cat(s.attrs, *parts), {"dim": checks.WHOLE}, inputs=None),
}  # fmt: skip


def check_program(program: Program) -> Program:
    """``program``, whole.

    Raises:
        FormatError: names the step and the attribute, or the tensor.
    """
    public = program.public
    check(public.input, checks.NAME, "the input's name")
    check(public.input_shape, checks.SHAPE, "the input's shape")
    if len(public.steps) > checks.STEPS:
        raise FormatError(f"the program has more than {checks.STEPS} steps")
    known, used = {public.input: public.input_shape}, set()
    for step in public.steps:
        _check_step(step, known, program.server)
        known[step.name] = step.shape
        used.update(step.secrets.values())
    if type(public.output) is not str or public.output not in known:
        raise FormatError(f"no step computes the output '{str(public.output)[:60]}'")
    check_form(public.form, math.prod(known[public.output]))
    if used != set(program.server):
        raise FormatError(f"no step takes the tensor '{next(iter(set(program.server) - used))}'")
    if public.secret_shapes != {key: tuple(tensor.shape) for key, tensor in program.server.items()}:
        raise FormatError("the shapes of the server's tensors are not those that the program says")
    return program


def _check_step(step: Step, known: dict[str, Shape], server: dict[str, Tensor]) -> None:
    rule = RULES.get(step.op) if type(step.op) is str else None
    if isinstance(rule, Private):
        found = _secrets(step, rule, server)
        shape = functools.partial(rule.shape, **{role: tuple(tensor.shape) for role, tensor in found.items()})
        rule = Rule(shape, rule.attrs, rule.optional, rule.inputs)
    elif rule is not None and step.secrets:
        raise FormatError(f"step '{str(step.name)[:60]}' has private tensors and takes none")
    check_step(step, rule, known)


def _secrets(step: Step, rule: Private, server: dict[str, Tensor]) -> dict[str, Tensor]:
    where, needed = f"step '{str(step.name)[:60]}'", {role for role, always in rule.secrets.items() if always}
    if type(step.secrets) is not dict or not needed <= {*step.secrets} <= {*rule.secrets}:
        raise FormatError(f"{where} does not have the private tensors of its operation")
    found = {}
    for role, key in step.secrets.items():
        tensor = server.get(key) if type(key) is str else None
        if tensor is None:
            raise FormatError(f"the tensor '{str(key)[:60]}', {role} of {where}, is missing")
        if tensor.dtype != torch.float64 or not torch.isfinite(tensor).all():
            raise FormatError(f"the tensor '{key}', {role} of {where}, must be of float64 and finite")
        found[role] = tensor
    return found
