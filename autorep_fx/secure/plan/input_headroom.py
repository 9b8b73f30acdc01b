"""How near inputs come to what a plan asks of them: what whoever has the public part alone can see, without torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...text import table
from .input_range import InputRange
from .plan import Plan, Step

#: Rooms of the masked wires of a step, of which a product has two.
RINGS = ("ring", "second ring")


@dataclass(frozen=True)
class Use:
    """What one step uses of its room, largest over the samples.

    Attributes:
        step: name in the plan.
        room: "range" or a statistic of the input, which is refused beyond 1; "ring" or "window" of a wire ("second
            ring" of a product's second factor), or "padding" of a max pooling, whose result may be wrong from 1 on.
        share: part of the room that is used.
        largest: the value behind it, and ``limit``, what there is room for, both in the step's units.
    """

    step: str
    room: str
    share: float
    largest: float
    limit: float

    @property
    def fits(self) -> bool:
        return self.share < 1 if self.room in (*RINGS, "window", "padding") else self.share <= 1


@dataclass(frozen=True)
class InputHeadroom:
    """How near inputs come to what is asked of them, which is all that whoever has no weights can see; ``print`` it.

    Attributes:
        uses: of the range, and of each statistic.
    """

    uses: tuple[Use, ...]

    @property
    def fits(self) -> bool:
        """Whether the inputs are answered."""
        return all(use.fits for use in self.uses)

    @property
    def share(self) -> float:
        """Largest part of a room that is used; beyond 1 an input is refused."""
        return max(use.share for use in self.uses)

    def __repr__(self) -> str:
        return f"InputHeadroom({len(self.uses)} rooms, {self.share:.1%} used)"

    def __str__(self) -> str:
        return table_of(self.uses)


def input_headroom(plan: Plan, values: np.ndarray) -> InputHeadroom:
    """How far values and statistics of a batch in float64 are from the middle of their range, in half spans."""
    given = plan.given(values)
    return InputHeadroom(tuple(use for step in plan.inputs for use in _uses(step, given[step.name])))


def _uses(step: Step, values: np.ndarray) -> list[Use]:
    within, name = InputRange.of_step(step), step.name
    shape = (1, -1, *(1,) * (values.ndim - 2)) if values.ndim > 1 else (1,)
    low, high = (end.reshape(shape) for end in within.admitted)
    uses = [Use(name, "range", _away(values, low, high), float(np.abs(values).max()), float(within.largest.max()))]
    for statistic, (least, most) in within.statistics.items():
        found = within.of_samples(values)[statistic]
        uses.append(Use(name, statistic, _away(found, np.array(least), np.array(most)), float(found.max()), most))
    return uses


def _away(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    away, half = np.abs(values - (low + high) / 2), np.broadcast_to((high - low) / 2, values.shape)
    return float(np.divide(away, half, out=np.where(away > 0, np.inf, 0.0), where=half > 0).max())


def table_of(uses: tuple[Use, ...]) -> str:
    rows = [("step", "room", "used", "bits left", "largest", "limit")]
    for use in uses:
        left = -math.log2(use.share) if use.share > 0 else math.inf
        beyond = "" if use.fits else "  <- beyond"
        rows.append((use.step, use.room, f"{use.share:.2%}", f"{left:.1f}", f"{use.largest:.4g}",
                     f"{use.limit:.4g}{beyond}"))  # fmt: skip
    return table(rows)
