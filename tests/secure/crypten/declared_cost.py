"""What a run on CrypTen sends online, from the program alone. A test holds it equal to what was counted."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import NamedTuple

from autorep_fx.secure.crypten.fixed_point import FixedPublic
from autorep_fx.secure.crypten.fused import carry, plan
from autorep_fx.secure.crypten.fused.correlations import Compare, Correlation, Multiply, Product
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


def _max_pool2d(step: Step, batch: int, elements: int, sizes: dict[str, int]) -> tuple[int, int]:
    outputs, left = batch * prod(step.shape), prod(step.attrs["kernel"])
    levels = (left - 1).bit_length()
    return levels * (_COMPARISON_ROUNDS + 1), (left - 1) * outputs * (_COMPARISON_BYTES + 16)


def _hybrid(step: Step, batch: int, elements: int, sizes: dict[str, int]) -> tuple[int, int]:
    a = step.attrs
    kept, square, direct = (len(a[part]) for part in ("kept", "square", "direct"))
    rounds, sent = 1, 0
    if kept:
        if "knots" in a:
            bends = any(a["c2"])
            rounds += _COMPARISON_ROUNDS + bends
            sent += batch * kept * (len(a["knots"]) * _COMPARISON_BYTES + 16 * (1 + bends))
        else:
            compared = kept * (2 if a["kind"] == "relu6" else 1)
            rounds, sent = rounds + _COMPARISON_ROUNDS, sent + batch * compared * (_COMPARISON_BYTES + 16)
        if a["kind"] == "prelu":
            rounds, sent = rounds + 1, sent + 8 * (batch + 1) * kept
    horner = a["degree"] - 1 if direct else 0
    first = 1 if square or horner else 0
    rounds += first + max(horner - 1, 0) - (first if kept else 0)  # beside the comparison
    sent += 24 * batch * square + 16 * batch * direct
    if horner:  # the first product has one coefficient for all samples
        sent += 8 * (batch + 1) * direct + 16 * (horner - 1) * batch * direct
    return rounds, sent


_COSTS: dict[str, Callable[..., tuple[int, int]]] = {
    "conv2d": _beaver,
    "linear": _beaver,
    "affine": _beaver,
    "mul": lambda step, batch, elements, sizes: (1, 2 * 8 * batch * prod(step.shape)),
    "max_pool2d": _max_pool2d,
    "hybrid": _hybrid,
}


def _fused(public: FixedPublic, batch: int) -> dict[str, Online]:
    """For each correlation what opening with it takes."""
    needs = plan.plan(public, batch).needs
    costs = {}
    for step in public.steps:
        if needs.get(step.name):
            sent = [_sent(correlation) for correlation in needs[step.name].values()]
            costs[step.name] = Online(_rounds(step, needs[step.name]), *map(sum, zip(*sent)))
    costs["output"] = Online(1, 8 * batch * prod(public.output_shape), 0)
    return costs


def _sent(correlation: Correlation) -> tuple[int, int]:
    """Bytes from the server and from the client."""
    if isinstance(correlation, Product):
        return 0, 8 * prod(correlation.x)
    if isinstance(correlation, Compare):
        planes = len(carry.OPERANDS) * sum(correlation.levels) + 1
        words = correlation.n + planes * correlation.words
    else:
        words = prod(correlation.x) * (2 if isinstance(correlation, Multiply) else 1)
    return 8 * words, 8 * words


def _rounds(step: Step, needs: dict[str, Correlation]) -> int:
    comparisons = [len(c.levels) + 2 for c in needs.values() if isinstance(c, Compare)]
    if step.op == "max_pool2d":
        return sum(comparisons)
    if step.op != "hybrid":
        return 1
    kept = sum(comparisons) + sum(role in needs for role in ("slope", "power1", "power2"))
    return max(kept, 2 if "square" in needs else 0, step.attrs["degree"] if "lead" in needs else 0)
