"""How near an input comes to what a plan has room for: step by step, in the clear, before anything is sent."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..plan import wire
from ..plan.input_headroom import SECOND, Use, input_headroom, table_of
from ..plan.plan import SPARE, Plan
from ..plan.ring import decode
from ..plan.server_numbers import Numbers
from ..program import tensor_ops
from ..program.plaintext import values
from ..program.program import Program, Step
from .build import LOW
from .lines import ACT, TAKEN
from .ranges import at_once
from .truncate_at import CUT


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
        limit = _bottom(steps[name], numbers[name]) if room == "padding" else _limit(steps[name], room)
        uses.append(Use(name, room, float(largest.max()) / limit, float(largest.max()), limit))
        worst = np.maximum(worst, largest / limit)
    return Headroom(tuple(uses), torch.from_numpy(worst))


def _limit(step: Step, room: str) -> float:
    if room == "window":
        bits = 2 if "knots" in step.attrs else 1  # half of a spline's window is for its knots
        return math.ldexp(1.0, step.attrs["window"] - bits - (step.frac_bits - step.attrs["align"]))
    if step.op == "product":
        return math.ldexp(1.0, step.attrs["wire"] - SPARE - step.attrs["exponents"][room == SECOND])
    return math.ldexp(1.0, step.attrs["wire"] - SPARE - wire.wire_bits(step))


def _walk(program: Program, plan: Plan, numbers: dict[str, Numbers], x: Tensor):
    """((step, room), largest of each sample) of every masked wire; values by the names of the program."""
    found = values(program, x)
    sources = {step.name: step for step in program.steps}
    for step in plan.steps:
        if step.op == "product":
            for room, name in zip(("ring", SECOND), sources[step.name].inputs):
                yield (step.name, room), _largest(found[name].reshape(len(x), -1))
            continue
        if step.op not in ("activation", "output"):
            continue
        kept = step.attrs.get("kept", ())
        if step.op == "output":
            y = found[program.public.output]
        elif (source := step.inputs[0].removesuffix(CUT)) in found:  # a site, or a truncation in between
            y = found[source]
        elif step.inputs[0].endswith(TAKEN):
            y = _taken(plan, step, numbers, found[sources[step.name.removesuffix(ACT)].inputs[0]])
        else:
            pool = sources[_pool_of(step.name, sources)]
            x_pool, padding = found[pool.inputs[0]], next((s for s in plan.steps if s.name == pool.name + LOW), None)
            bottom = math.inf if padding is None else _bottom(padding, numbers[padding.name])
            y = _gaps(pool, x_pool, bottom)
            if padding is not None:
                yield (padding.name, "padding"), _largest(-x_pool.reshape(len(x), -1).clamp(max=0.0))
        flat = y.reshape(len(x), -1)
        offset = _offset(step, numbers.get(step.name))
        yield (step.name, "ring"), _largest(flat if offset is None else flat + offset)
        if len(kept):
            compared = flat if len(kept) == step.size or flat.shape[1] != step.size else flat[:, kept]
            unit = 2.0 ** -(step.frac_bits - step.attrs["align"])
            points = [0.0] if "knots" in step.attrs else [point * unit for point in wire.points(step)]
            yield (step.name, "window"), np.max([_largest(compared - point) for point in points], 0)


def _taken(plan: Plan, step: Step, numbers: dict[str, Numbers], x: Tensor) -> Tensor:
    """The positions of a site of lines that travel, times what its layer was multiplied by."""
    taken, scale = next(s for s in plan.steps if s.name == step.inputs[0]), np.ones(step.size)
    own = next((s for s in plan.steps if s.inputs == (step.name,) and s.op == "map"), None)
    if own is not None:
        kept = step.attrs["kept"]
        scale[kept] = 1 / decode(numbers[own.name].weight, own.attrs["weight_bits"])[kept]
    return x.flatten(1)[:, taken.attrs["positions"]] * torch.from_numpy(scale)


def _offset(step: Step, own: Numbers | None) -> Tensor | None:
    """What the server adds to a wire before it is masked: the offsets of the completed squares."""
    if own is None or own.constant is None:
        return None
    offset = np.broadcast_to(decode(own.constant, wire.wire_bits(step)), step.shape)
    return torch.from_numpy(offset.reshape(1, -1).copy())


def _largest(flat: Tensor) -> np.ndarray:
    return flat.abs().amax(1).numpy() if flat.shape[1] else np.zeros(len(flat))


def _pool_of(name: str, sources: dict[str, Step]) -> str:
    """The max pooling that a comparison of its tree belongs to."""
    while name not in sources:
        name = name.rpartition(".")[0]
    return name


def _bottom(padding: Step, own: Numbers) -> float:
    """What a max pooling pads with lies so far below zero."""
    return float(-decode(own.constant, padding.frac_bits).min())


def _gaps(step: Step, x: Tensor, bottom: float) -> Tensor:
    """Largest difference that a max pooling may compare in each window; padded elements are ``-bottom``."""
    padded = any(step.attrs["padding"])
    low = tensor_ops.windows(step, x, -bottom if padded else math.inf).amin(0)
    return tensor_ops.windows(step, x, -bottom if padded else -math.inf).amax(0) - low
