"""What a run computes, in the clear: the fixed-point model that it is tested against, and how far it may be off.

A run differs from exact arithmetic in two ways.

1. *Rounding* of the input and of the server's numbers to their exponents. It is the same in every run and is computed
   exactly: the model on whole numbers against the program on real ones.
2. *Truncation* of every masked wire, by t bits: ``floor(y / 2**t)``, or one more with probability ``(y mod 2**t) /
  2**t``.
   Unbiased, below one unit of 2**-f, independent between elements, and never a wrap. Everything else is exact.

``bound`` follows each step: |W| in place of W; sums add; a truncation of t bits takes an error b to ``b / 2**t + 1``,
and to one more where b is not zero; ReLU, ReLU6 and maxima are 1-Lipschitz; the square takes b to ``2 |x| b + b**2``.
It holds for every draw of the masks, and says little about deep networks; ``simulate`` draws the rounding of a run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from ...text import brief
from ..program import spline
from . import linear, local, wire
from .plan import Plan, Step
from .ring import decode, elements, encode, narrowed, signed
from .server_numbers import Numbers

#: Deep networks: a bound that says nothing, but stays a number where it is squared.
_NO_BOUND = 1e100

#: Gets a step and its value, and says what to add to it, if anything.
See = Callable[[Step, np.ndarray], "np.ndarray | None"]


@dataclass
class Expected:
    """Output of the fixed-point model, and a bound on its difference to any run; both in units of the output."""

    output: np.ndarray
    bound: np.ndarray

    __repr__ = brief


def expected(plan: Plan, numbers: dict[str, Numbers], x: np.ndarray) -> Expected:
    """Truncation as floor, with the rigorous bound."""
    values, bounds = _walk(plan, numbers, x, None)
    return Expected(values, np.ldexp(bounds, -plan.output.frac_bits))


def simulate(plan: Plan, numbers: dict[str, Numbers], x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One draw of what a run returns."""
    return _walk(plan, numbers, x, rng)[0]


def watch(plan: Plan, numbers: dict[str, Numbers], x: np.ndarray, rng: np.random.Generator, see: See) -> None:
    """:func:`simulate`, and show ``see`` the value of every step as numbers, once it is there; it may add to it."""
    _walk(plan, numbers, x, rng, see)


def _walk(
    plan: Plan,
    numbers: dict[str, Numbers],
    x: np.ndarray,
    rng: np.random.Generator | None,
    see: See = lambda step, value: None,
):
    gone = plan.last_uses()
    values: dict[str, np.ndarray] = {}
    bounds: dict[str, np.ndarray] = {}
    for step in plan.steps:
        given = [values[name] for name in step.inputs]
        errors = [bounds[name] for name in step.inputs]
        own = numbers.get(step.name, Numbers())
        if step.op == "input":
            values[step.name] = narrowed(encode(x, step.frac_bits), step.width)
            bounds[step.name] = np.zeros(x.shape)
        elif step.op == "local":
            values[step.name], bounds[step.name] = local.apply(step, *given), _local_bound(step, errors)
        elif step.op == "map":
            y = linear.apply(step, linear.pack(step, own.weight, public=True), given[0])
            values[step.name] = y if own.constant is None else y + narrowed(own.constant, step.width)
            # A draw is no bound, and the convolution of one would be half of the work.
            bounds[step.name] = _map_bound(step, own.weight, errors[0]) if rng is None else np.zeros(y.shape)
        elif step.op == "constant":
            values[step.name] = narrowed(given[0], step.width) + narrowed(own.constant, step.width)
            bounds[step.name] = np.broadcast_to(errors[0], given[0].shape)
        elif step.op == "product":
            values[step.name], bounds[step.name] = _product(step, given, errors, rng)
        else:
            y = narrowed(given[0], step.attrs["wire"])
            y = y if own.constant is None else y + narrowed(own.constant, step.attrs["wire"])
            values[step.name], bounds[step.name] = _activation(step, y, errors[0], rng)
        more = see(step, decode(values[step.name], step.frac_bits))
        if more is not None:
            values[step.name] = values[step.name] + narrowed(encode(more, step.frac_bits), step.width)
        for name in gone.get(step.name, ()):
            del values[name], bounds[name]
    name = plan.output.name
    return decode(values[name], plan.output.frac_bits), bounds[name]


def _local_bound(step: Step, errors: list[np.ndarray]) -> np.ndarray:
    errors = [np.ldexp(b, bits) for b, bits in zip(errors, step.attrs["shifts"])]
    kind = step.attrs["kind"]
    if kind == "add":
        return errors[0] + errors[1]
    if kind == "times":
        return errors[0] * abs(step.attrs["factor"])
    return local.LOCAL[kind](step, *errors)


def _map_bound(step: Step, weight: np.ndarray, error: np.ndarray) -> np.ndarray:
    a = step.attrs
    size = np.abs(weight.view(np.int64)).astype(np.float64)
    if a["kind"] == "conv2d":
        error, size = (torch.from_numpy(np.ascontiguousarray(v)) for v in (error, size))
        y = F.conv2d(error, size, None, a["stride"], a["padding"], a["dilation"], a["groups"])
        return y.numpy()
    if a["kind"] == "linear":
        return error @ size.T
    packed = linear.pack(step, np.abs(weight.view(np.int64)).view(weight.dtype), public=True)
    return error * packed.astype(np.float64)


def _truncate(
    y: np.ndarray, error: np.ndarray, shift: int, rng: np.random.Generator | None
) -> tuple[np.ndarray, np.ndarray]:
    """Signed values and their bound."""
    y = signed(y)
    if not shift:
        return y, error
    up = 0 if rng is None else rng.integers(0, 2**shift, y.shape)
    return (y + up) >> np.int64(shift), np.ldexp(error, -shift) + np.where(error > 0, 2.0, 1.0)


def _product(step: Step, given: list[np.ndarray], errors: list[np.ndarray], rng: np.random.Generator | None):
    shifts = step.attrs["shift"]
    given = [narrowed(v, step.attrs["wire"]) for v in given]
    (x, b), (y, c) = (_truncate(v, error, shift, rng) for v, error, shift in zip(given, errors, shifts))
    b, c = np.minimum(b, _NO_BOUND), np.minimum(c, _NO_BOUND)
    bound = np.abs(x.astype(np.float64)) * c + np.abs(y.astype(np.float64)) * b + b * c
    return _in_ring(step, x * y), bound


def _in_ring(step: Step, value: np.ndarray) -> np.ndarray:
    """Whole numbers as elements of the ring of the step's result."""
    return value.astype(elements(step.width))


def _activation(step: Step, y: np.ndarray, error: np.ndarray, rng: np.random.Generator | None):
    a, shape = step.attrs, y.shape
    flat = np.ascontiguousarray(y).reshape(len(y), -1)
    x, b = _truncate(flat, error.reshape(len(y), -1), a["shift"], rng)
    if step.op == "output":
        return _in_ring(step, x).reshape(shape), b.reshape(shape)
    align = np.int64(a["align"])
    lift = spline.BITS if "knots" in a else 0
    value, bound = x << align, np.ldexp(b, a["align"])
    if a["powers"] == 2:
        square = np.ones(step.size, bool) if a["linear"] is None else ~a["linear"]
        xs, bs = x[:, square], b[:, square]
        bs = np.minimum(bs, _NO_BOUND)
        value[:, square] = xs * xs << np.int64(lift)
        bound[:, square] = np.ldexp(2 * np.abs(xs.astype(np.float64)) * bs + bs**2, lift)
    kept = a["kept"]
    if wire.compared(step, len(y)):
        z, e = x[:, kept], b[:, kept]
        if "knots" in a:
            knots, pieces = np.array(a["knots"], np.int64), np.array([a[f"c{k}"] for k in range(3)], np.int64).T
            slope, jumps = spline.roughness(knots, pieces, 2 ** (a["window"] - 2))
            value[:, kept] = spline.evaluate(knots, pieces, z)
            bound[:, kept] = slope * e + np.where(e > 0, jumps, 0)
        else:
            slope = np.int64(a.get("slope", 0))
            top = max(wire.points(step)) or None
            value[:, kept] = (np.clip(z, 0, top) << align) + np.minimum(z, 0) * slope
            bound[:, kept] = e * max(2.0 ** a["align"], abs(float(slope)))
        if "lifts" in a:
            value[:, kept] <<= step.lifts
            bound[:, kept] = np.ldexp(bound[:, kept], step.lifts)
    return _in_ring(step, value).reshape(shape), bound.reshape(shape)
