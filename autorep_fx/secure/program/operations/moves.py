"""What moves values and computes nothing; how is in ../tensor_ops.py."""

from __future__ import annotations

from torch import Tensor

from .. import checks, shapes, tensor_ops
from ..checks import Rule, pair, several, whole
from ..operation import Operation
from ..program import Step

_RULES = {
    "reshape": Rule(lambda s, x: shapes.reshape(x, s.shape)),
    "permute": Rule(lambda s, x: shapes.permute(s.attrs, x), {"dims": several(whole(0))}),
    "pad": Rule(lambda s, x: shapes.pad(s.attrs, x), {"pads": several(whole(-shapes.MOST))}),
    "index": Rule(lambda s, x: shapes.index(s.attrs, x), {"index": checks.INDEX}),
    "select": Rule(lambda s, x: shapes.select(s.attrs, x), {"dim": checks.WHOLE, "places": checks.CHOSEN}),
    "windows": Rule(
        lambda s, x: shapes.windows_apart(s.attrs, x), {"kernel": pair(1), "stride": pair(1), "dilation": pair(1)}
    ),
    "keep": Rule(lambda s, x: x, {"positions": checks.POSITIONS}),
    "cat": Rule(lambda s, *parts: shapes.cat(s.attrs, *parts), {"dim": checks.WHOLE}, inputs=None),
}


def _move(step: Step, secrets: dict[str, Tensor], *inputs: Tensor) -> Tensor:
    return tensor_ops.MOVES[step.op](step, *inputs)


OPERATIONS = {op: Operation(rule, _move) for op, rule in _RULES.items()}
