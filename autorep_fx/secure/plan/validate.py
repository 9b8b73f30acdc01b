"""Whether a plan, and the server's numbers for it, are ones that three parties can run, whoever wrote them.

Everything is checked that a kernel or an allocation relies on: operations, names, shapes, positions, and the exponents,
each of which follows from those before it. Whether the plan is a good one for some network is not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from ...errors import FormatError
from ...graph.names import KINDS
from ..program import checks, shapes, spline
from ..program.checks import Check, Rule, check, check_step, one_of, pair, several, whole
from ..program.kinds import EXACT
from ..program.shapes import LARGEST, Shape, need
from .input_range import STATISTICS
from .plan import COMPARISONS, Plan, Step
from .ring import WIDTHS
from .server_numbers import Numbers
from .wire import wire_bits

#: Activations that are compared; the others only where every position is replaced.
COMPARED = tuple(kind for kind, own in EXACT.items() if own.slope != "private")

_PIECES = 65
_BITS, _WEIGHT = whole(0, 63), several(whole(1, LARGEST), 1, 4)
_EXPONENT = whole(0, 1000)  # of tiny numbers it is beyond 64: only products with what is large must fit the ring
_WIDTH = Check("32 or 64", lambda v, _: type(v) is int and v in WIDTHS)
_FACTOR = Check("an integer of 63 bits and a sign", lambda v, _: type(v) is int and abs(v) < 2**63)
_KEPT = checks.POSITIONS._replace(holds=lambda v, s: type(v) is np.ndarray and checks.POSITIONS.holds(v, s))
_ENDS, _PAIR = several(checks.NUMBER, 1, shapes.MOST), several(checks.NUMBER, 2, 2)
_STATISTICS = Check(
    "a table of pairs of numbers", lambda v, s: type(v) is dict and all(_PAIR.holds(x, s) for x in v.values())
)
_MASK = Check(
    "a boolean mask of the sample, or nothing",
    lambda v, s: v is None or type(v) is np.ndarray and v.dtype == bool and v.shape == (math.prod(s),),
)


def _input(step: Step) -> Shape:
    a, channels = step.attrs, step.shape[0] if step.shape else 1
    need(len(a["low"]) == len(a["high"]) == channels, "needs a range for each channel")
    need(all(low <= high for low, high in zip(a["low"], a["high"])), "has an empty range")
    known = STATISTICS if len(step.shape) >= 3 else STATISTICS[:2]
    need({*a["statistics"]} <= {*known}, f"knows no statistics but {', '.join(known)}")
    return step.shape


def _position(step: Step, x: Shape) -> Shape:
    a = step.attrs
    need(a["weight_shape"] == step.shape[:1] != (), "needs a factor for each channel")
    need(a["per_channel"] * step.shape[0] == step.size, "counts other positions in a channel")
    need(a["weight_bits"] < 64, "has no room for 1 in its factors")
    return x


def _take(step: Step, x: Shape) -> Shape:
    positions = step.attrs["positions"]
    need(len(positions) > 0 and positions[-1] < math.prod(x), f"takes positions beyond {x}")
    return (len(positions),)


def _put(step: Step, x: Shape) -> Shape:
    need(x == (len(step.attrs["positions"]),), f"puts {x} elsewhere than at as many positions")
    return step.shape


def _activation(step: Step, x: Shape) -> Shape:
    a, kept = step.attrs, len(step.attrs["kept"])
    need((a["comparison"] is not None) == (kept > 0), "compares without kept positions, or keeps some uncompared")
    need(not kept or a["kind"] in COMPARED or "knots" in a, f"keeps {a['kind']}, which cannot be compared")
    need(not kept or a["shift"] + a.get("window", 64) <= a["wire"], "needs a window that lies within the ring")
    own = EXACT.get(a["kind"]) if kept and "knots" not in a else None
    sloped, top = (own is not None and own.slope is not None), (own and own.top)
    need(not sloped or "slope" in a, "lacks 'slope'")
    need(top is None or wire_bits(step) <= a["wire"] - 4, f"has no room for {top:g} on its wire" if top else "")
    if "lifts" in a:
        need(own == EXACT["relu"] and step.shape[:1] == (len(a["lifts"]),), "lifts what it does not keep")
    need(a["powers"] == 2 or a["linear"] is None, "has lines among squares, and no squares")
    if "knots" in a:
        need(all(f"c{k}" in a for k in range(3)), "has a spline without its pieces")
        knots, f = a["knots"], a["align"] - spline.BITS
        need(kept > 0 and f >= 0 and a["powers"] > any(a["c2"]), "has a spline and not what it takes")
        need(all(p < q for p, q in zip(knots, knots[1:])), "has knots that do not increase")
        need(all(abs(p) <= 2 ** (a["window"] - 2) for p in knots), "has a knot beyond its window")
        need(all(len(a[f"c{k}"]) == len(knots) + 1 for k in range(3)), "needs a piece between any two knots")
        need(a["c1"][0] == a["c2"][0] == 0, "must start with a constant")
    need(a["powers"] > 0 or kept == step.size and not sloped, "needs truncated values")
    return x


def _product(step: Step, x: Shape, y: Shape) -> Shape:
    a = step.attrs
    need((a["first"], a["second"]) == (x, y), f"multiplies {x} and {y}, and says otherwise")
    need(all(t <= e for t, e in zip(a["shift"], a["exponents"])), "cuts off more bits than its factors have")
    return shapes.add(x, y)


_LOCAL = {
    "add": Rule(lambda s, x, y: shapes.add(x, y), {"sign": checks.SIGN}, inputs=2),
    "times": Rule(lambda s, x: x, {"factor": _FACTOR, "up": _EXPONENT}),
    "pad": Rule(lambda s, x: shapes.pad(s.attrs, x), {"pads": several(whole(-shapes.MOST))}),
    "windows": Rule(
        lambda s, x: (math.prod(s.attrs["kernel"]), *shapes.windows(s.attrs, x)),
        {"kernel": pair(1), "stride": pair(1), "dilation": pair(1)},
    ),
    "sum_pool": Rule(lambda s, x: shapes.pool(s.attrs, x), {"kernel": pair(1), "stride": pair(1), "padding": pair(0)}),
    "sum": Rule(lambda s, x: shapes.sum_over(s.attrs, x), {"dims": several(checks.WHOLE), "keepdim": checks.FLAG}),
    "reshape": Rule(lambda s, x: shapes.reshape(x, s.shape)),
    "broadcast": Rule(lambda s, x: shapes.broadcast(x, s.shape)),
    "at": Rule(lambda s, x: x, {"positions": _KEPT}),
    "take": Rule(_take, {"positions": checks.PLACES}),
    "put": Rule(_put, {"positions": _KEPT}),
    "permute": Rule(lambda s, x: shapes.permute(s.attrs, x), {"dims": several(whole(0))}),
    "index": Rule(lambda s, x: shapes.index(s.attrs, x), {"index": checks.INDEX}),
    "cat": Rule(lambda s, *parts: shapes.cat(s.attrs, *parts), {"dim": checks.WHOLE}, inputs=None),
}
_MAP = {
    "conv2d": Rule(
        lambda s, x: shapes.conv2d(s.attrs, s.attrs["weight_shape"], x),
        {"stride": pair(1), "padding": pair(0), "dilation": pair(1), "groups": checks.WHOLE},
    ),
    "linear": Rule(lambda s, x: shapes.linear(s.attrs["weight_shape"], x)),
    "channel": Rule(lambda s, x: shapes.by_channel(s.attrs["weight_shape"], x)),
    "position": Rule(_position, {"per_channel": whole(1, LARGEST), "replaced": _KEPT}),
}


def _kinds(op: str, table: Mapping[str, Rule], **common: Check) -> dict[tuple[str, str | None], Rule]:
    return {
        (op, kind): Rule(rule.shape, {"kind": one_of(kind), **common, **rule.attrs}, inputs=rule.inputs)
        for kind, rule in table.items()
    }


#: (op, kind of a map or local step) -> rule.
RULES: dict[tuple[str, str | None], Rule] = {
    ("input", None): Rule(_input, {"low": _ENDS, "high": _ENDS, "statistics": _STATISTICS}, inputs=0),
    **_kinds("local", _LOCAL, shifts=several(_EXPONENT, 1, checks.STEPS)),
    **_kinds("map", _MAP, weight_shape=_WEIGHT, weight_bits=_EXPONENT),
    ("constant", None): Rule(lambda s, x: x),
    ("activation", None): Rule(
        _activation,
        {"kind": one_of("truncate", *KINDS), "wire": _WIDTH, "shift": whole(0, 62), "align": _BITS,
         "powers": whole(0, 2), "kept": _KEPT, "linear": _MASK, "comparison": one_of(*COMPARISONS, None)},
        {"window": whole(2, 63), "slope": _FACTOR, "knots": several(_FACTOR, 0, _PIECES - 1),
         **{f"c{k}": several(_FACTOR, 1, _PIECES) for k in range(3)}, "error": checks.NUMBER,
         "lifts": several(whole(0, 31), 1, shapes.MOST)},
    ),
    ("product", None): Rule(
        _product,
        {"first": checks.SHAPE, "second": checks.SHAPE, "wire": _WIDTH, "shift": several(whole(0, 62), 2, 2),
         "exponents": several(_EXPONENT, 2, 2)},
        inputs=2,
    ),
    ("output", None): Rule(lambda s, x: x, {"wire": _WIDTH, "shift": whole(0, 62)}),
}  # fmt: skip


def check_plan(plan: Plan) -> Plan:
    """``plan``, whole.

    Raises:
        FormatError: names the step and the attribute.
    """
    ops = [step.op for step in plan.steps]
    if len(ops) < 2 or len(ops) > checks.STEPS or ops[0] != "input" or ops[-1] != "output":
        raise FormatError(f"the plan must be an input, at most {checks.STEPS} steps, and an output")
    known: dict[str, Shape] = {}
    exponents: dict[str, int] = {}
    widths: dict[str, int] = {}
    for i, step in enumerate(plan.steps):
        kind = step.attrs.get("kind") if step.op in ("local", "map") and type(step.attrs) is dict else None
        rule = RULES.get((step.op, kind)) if type(step.op) is str and type(kind) in (str, type(None)) else None
        if (step.op == "input") != (i == 0) or (step.op == "output") != (i == len(ops) - 1):
            raise FormatError(f"step '{step.name}' is a second {step.op}")
        check(step.frac_bits, _EXPONENT, f"'frac_bits' of step '{str(step.name)[:60]}'")
        check(step.width, _WIDTH, f"'width' of step '{str(step.name)[:60]}'")
        check_step(step, rule, known)
        if step.op != "input":
            _check_exponent(step, [exponents[name] for name in step.inputs])
            _check_width(step, min(widths[name] for name in step.inputs))
        known[step.name], exponents[step.name], widths[step.name] = step.shape, step.frac_bits, step.width
    return plan


def _check_width(step: Step, given: int) -> None:
    """What goes into a wider ring must come from a masked wire: only there is it known as a whole number."""
    a = step.attrs
    if a.get("wire", step.width) > given:
        raise FormatError(f"step '{step.name}' reads {given} bits and needs {a.get('wire', step.width)}")
    shifts = a["shift"] if step.op == "product" else (a.get("shift", 0),)
    if any(shift > a.get("wire", 64) - 2 for shift in shifts):
        raise FormatError(f"'shift' of step '{step.name}' must leave two bits of its wire")


def _check_exponent(step: Step, given: list[int]) -> None:
    a, found = step.attrs, max(given)
    if step.op == "local":
        found += a.get("up", 0)
        if a["shifts"] != tuple(max(given) - e for e in given):
            raise FormatError(f"'shifts' of step '{step.name}' do not bring its inputs to one exponent")
    elif step.op == "map":
        found += a["weight_bits"]
    elif step.op == "product":
        found = sum(given) - sum(a["shift"])
        if a["exponents"] != tuple(given):
            raise FormatError(f"'exponents' of step '{step.name}' must be {tuple(given)}, got {a['exponents']}")
    elif step.op in ("activation", "output"):
        found += a.get("align", 0) - a["shift"]
    if found != step.frac_bits:
        raise FormatError(f"'frac_bits' of step '{step.name}' must be {found}, got {step.frac_bits}")


def check_numbers(plan: Plan, numbers: Mapping[str, Numbers]) -> None:
    """Raise FormatError unless these are the server's numbers of such a plan, complete."""
    steps = {step.name: step for step in plan.steps}
    for name in numbers:
        if name not in steps or steps[name].op not in ("map", "constant", "activation"):
            raise FormatError(f"numbers for step '{name}', which takes none")
    for name, step in steps.items():
        own = numbers.get(name, Numbers())
        weight = step.attrs["weight_shape"] if step.op == "map" else None
        _check_array(own.weight, f"the weight of step '{name}'", weight is not None, lambda s, w=weight: s == w)
        _check_array(own.constant, f"the constant of step '{name}'", step.op == "constant", _broadcasts(step.shape))
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
