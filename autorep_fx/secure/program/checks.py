"""What is asked of a step that somebody else wrote: its operation, names, attributes and shape, before it is used.

A table gives each operation a :class:`Rule`; the tables are plan/validate.py and validate.py.
"""

from __future__ import annotations

import math
import reprlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ...errors import FormatError
from ...text import brief
from .shapes import LARGEST, MOST, Shape

#: Most axes of a sample, and most steps; a stream's name has room for 2**24 of them.
AXES, STEPS = 16, 2**20


class Check(NamedTuple):
    """``holds(value, shape of the step)``, and in words what must hold."""

    text: str
    holds: Callable[[Any, Shape], bool]


@dataclass(frozen=True)
class Rule:
    """What a step of one operation looks like.

    Attributes:
        shape: of the result, from the step and its inputs' shapes; raises ValueError where they do not fit.
        attrs: each attribute, which must be there.
        optional: attributes that may be there.
        inputs: how many; None: one or more.
    """

    shape: Callable[..., Shape]
    attrs: Mapping[str, Check] = field(default_factory=dict)
    optional: Mapping[str, Check] = field(default_factory=dict)
    inputs: int | None = 1

    __repr__ = brief


def is_tensor(value: Any) -> bool:
    """Whether it is one of torch's; nothing is, where nobody has imported torch, and this does not."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def whole(least: int, most: int = MOST) -> Check:
    return Check(f"an integer from {least} to {most}", lambda v, _: type(v) is int and least <= v <= most)


def one_of(*known: str | None) -> Check:
    return Check(f"one of {', '.join(map(str, known))}", lambda v, _: (v is None or type(v) is str) and v in known)


def several(each: Check, least: int = 1, most: int = 2 * AXES) -> Check:
    size = f"{least}" if least == most else f"{least} to {most}"
    return Check(
        f"{size} times {each.text}",
        lambda v, s: type(v) is tuple and least <= len(v) <= most and all(each.holds(x, s) for x in v),
    )


def pair(least: int) -> Check:
    return several(whole(least), 2, 2)


def _is_number(v: Any, _: Shape) -> bool:
    return type(v) is float and math.isfinite(v) or type(v) is int and abs(v) < 2**63


def _is_positions(v: Any, shape: Shape) -> bool:
    v = np.asarray(v)
    if v.dtype != np.int64 or v.ndim != 1:
        return False
    return not len(v) or (v[0] >= 0 and v[-1] < math.prod(shape) and bool((np.diff(v) > 0).all()))


def _is_places(v: Any, _: Shape) -> bool:
    return type(v) is np.ndarray and _is_positions(v, (LARGEST,)) and len(v) > 0


def _is_place(v: Any, _: Shape) -> bool:
    """An entry of an index: a number, a slice that goes forward, a new axis or an ellipsis."""
    if isinstance(v, slice):
        return _is_place(v.start, ()) and _is_place(v.stop, ()) and (v.step is None or WHOLE.holds(v.step, ()))
    return v is None or v is Ellipsis or type(v) is int and abs(v) < 2**63


WHOLE = whole(1)
NUMBER = Check("a finite number", _is_number)
FLAG = Check("true or false", lambda v, _: type(v) is bool)
SIGN = Check("1 or -1", lambda v, _: type(v) is int and v in (1, -1))
NAME = Check("a name", lambda v, _: type(v) is str and 0 < len(v) <= 1000 and v.isprintable())
_SIZES = several(whole(1, LARGEST), 0, AXES)
SHAPE = Check(
    f"up to {AXES} sizes from 1, {LARGEST} elements at most",
    lambda v, s: _SIZES.holds(v, s) and math.prod(v) <= LARGEST,
)
POSITIONS = Check("increasing positions within the sample", _is_positions)
PLACES = Check("increasing positions within some sample", _is_places)
CHOSEN = several(whole(0), 1, MOST)
INDEX = several(Check("a number, a slice, a new axis or an ellipsis", _is_place))


def check(value: Any, rule: Check, where: str, shape: Shape = ()) -> None:
    """Raise FormatError unless ``value``, which is at ``where``, is what it must be."""
    if not rule.holds(value, shape):
        raise FormatError(f"{where} must be {rule.text}, got {reprlib.repr(value)}")


def check_step(step: Any, rule: Rule | None, known: Mapping[str, Shape]) -> None:
    """Raise FormatError unless ``step`` has this form. ``known``: shapes of the earlier results, by name."""
    where = f"step '{str(step.name)[:60]}'"
    check(step.name, NAME, f"the name of {where}")
    check(step.shape, SHAPE, f"the shape of {where}")
    if step.name in known:
        raise FormatError(f"there are two of {where}")
    if rule is None:
        raise FormatError(f"{where} is of an unknown operation")
    check(step.inputs, several(NAME, 0, STEPS), f"the inputs of {where}")
    if not (len(step.inputs) == rule.inputs or rule.inputs is None and step.inputs):
        raise FormatError(f"{where} has {len(step.inputs)} inputs")
    for name in step.inputs:
        if name not in known:
            raise FormatError(f"{where} reads '{name}', which no earlier step computes")
    check_attrs(step.attrs, rule.attrs, rule.optional, where, step.shape)
    try:
        shape = rule.shape(step, *(known[name] for name in step.inputs))
    except ValueError as error:
        raise FormatError(f"{where}: {error}") from error
    if shape != step.shape:
        raise FormatError(f"{where} gives the shape {shape}, not {step.shape}")


def check_attrs(
    attrs: Any, needed: Mapping[str, Check], optional: Mapping[str, Check], where: str, shape: Shape = ()
) -> None:
    """Raise FormatError unless all needed attributes are there, no unknown ones, and each is what it must be."""
    if type(attrs) is not dict:
        raise FormatError(f"the attributes of {where} must be a table")
    for name in {*needed} - {*attrs}:
        raise FormatError(f"{where} lacks '{name}'")
    for name, value in attrs.items():
        rule = needed.get(name) or optional.get(name)
        if rule is None:
            raise FormatError(f"{where} has an unknown attribute '{str(name)[:60]}'")
        check(value, rule, f"'{name}' of {where}", shape)
