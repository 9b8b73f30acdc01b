"""Which inputs a program answers: what it was planned for, published, so that the client itself refuses others.

Every program has a range of values. One whose inner values may run away inside of it (squares do, on inputs of much
contrast) also has ranges of a few statistics of a sample, taken of ``z = (x - low) / (high - low)``: mean, standard
deviation and, of pictures, mean difference of neighbours down and across.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...text import brief
from ..program.program import Program, Step
from .plan import Plan
from .plan import Step as PlanStep

#: By how much of its span each channel's range is wider than what the examples show, on either side.
PAD = 0.25

#: What a sample is described by; the last two are of pictures only.
STATISTICS = ("mean", "standard deviation", "difference down", "difference across")

#: The same for statistics, of the span or of the end itself, if that is more; the first that is narrow enough.
_PADS = (1.0, 0.5, PAD)

#: So much beyond the range is let in: what was given as float32 may have been rounded there.
SLACK = 2.0**-22

#: With fewer values than this a channel's own range says little: it takes that of all channels.
_ENOUGH = 64

#: Positions are alike whose values span at most so many times what those of a narrow one do, and a quarter of them,
#: constant ones aside, are as narrow or narrower.
_ALIKE, _NARROW = 8.0, 0.25

#: Operations that leave axis 1 what it is where they leave its size.
_LEAVE = ("add_number", "add_private", "scale", "add", "mul", "hybrid", "affine", "pad", "index", "select", "reshape",
          "cat", "avg_pool2d", "max_pool2d")  # fmt: skip


def has_channels(program: Program, name: str | None = None) -> bool:
    """Whether axis 1 of a program's input (of the first, without a name) is a channel, with units of its own, and not
    time, rows or features.

    Where layers read it so (a convolution, a batch norm); of pictures also where nothing tells, but not if the model
    moves the axis first, as channels that come last are moved. Of rows (N, F) it never is.
    """
    name = program.public.input if name is None else name
    shape = program.public.inputs[name]
    if len(shape) < 2:
        return False
    same, moved = {name}, False
    for step in program.steps:
        if not same & {*step.inputs}:
            continue
        if _tells_channels(program, step):
            return True
        turned = step.op == "permute" and step.attrs["dims"][1] != 1
        moved |= turned
        if not turned and step.op in (*_LEAVE, "permute") and step.shape[:1] == shape[:1]:
            same.add(step.name)
    return len(shape) >= 3 and not moved


def _tells_channels(program: Program, step: Step) -> bool:
    if step.op == "affine":
        return any(len({*value.tolist()}) > 1 for value in program.secrets(step).values())
    return step.op == "conv2d"


@dataclass(frozen=True)
class InputRange:
    """Smallest and largest value of each channel (axis 1 of a batch), in units of the input.

    Where axis 1 is none and its positions are alike, all have the same.

    Attributes:
        low, high: (C,) float64.
        statistics: name -> (least, most) of each sample; empty where the range alone is enough.
    """

    low: np.ndarray
    high: np.ndarray
    statistics: dict[str, tuple[float, float]] = field(default_factory=dict)

    __repr__ = brief

    @staticmethod
    def of_examples(x: np.ndarray, channels: bool = True) -> InputRange:
        """What a batch (N, C, ...) shows, widened by ``PAD`` of the span on either side.

        channels: whether axis 1 is a channel (:func:`has_channels`). Positions in time and features of one kind have
        one range, that of all: a few samples do not show what each may be. Features of several units have their own.
        """
        rows = np.moveaxis(x, 1, 0).reshape(x.shape[1], -1) if x.ndim > 1 else x.reshape(1, -1)
        low, high = rows.min(1).astype(np.float64), rows.max(1).astype(np.float64)
        if rows.shape[1] < _ENOUGH or not channels and _alike(low, high):
            low, high = np.full_like(low, low.min()), np.full_like(high, high.max())
        pad = PAD * (high - low)
        return InputRange(low - pad, high + pad)

    @staticmethod
    def given(low: float | Sequence[float], high: float | Sequence[float], channels: int) -> InputRange:
        """From a number for all channels, or one for each.

        Raises:
            ValueError: not finite, of another length, or empty.
        """
        try:
            ends = [np.broadcast_to(np.asarray(end, np.float64), (channels,)).copy() for end in (low, high)]
        except (TypeError, ValueError):
            raise ValueError(
                f"input_range must be (low, high), each a number or one for each of the {channels} channels, "
                f"got {low!r} and {high!r}"
            ) from None
        if not (np.isfinite(ends).all() and (ends[0] <= ends[1]).all()):
            raise ValueError(f"input_range must be finite with low <= high, got {low!r} and {high!r}")
        return InputRange(*ends)

    @staticmethod
    def of_plan(plan: Plan) -> InputRange:
        """What a plan of one input publishes."""
        return InputRange.of_step(plan.input)

    @staticmethod
    def of_step(step: PlanStep) -> InputRange:
        """What a plan publishes of one of its inputs."""
        a = step.attrs
        return InputRange(np.array(a["low"], np.float64), np.array(a["high"], np.float64), dict(a["statistics"]))

    def of(self, name: str) -> InputRange:
        """That of one of the inputs (input_ranges.py); here there is but one."""
        return self

    @property
    def attrs(self) -> dict[str, Any]:
        """As attributes of a plan's input step."""
        return {"low": tuple(self.low.tolist()), "high": tuple(self.high.tolist()), "statistics": self.statistics}

    def with_statistics(self, x: np.ndarray, unlike: np.ndarray) -> InputRange:
        """The same range, and what the samples of a batch show of each statistic: as much wider on either side as still
        tells ``unlike`` apart, of which no sample is to be answered; a quarter, where nothing does."""
        found = self.of_samples(x)
        for pad in _PADS:
            ends = {name: _widened(float(v.min()), float(v.max()), pad) for name, v in found.items()}
            within = replace(self, statistics=ends)
            if not within.typical(unlike).any():
                break
        return within

    def typical(self, x: np.ndarray) -> np.ndarray:
        """Which samples (N,) are within the statistics."""
        inside = np.ones(len(x), bool)
        found = self.of_samples(x)
        for name, (least, most) in self.statistics.items():
            inside &= (found[name] >= least) & (found[name] <= most)
        return inside

    def of_samples(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """The statistics of each sample of a batch, (N,) by name."""
        shape = (-1, *(1,) * (x.ndim - 2)) if x.ndim > 1 else ()
        span = np.where(self.high > self.low, self.high - self.low, 1.0)
        z = (x - self.low.reshape(shape)) / span.reshape(shape)
        axes = tuple(range(1, x.ndim))
        found = dict(zip(STATISTICS, (z.mean(axes), z.std(axes))))
        if x.ndim >= 4:
            for name, axis in zip(STATISTICS[2:], (-2, -1)):
                found[name] = np.abs(np.diff(z, axis=axis)).mean(axes) if x.shape[axis] > 1 else np.zeros(len(x))
        return found

    @property
    def admitted(self) -> tuple[np.ndarray, np.ndarray]:
        """Smallest and largest value of each channel that :meth:`check` lets in."""
        slack = SLACK * self.largest
        return self.low - slack, self.high + slack

    @property
    def largest(self) -> np.ndarray:
        """Largest |x| by channel."""
        return np.maximum(np.abs(self.low), np.abs(self.high))

    def check(self, x: np.ndarray, name: str = "x") -> None:
        """Raise ValueError where a value of ``x`` (N, C, ...) is outside; says which, and what to do."""
        shape = (-1, *(1,) * (x.ndim - 2)) if x.ndim > 1 else ()
        low, high = (end.reshape(shape) for end in self.admitted)
        beyond = np.maximum(x - high, low - x)
        if not (beyond > 0).any():
            return self._check_statistics(x, name)
        at = np.unravel_index(int(beyond.argmax()), x.shape)
        channel, what = at[1] if x.ndim > 1 else 0, "channel" if x.ndim > 2 else "position"
        raise ValueError(
            f"{name} holds {int((beyond > 0).sum()):,} values beyond the range that this program was compiled for: "
            f"{float(x[at]):.4g} in sample {at[0]}, {what} {channel}, where {self.low[channel]:.4g} to "
            f"{self.high[channel]:.4g} are answered. Preprocess it like the example inputs, clip it, or compile with "
            "more examples or input_range=; check_range=False answers all the same, perhaps wrongly"
        )

    def _check_statistics(self, x: np.ndarray, name: str) -> None:
        if not self.statistics or self.typical(x).all():
            return
        sample = int((~self.typical(x)).argmax())
        found = self.of_samples(x[sample : sample + 1])
        what, (least, most) = next(
            (key, ends) for key, ends in self.statistics.items() if not ends[0] <= found[key][0] <= ends[1]
        )
        raise ValueError(
            f"{name} has a sample unlike the examples that this program was compiled for: sample {sample} has a {what} "
            f"of {found[what][0]:.3g} of the input range, where {least:.3g} to {most:.3g} are answered. Compile with "
            "examples like it; check_range=False answers all the same, perhaps wrongly"
        )


def _alike(low: np.ndarray, high: np.ndarray) -> bool:
    spans = (high - low)[high > low]
    return not len(spans) or float(high.max() - low.min()) <= _ALIKE * float(np.quantile(spans, _NARROW))


def _widened(low: float, high: float, pad: float) -> tuple[float, float]:
    return low - pad * max(high - low, low), high + pad * max(high - low, high)
