"""What a run will need, from the program and the batch size alone: both parties and the dealer agree on it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import prod

from torch import Tensor

from ....text import brief
from ...program import tensor_ops
from ...program.program import Step
from ..fixed_point import FixedPublic
from .correlations import KINDS, Compare, Correlation, Multiply, Product, Square
from .weights import Weight


@dataclass(frozen=True)
class Plan:
    """Sizes only.

    Attributes:
        weights: the server's factors, by name.
        needs: step -> role -> correlation, in the order in which they are dealt.
    """

    weights: dict[str, Weight]
    needs: dict[str, dict[str, Correlation]]

    __repr__ = brief

    def to_json(self) -> str:
        needs = {
            step: {role: [type(c).__name__, asdict(c)] for role, c in roles.items()}
            for step, roles in self.needs.items()
        }
        return json.dumps({"weights": {name: asdict(w) for name, w in self.weights.items()}, "needs": needs})

    @staticmethod
    def from_json(text: str) -> Plan:
        plain = json.loads(text)
        needs = {
            step: {role: KINDS[kind](**fields) for role, (kind, fields) in roles.items()}
            for step, roles in plain["needs"].items()
        }
        return Plan({name: Weight(**fields) for name, fields in plain["weights"].items()}, needs)


def plan(public: FixedPublic, batch: int) -> Plan:
    """The factors of a program and everything that one inference on a batch uses up."""
    shapes = {public.input: public.input_shape, **{step.name: step.shape for step in public.steps}}
    weights, needs = {}, {}
    for step in public.steps:
        if step.op not in _NEEDS:
            continue
        secret = {role: public.secret_shapes[key] for role, key in step.secrets.items()}
        mine, roles = _NEEDS[step.op](step, batch, shapes[step.inputs[0]], secret, sign_bits(public.frac_bits))
        weights.update({f"{step.name}.{role}": weight for role, weight in mine.items()})
        needs[step.name] = roles
    return Plan(weights, needs)


def values(step: Step, secrets: dict[str, Tensor]) -> dict[str, Tensor]:
    """The server's side of ``Plan.weights``: the factors of one step, by role."""
    if step.op in ("conv2d", "linear"):
        return {"weight": secrets["weight"]}
    if step.op == "affine":
        return {"scale": tensor_ops.channels(secrets["scale"], len(step.shape) + 1)}
    found = {}
    if "factor" in secrets:
        found["factor"] = tensor_ops.by_position(step, secrets["factor"], "square")
    if "coeffs" in secrets:
        found["lead"] = tensor_ops.by_position(step, secrets["coeffs"], "direct")[-1]
    if "slope" in secrets:
        found["slope"] = tensor_ops.by_position(step, secrets["slope"], "kept")
    return found


def sign_bits(frac_bits: int) -> int:
    """How many low bits of a value hold its sign.

    The number format has room for |x| < 2**(62 - frac_bits) as an integer (program.py). Twice that is what a difference
    of two such values takes, and twice again is to spare for the sums of residual connections and pools.
    """
    return 65 - frac_bits


def _linear(step: Step, batch: int, x: tuple, secret: dict, bits: int):
    (role,) = {"weight", "scale"} & set(secret)
    shape, options = secret[role], {}
    if step.op == "conv2d":
        options = {name: step.attrs[name] for name in ("stride", "padding", "dilation", "groups")}
    if step.op == "affine":
        shape = (*shape, *(1,) * (len(x) - 1))
    op = "mul" if step.op == "affine" else step.op
    # A linear layer works on the last axis of any number of rows.
    product = Product(f"{step.name}.{role}", (batch, *x), (batch, *step.shape))
    return {role: Weight(op, tuple(shape), options, (batch, *x))}, {role: product}


def _max_pool2d(step: Step, batch: int, x: tuple, secret: dict, bits: int):
    outputs, left, roles = batch * prod(step.shape), prod(step.attrs["kernel"]), {}
    while left > 1:
        roles[f"level{len(roles)}"] = Compare(left // 2 * outputs, bits)
        left -= left // 2
    return {}, roles


def _mul(step: Step, batch: int, x: tuple, secret: dict, bits: int):
    return {}, {"product": Multiply((batch, *step.shape))}


def _hybrid(step: Step, batch: int, x: tuple, secret: dict, bits: int):
    a, weights, roles = step.attrs, {}, {}
    kept, square, direct = (len(a[part]) for part in ("kept", "square", "direct"))

    def product(role: str, positions: int) -> None:
        weights[role] = Weight("mul", (positions,))
        roles[role] = Product(f"{step.name}.{role}", (batch, positions), (batch, positions))

    if kept:
        compared = len(a["knots"]) if "knots" in a else 2 if a["kind"] == "relu6" else 1
        roles["kept"] = Compare(batch * kept * compared, bits)
        for power in range(1, 1 + (1 + any(a["c2"]) if "knots" in a else 0)):
            roles[f"power{power}"] = Multiply((batch, kept))
        if a["kind"] == "prelu":
            product("slope", kept)
    if square:
        roles["square"] = Square((batch, square))
        product("factor", square)
    if direct:
        product("lead", direct)
        for k in range(1, a["degree"]):
            roles[f"horner{k}"] = Multiply((batch, direct))
    return weights, roles


_NEEDS: dict[str, Callable] = {
    "conv2d": _linear,
    "linear": _linear,
    "affine": _linear,
    "mul": _mul,
    "max_pool2d": _max_pool2d,
    "hybrid": _hybrid,
}
