"""What a run will need, from the program alone: both parties and the dealer agree on it.

It has the form of the native runtime's plans: a step for each correlation that an inference uses up, in the order in
which they are dealt, named after the program's step and its role there. Sizes only.

    op          for                                   attrs
    "map"       a product with what the server knows  kind, weight_shape, x (a sample's shape), a convolution's options
    "square"    a square
    "multiply"  a product of two shared values
    "matmul"    a product of two shared matrices      first, second (a sample's factors, their shapes)
    "compare"   ReLUs                                 bits: how many low bits of a value tell its sign
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

from ...plan import linear
from ...plan.plan import Plan
from ...plan.plan import Step as Need
from ...program.kinds import EXACT
from ...program.program import Step
from ...program.step_json import dumps, from_json, loads, to_json
from ..fixed_point import FixedPublic

#: Correlations of one step of the program, which are dealt together, each with its place in the plan.
Turn = list[tuple[int, Need]]


def plan(public: FixedPublic) -> Plan:
    """Everything that an inference uses up."""
    shapes = {**public.inputs, **{step.name: step.shape for step in public.steps}}
    needs = []
    for step in public.steps:
        if step.op in _NEEDS:
            shape_of = {role: public.secret_shapes[key] for role, key in step.secrets.items()}
            for role, op, shape, attrs in _NEEDS[step.op](step, shapes[step.inputs[0]], shape_of, public.frac_bits):
                needs.append(Need(f"{step.name}.{role}", op, (), shape, public.frac_bits, 64, attrs))
    return Plan(tuple(needs))


def turns(needs: Plan) -> dict[str, Turn]:
    """By step of the program."""
    found: dict[str, Turn] = {}
    for index, need in enumerate(needs.steps):
        found.setdefault(need.name.rpartition(".")[0], []).append((index, need))
    return found


def to_text(needs: Plan, batch: int) -> str:
    return dumps([batch, *map(to_json, needs.steps)])


def from_text(text: str) -> tuple[Plan, int]:
    batch, *rows = loads(text, "the plan")
    return Plan(tuple(from_json(Need, row, "a step of the plan") for row in rows)), batch


def prepare(needs: Plan, batch: int, packed: dict[str, Any]) -> dict[str, Any]:
    """Weights or masks of all maps, made ready for what they will be applied to."""
    for need in needs.steps:
        if need.op == "map":
            linear.prepare(need, packed[need.name], (batch, *need.attrs["x"]))
    return packed


def sign_bits(frac_bits: int) -> int:
    """How many low bits of a value hold its sign.

    The number format has room for |x| < 2**(62 - frac_bits) as an integer (forms.py). Twice that is what a difference
    of two such values takes, and twice again is to spare for the sums of residual connections and pools.
    """
    return 65 - frac_bits


#: Role, operation, shape of a sample, attributes.
_Row = tuple[str, str, tuple[int, ...], dict[str, Any]]


def _map(role: str, kind: str, weight_shape: tuple[int, ...], x: tuple[int, ...], shape: tuple[int, ...]) -> _Row:
    return role, "map", shape, {"kind": kind, "weight_shape": tuple(weight_shape), "x": tuple(x)}


def _by_position(role: str, positions: int) -> _Row:
    return _map(role, "channel", (positions,), (positions,), (positions,))


def _linear(step: Step, x: tuple[int, ...], shape_of: dict, frac_bits: int) -> Iterator[_Row]:
    role = "scale" if step.op == "affine" else "weight"
    row = _map(role, "channel" if step.op == "affine" else step.op, shape_of[role], x, step.shape)
    if step.op == "conv2d":
        row[-1].update({name: step.attrs[name] for name in ("stride", "padding", "dilation", "groups")})
    yield row


def _mul(step: Step, x: tuple[int, ...], shape_of: dict, frac_bits: int) -> Iterator[_Row]:
    yield "product", "multiply", step.shape, {}


def _matmul(step: Step, x: tuple[int, ...], shape_of: dict, frac_bits: int) -> Iterator[_Row]:
    *front, _, terms = x
    yield "product", "matmul", step.shape, {"first": tuple(x), "second": (*front, terms, step.shape[-1])}


def _max_pool2d(step: Step, x: tuple[int, ...], shape_of: dict, frac_bits: int) -> Iterator[_Row]:
    left, level = prod(step.attrs["kernel"]), 0
    while left > 1:
        yield f"level{level}", "compare", (left // 2 * prod(step.shape),), {"bits": sign_bits(frac_bits)}
        left, level = left - left // 2, level + 1


def _hybrid(step: Step, x: tuple[int, ...], shape_of: dict, frac_bits: int) -> Iterator[_Row]:
    a = step.attrs
    kept, square, direct = (len(a[part]) for part in ("kept", "square", "direct"))
    if kept:
        own = None if "knots" in a else EXACT[a["kind"]]
        compared = len(a["knots"] if own is None else own.points)
        yield "kept", "compare", (compared * kept,), {"bits": sign_bits(frac_bits)}
        for power in range(1, 1 + (1 + any(a["c2"]) if "knots" in a else 0)):
            yield f"power{power}", "multiply", (kept,), {}
        if own is not None and own.slope == "private":
            yield _by_position("slope", kept)
    if square:
        yield "square", "square", (square,), {}
        yield _by_position("factor", square)
    if direct:
        yield _by_position("lead", direct)
        for k in range(1, a["degree"]):
            yield f"horner{k}", "multiply", (direct,), {}


_NEEDS: dict[str, Callable[..., Iterator[_Row]]] = {
    "conv2d": _linear,
    "linear": _linear,
    "affine": _linear,
    "mul": _mul,
    "matmul": _matmul,
    "max_pool2d": _max_pool2d,
    "hybrid": _hybrid,
}
