"""How near an input comes to what a plan has room for: step by step, in the clear, before anything is sent."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..plan import wire
from ..plan.input_headroom import RINGS, Use, input_headroom, table_of
from ..plan.plan import SPARE, Plan, Step
from ..plan.server_numbers import Numbers
from ..program.plaintext import values
from ..program.program import Program
from .clamp import clips
from .ranges import at_once
from .rooms import Looked, bottom
from .table import PLANNED


@dataclass(frozen=True)
class Headroom:
    """How near inputs come to each window and to the ring; ``print`` it.

    Attributes:
        uses: every room of the plan, in the order of its steps.
        samples: (N,) the largest share of each sample over all wires; at 1 or beyond its answer may be wrong. What is
            asked of the input is not among them: beyond it a sample is refused.
    """

    uses: tuple[Use, ...]
    samples: Tensor

    @property
    def fits(self) -> bool:
        """Whether every sample is answered within its rooms and its range."""
        return all(use.fits for use in self.uses)

    def __repr__(self) -> str:
        fit = "all fit" if self.fits else "not all fit"
        return f"Headroom({len(self.uses)} rooms, {len(self.samples)} samples, {fit})"

    def __str__(self) -> str:
        over = int((self.samples >= 1).sum())
        end = f"{over} of {len(self.samples)} samples may be answered wrongly" if over else "all samples have room"
        return f"{table_of(self.uses)}\n{end}"


def headroom(program: Program, plan: Plan, numbers: dict[str, Numbers], x: Tensor) -> Headroom:
    """Compute ``program`` on a batch in float64, and compare every value with the plan's room for it.

    program: with the values that the plan has (fold_squares.py).

    Roundings are not in it: they move a share by less than a hundredth.
    """
    rooms: dict[tuple[str, str], list[np.ndarray]] = {}
    for part in x.split(at_once(program)):
        for key, found in dict(_walk(program, plan, numbers, part)).items():  # a pool's padding comes once a level
            rooms.setdefault(key, []).append(found)
    steps = {step.name: step for step in plan.steps}
    uses = list(input_headroom(plan, x.detach().to("cpu", torch.float64).numpy()).uses)
    worst = np.zeros(len(x))
    for (name, room), parts in rooms.items():
        largest = np.concatenate(parts)
        limit = bottom(steps[name], numbers[name]) if room == "padding" else _limit(steps[name], room)
        uses.append(Use(name, room, float(largest.max()) / limit, float(largest.max()), limit))
        worst = np.maximum(worst, largest / limit)
    return Headroom(tuple(uses), torch.from_numpy(worst))


def _limit(step: Step, room: str) -> float:
    if room == "window":
        bits = 2 if "knots" in step.attrs else 1  # half of a spline's window is for its knots
        return math.ldexp(1.0, step.attrs["window"] - bits - (step.frac_bits - step.attrs["align"]))
    exponent = dict(zip(RINGS, wire.exponents(step)))[room]
    return math.ldexp(1.0, step.attrs["wire"] - SPARE - exponent)


def _walk(
    program: Program, plan: Plan, numbers: dict[str, Numbers], x: Tensor
) -> Iterator[tuple[tuple[str, str], np.ndarray]]:
    """((step, room), largest of each sample) of every masked wire; values by the names of the program. What clips the
    input has room for whatever comes."""
    looked = Looked(program, plan, numbers, values(program, x))
    for step in plan.steps:
        if step.masked and not clips(step.name):
            yield from PLANNED[step.op].rooms(looked, step)
