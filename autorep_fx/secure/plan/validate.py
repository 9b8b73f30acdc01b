"""Whether a plan, and the server's numbers for it, are ones that three parties can run, whoever wrote them.

Everything is checked that a kernel or an allocation relies on: operations, names, shapes, positions, and the exponents,
each of which follows from those before it. Whether the plan is a good one for some network is not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ...errors import FormatError
from ..program import checks, shapes
from ..program.checks import Rule, check, check_step
from ..program.shapes import Shape
from .attributes import EXPONENT, WIDTH
from .plan import CHECKED, Plan, Step
from .server_numbers import Numbers
from .table import OPERATIONS

#: (op, kind of a map or local step) -> rule.
RULES: dict[tuple[str, str | None], Rule] = {
    (op, kind): rule for op, found in OPERATIONS.items() for kind, rule in found.rules.items()
}


def check_plan(plan: Plan) -> Plan:
    """``plan``, whole.

    Raises:
        FormatError: names the step and the attribute.
    """
    ops = [step.op for step in plan.steps]
    if len(ops) < 2 or len(ops) > checks.STEPS or ops[0] != "input" or ops[-1] != "output":
        raise FormatError(f"the plan must be an input, at most {checks.STEPS} steps, and an output")
    inputs = next(i for i, op in enumerate(ops) if op != "input")
    known: dict[str, Shape] = {}
    exponents: dict[str, int] = {}
    widths: dict[str, int] = {}
    for i, step in enumerate(plan.steps):
        if (step.op == "input") != (i < inputs) or (step.op == "output") != (i == len(ops) - 1):
            raise FormatError(f"step '{step.name}' is a second {step.op}")
        check(step.frac_bits, EXPONENT, f"'frac_bits' of step '{str(step.name)[:60]}'")
        check(step.width, WIDTH, f"'width' of step '{str(step.name)[:60]}'")
        check_step(step, _rule(step), known)
        if step.inputs:
            _check_exponent(step, [exponents[name] for name in step.inputs])
            _check_width(step, min(widths[name] for name in step.inputs))
        if plan.checked:
            _check_checked(step)
        known[step.name], exponents[step.name], widths[step.name] = step.shape, step.frac_bits, step.width
    return plan


def _rule(step: Step) -> Rule | None:
    if type(step.op) is not str:
        return None
    kind = step.attrs.get("kind") if type(step.attrs) is dict else None
    return RULES.get((step.op, kind if type(kind) is str else None)) or RULES.get((step.op, None))


def _check_width(step: Step, given: int) -> None:
    """What goes into a wider ring must come from a masked wire: only there is it known as a whole number."""
    a = step.attrs
    if a.get("wire", step.width) > given:
        raise FormatError(f"step '{step.name}' reads {given} bits and needs {a.get('wire', step.width)}")
    shift = a.get("shift", 0)
    if any(bits > a.get("wire", 64) - 2 for bits in (shift if isinstance(shift, tuple) else (shift,))):
        raise FormatError(f"'shift' of step '{step.name}' must leave two bits of its wire")


def _check_checked(step: Step) -> None:
    """Of values in rings of 64 bits a tag of 64 would miss errors in the highest bits."""
    if step.width != 32 or step.attrs.get("wire", 32) != 32:
        raise FormatError(f"step '{step.name}' of a checked plan must be in a ring of 32 bits")
    if step.attrs.get("comparison") not in (None, CHECKED):
        raise FormatError(f"step '{step.name}' of a checked plan must compare by {CHECKED!r}")


def _check_exponent(step: Step, given: list[int]) -> None:
    found = OPERATIONS[step.op].exponent(step, given)
    if found != step.frac_bits:
        raise FormatError(f"'frac_bits' of step '{step.name}' must be {found}, got {step.frac_bits}")


def check_numbers(plan: Plan, numbers: Mapping[str, Numbers]) -> None:
    """Raise FormatError unless these are the server's numbers of such a plan, complete."""
    steps = {step.name: step for step in plan.steps}
    for name in numbers:
        if name not in steps or OPERATIONS[steps[name].op].constant == "none":
            raise FormatError(f"numbers for step '{name}', which takes none")
    for name, step in steps.items():
        own = numbers.get(name, Numbers())
        weight, constant = step.attrs.get("weight_shape"), OPERATIONS[step.op].constant
        _check_array(own.weight, f"the weight of step '{name}'", weight is not None, lambda s, w=weight: s == w)
        _check_array(own.constant, f"the constant of step '{name}'", constant == "must", _broadcasts(step.shape))
        if type(own.bits) is not int or own.bits not in (16, 32, 64):
            raise FormatError(f"the width of step '{name}' must be 16, 32 or 64 bits, got {str(own.bits)[:60]}")
        if own.weight is not None and own.bits < 64:
            signed, most = own.weight.view(np.int64), 2 ** (own.bits - 1)
            if signed.min(initial=0) < -most or signed.max(initial=0) >= most:
                raise FormatError(f"a weight of step '{name}' has more than {own.bits} bits")


def _broadcasts(to: Shape) -> Callable[[Shape], bool]:
    def holds(shape: Shape) -> bool:
        try:
            return shapes.broadcast(shape, to) == to
        except ValueError:
            return False

    return holds


def _check_array(value: np.ndarray | None, where: str, needed: bool, fits: Callable[[Shape], bool]) -> None:
    if value is None:
        if needed:
            raise FormatError(f"{where} is missing")
    elif type(value) is not np.ndarray or value.dtype != np.uint64 or not fits(value.shape):
        raise FormatError(f"{where} must be ring elements of a shape that fits the step, got {_describe(value)}")


def _describe(value: np.ndarray) -> str:
    return f"{value.dtype}{list(value.shape)}" if isinstance(value, np.ndarray) else type(value).__name__
