"""Sums and products of tensors, with numbers, and with what is the server's."""

from __future__ import annotations

from .. import checks, shapes
from ..checks import Rule
from ..operation import Operation, Private
from ..program import Step
from ..shapes import Shape


def _add_private_shape(step: Step, x: Shape, constant: Shape) -> Shape:
    shapes.broadcast(x, step.shape)
    return shapes.broadcast(constant, step.shape)


OPERATIONS = {
    "add": Operation(
        Rule(lambda s, x, y: shapes.add(x, y), {"sign": checks.SIGN}, inputs=2),
        lambda step, secrets, x, y: x + step.attrs["sign"] * y,
    ),
    "mul": Operation(Rule(lambda s, x, y: shapes.add(x, y), inputs=2), lambda step, secrets, x, y: x * y),
    "matmul": Operation(Rule(lambda s, x, y: shapes.matmul(x, y), inputs=2), lambda step, secrets, x, y: x @ y),
    "add_number": Operation(
        Rule(lambda s, x: x, {"number": checks.NUMBER}), lambda step, secrets, x: x + step.attrs["number"]
    ),
    "add_private": Operation(
        Private(_add_private_shape, secrets={"constant": True}), lambda step, secrets, x: x + secrets["constant"]
    ),
    "scale": Operation(
        Rule(lambda s, x: x, {"factor": checks.NUMBER}), lambda step, secrets, x: x * step.attrs["factor"]
    ),
}
