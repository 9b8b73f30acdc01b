"""Averages, means and maxima."""

from __future__ import annotations

from torch import Tensor

from .. import checks, shapes, tensor_ops
from ..checks import Rule, pair, several
from ..operation import Operation
from ..program import Step
from ..shapes import Shape

_DIVISOR = checks.NUMBER._replace(
    text="a finite number, not 0", holds=lambda v, s: checks.NUMBER.holds(v, s) and v != 0
)
_POOL = {"kernel": pair(1), "stride": pair(1), "padding": pair(0)}
_SUM = Rule(lambda s, x: shapes.sum_over(s.attrs, x), {"dims": several(checks.WHOLE), "keepdim": checks.FLAG})


def _pool_shape(step: Step, x: Shape) -> Shape:
    return shapes.pool(step.attrs, x)


def _max_pool2d(step: Step, secrets: dict[str, Tensor], x: Tensor) -> Tensor:
    return tensor_ops.windows(step, x, float("-inf")).amax(0)


OPERATIONS = {
    "avg_pool2d": Operation(
        Rule(_pool_shape, {**_POOL, "divisor": _DIVISOR}),
        lambda step, secrets, x: tensor_ops.sum_pool2d(step, x) / step.attrs["divisor"],
    ),
    "mean": Operation(_SUM, lambda step, secrets, x: tensor_ops.sum_over(step, x) / tensor_ops.summed(step, x)),
    "sum": Operation(_SUM, lambda step, secrets, x: tensor_ops.sum_over(step, x)),
    "max_pool2d": Operation(Rule(_pool_shape, {**_POOL, "dilation": pair(1)}), _max_pool2d),
}
