"""Whether a program, whoever wrote it, is one that the backends can run: every step, and the server's tensors."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from ...errors import FormatError
from . import checks
from .checks import Rule, check, check_step
from .operation import Private
from .outputs import check_form
from .program import Program, Step
from .shapes import Shape
from .table import OPERATIONS


def check_program(program: Program) -> Program:
    """``program``, whole.

    Raises:
        FormatError: names the step and the attribute, or the tensor.
    """
    public = program.public
    for name, shape in ((public.input, public.input_shape), *public.more_inputs.items()):
        check(name, checks.NAME, "the input's name")
        check(shape, checks.SHAPE, "the input's shape")
    if public.input in public.more_inputs:
        raise FormatError(f"there are two inputs '{public.input[:60]}'")
    if len(public.steps) > checks.STEPS:
        raise FormatError(f"the program has more than {checks.STEPS} steps")
    known, used = public.inputs, set()
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
    operation = OPERATIONS.get(step.op) if type(step.op) is str else None
    rule = None if operation is None else operation.rule
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
