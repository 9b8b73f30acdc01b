"""What a run on CrypTen sends online, from the program alone. A test holds it equal to what was counted."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import NamedTuple

from autorep_fx.secure.crypten.fixed_point import FixedPublic
from autorep_fx.secure.crypten.fused import carry
from autorep_fx.secure.crypten.fused.plan import Turn, plan, turns
from autorep_fx.secure.plan.plan import Step as Need
from autorep_fx.secure.program.program import Step

#: A comparison opens one AND of two 64-bit words, six of twice as many in the carry tree, and one sign bit's word:
#: (1 + 6 * 2) * 16 + 8 bytes an element.
_COMPARISON_BYTES, _COMPARISON_ROUNDS = 216, 8


class Online(NamedTuple):
    """Communication of one step: rounds, and bytes that each party sends (without framing)."""

    rounds: int = 0
    server: int = 0
    client: int = 0


def online(public: FixedPublic, batch: int, kernels: str = "fused") -> dict[str, Online]:
    """Cost of every step that communicates, by name; "output" is the opening, which only the server sends.

    Args:
        kernels: as in :meth:`SecureProgram.run`.
    """
    if kernels == "fused":
        return _fused(public, batch)
    shapes = {public.input: public.input_shape, **{step.name: step.shape for step in public.steps}}
    costs = {}
    for step in public.steps:
        if step.op in _COSTS:
            sizes = {role: prod(public.secret_shapes[key]) for role, key in step.secrets.items()}
            rounds, sent = _COSTS[step.op](step, batch, batch * prod(shapes[step.inputs[0]]), sizes)
            costs[step.name] = Online(rounds, sent, sent)
    costs["output"] = Online(1, 8 * batch * prod(public.output_shape), 0)
    return costs


def _beaver(step: Step, batch: int, elements: int, sizes: dict[str, int]) -> tuple[int, int]:
    return 1, 8 * (elements + sizes["weight" if "weight" in sizes else "scale"])


def _matmul(step: Step, batch: int, elements: int, sizes: dict[str, int]) -> tuple[int, int]:
    *front, rows, columns = step.shape
    terms = elements // (batch * prod(front) * rows)
    return 1, 8 * (elements + batch * prod(front) * terms * columns)


def _max_pool2d(step: Step, batch: int, elements: int, sizes: dict[str, int]) -> tuple[int, int]:
    outputs, left = batch * prod(step.shape), prod(step.attrs["kernel"])
    levels = (left - 1).bit_length()
    return levels * (_COMPARISON_ROUNDS + 1), (left - 1) * outputs * (_COMPARISON_BYTES + 16)


def _hybrid(step: Step, batch: int, elements: int, sizes: dict[str, int]) -> tuple[int, int]:
    a = step.attrs
    kept, square, direct = (len(a[part]) for part in ("kept", "square", "direct"))
    rounds, sent = max(2 if square else 0, a["degree"] if direct else 0), 0
    if kept:
        more = 1
        if "knots" in a:
            bends = any(a["c2"])
            more += bends
            sent += batch * kept * (len(a["knots"]) * _COMPARISON_BYTES + 16 * (1 + bends))
        else:
            compared = kept * (2 if a["kind"] == "relu6" else 1)
            sent += batch * compared * (_COMPARISON_BYTES + 16)
        if a["kind"] == "prelu":
            more, sent = more + 1, sent + 8 * (batch + 1) * kept
        rounds = _COMPARISON_ROUNDS + max(more, rounds - 1)  # the others' first is beside the comparison
    sent += 24 * batch * square + 16 * batch * direct
    if direct and a["degree"] > 1:  # the first product has one coefficient for all samples
        sent += 8 * (batch + 1) * direct + 16 * (a["degree"] - 2) * batch * direct
    return rounds, sent


_COSTS: dict[str, Callable[..., tuple[int, int]]] = {
    "conv2d": _beaver,
    "linear": _beaver,
    "affine": _beaver,
    "mul": lambda step, batch, elements, sizes: (1, 2 * 8 * batch * prod(step.shape)),
    "matmul": _matmul,
    "max_pool2d": _max_pool2d,
    "hybrid": _hybrid,
}


def _fused(public: FixedPublic, batch: int) -> dict[str, Online]:
    """For each correlation what opening with it takes."""
    needs, costs = turns(plan(public)), {}
    for step in public.steps:
        if turn := needs.get(step.name):
            sent = [_sent(need, batch) for _, need in turn]
            costs[step.name] = Online(_rounds(step, turn), *map(sum, zip(*sent)))
    costs["output"] = Online(1, 8 * batch * prod(public.output_shape), 0)
    return costs


def _sent(need: Need, batch: int) -> tuple[int, int]:
    """Bytes from the server and from the client."""
    n = batch * need.size
    if need.op == "map":
        return 0, 8 * batch * prod(need.attrs["x"])
    if need.op == "compare":
        planes = len(carry.OPERANDS) * sum(carry.groups(need.attrs["bits"] - 1)) + 1
        words = n + planes * -(-n // 64)
    elif need.op == "matmul":
        words = batch * (prod(need.attrs["first"]) + prod(need.attrs["second"]))
    else:
        words = {"square": 1, "multiply": 2}[need.op] * n
    return 8 * words, 8 * words


def _rounds(step: Step, turn: Turn) -> int:
    comparisons = [len(carry.groups(need.attrs["bits"] - 1)) + 2 for _, need in turn if need.op == "compare"]
    if step.op == "max_pool2d":
        return sum(comparisons)
    if step.op != "hybrid":
        return 1
    roles = {need.name.rpartition(".")[2] for _, need in turn}
    kept = sum(comparisons) + len(roles & {"slope", "power1", "power2"})
    return max(kept, 2 if "square" in roles else 0, step.attrs["degree"] if "lead" in roles else 0)
