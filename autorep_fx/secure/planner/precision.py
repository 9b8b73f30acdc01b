"""Whether fixed point is precise enough for a network: its model against the network, on examples, step by step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..plan.plan import Plan, Step
from ..plan.ring import decode
from ..plan.server_numbers import Numbers
from ..plan.simulate import watch
from ..program.plaintext import execute, off_by, single, spread, values
from ..program.program import Program
from .bias_correction import Centering
from .divisors import of_divisors
from .ranges import at_once
from .seen import Seen, seen

#: Samples that are looked at, those of the whole range, and of which margins are known, at most; of large networks as
#: many of the first two as such parts of what may be walked at once.
_SAMPLES, OTHERS, _MARGINS = 32, 16, 256
_PART, _PART_OF_OTHERS = 2 / 3, 1 / 3

#: Of the samples and of those of the whole range, those that are glanced at.
_GLANCED = 6, 3

#: Samples on which float32 is compared with float64, the one first on which values get largest, where that is known: it
#: errs in proportion to them; and what part of what is asked for it may be off by there.
_COMPARED, _EXACT = 2, 2.0**-8

#: Part of the samples that must keep their class; the largest standard error; and one with which no class is asked for.
_SAME_CLASS, STANDARD_ERROR, _FINE = 0.995, 0.02, 0.005

#: What an input of the whole range may be off by, as a part of its own output, for each part that ``max_error`` allows.
#: An output that is much smaller than the others' is no measure: at least so much of their median is.
ELSEWHERE, _SMALLEST = 2.5, 2.0**-4

#: What is off by no more than this many times as much is as good: another draw may be.
_AS_GOOD = 1.1


@dataclass(frozen=True)
class Precision:
    """How far the fixed-point model is off.

    Attributes:
        error: of the output, as :func:`~autorep_fx.secure.program.plaintext.off_by` has it.
        standard_error: root mean square of what the output is off by, as a part of its standard deviation over samples.
        same_class: part of the samples whose largest output stays the largest, expected; 1 where the output is no row
            of scores.
        elsewhere: largest difference on an input of the whole range, as a part of its largest output.
    """

    error: float
    standard_error: float
    same_class: float
    elsewhere: float

    def holds(self, max_error: float, standard_error: float | None, times: float = 1.0) -> bool:
        """Whether it is within both bounds, or ``times`` these; with no second one, whether classes stay what they
        are."""
        if self.beyond(max_error) > times:
            return False
        if standard_error is None:
            same = 1 - self.same_class <= times * (1 - _SAME_CLASS) or self.standard_error <= times * _FINE
            return self.standard_error <= times * STANDARD_ERROR and same
        return self.standard_error <= times * standard_error

    def as_good_as(self, other: Precision) -> bool:
        """Whether nothing is off by more than a tenth more."""
        pairs = ((self.error, other.error), (self.standard_error, other.standard_error),
                 (self.elsewhere, other.elsewhere), (1 - self.same_class, 1 - other.same_class))  # fmt: skip
        return all(own <= _AS_GOOD * others for own, others in pairs)

    def beyond(self, max_error: float) -> float:
        """The largest difference, on examples or elsewhere, as a part of what ``max_error`` allows."""
        return max(self.error, self.elsewhere / ELSEWHERE) / max_error


class Look:
    """The examples that are looked at, and what a program gives on them.

    Of many, 32 are, or fewer of a large network: in turn one on which values get largest, and one of the first.

    Attributes:
        margins: by how much the largest score of each example exceeds the next one; empty where there are no scores.

    Args:
        program: with the values that a plan has. original: what it was made from, if its output is to be the truth.
        others: inputs of the whole range, of which the output alone is looked at.
        nearest: how runs round, as of :func:`~..plan.simulate.simulate`.
        centers: plans get constants that put the means of layers right (bias_correction.py).
        asked: the least error that a plan is to be told by; 0 wants float64 whatever that costs.
        known: what a walk over the examples has shown of what ``program`` was made from, in the scale of ``program``.
        done: is called after every step of a plan that is walked.
    """

    def __init__(
        self,
        program: Program,
        original: Program | None,
        examples: Tensor,
        others: Tensor | None = None,
        *,
        nearest: bool = False,
        centers: bool = False,
        asked: float = 0.0,
        known: Seen | None = None,
        done: Callable[[], None] = lambda: None,
    ):
        self.program, self.nearest, self.done = program, nearest, done
        self._all: tuple[Plan, tuple[dict[str, Numbers], Precision]] | None = None
        examples = examples.detach().to("cpu", torch.float64)
        count = max(min(_SAMPLES, int(_PART * at_once(program))), 2)
        self.others = (
            examples[:0] if others is None else others[: max(min(OTHERS, int(_PART_OF_OTHERS * at_once(program))), 1)]
        )
        first = [*range(len(examples[:_COMPARED]))] if known is None else _chosen(known, _COMPARED)
        if known is not None and _says(known.output, program, examples, first[:1], asked):
            truth = single(program) if known.output.dtype == torch.float32 else program
            fast, own = truth, known
        else:
            fast = _in_single(program, examples[first], asked)
            own = seen(fast, examples[:_MARGINS])
            truth = fast
            if original is not None:
                truth = single(original) if fast is not program else original
                most = _chosen(own, _COMPARED)
                if off_by(execute(truth, examples[most]).double(), own.output[most].double()) <= _EXACT * asked:
                    truth = fast  # what it was made from says the same
        self.single = fast is not program
        output, chosen = own.output.double(), _chosen(own, count)
        self.x = examples[chosen]
        self.truth = output[chosen] if truth is fast else execute(truth, self.x).double()
        self.truth_of_others = execute(truth, self.others).double() if len(self.others) else self.truth[:0]
        left = of_divisors(program) if centers else own.means.keys()
        self.wanted = {name: mean for name, mean in own.means_of(chosen).items() if name not in left}
        self.spread, self.deviation = spread(self.truth), _deviation(self.truth)
        self.margins = torch.empty(0)
        if self.truth.dim() == 2 and self.truth.shape[1] > 1:  # rows of scores
            self.margins = _margins(output[:_MARGINS])

    def at(self, plan: Plan, numbers: dict[str, Numbers]) -> Precision:
        """Compare one draw of what a run returns with the program."""
        return self._walked(plan, numbers, {}, len(self.x), len(self.others))[1]

    def centered(self, plan: Plan, numbers: dict[str, Numbers]) -> tuple[dict[str, Numbers], Precision]:
        """The server's numbers with the means of layers put right, if they are to be, and :meth:`at` with these."""
        if self._all is not None and self._all[0] is plan:
            return self._all[1]
        return self._walked(plan, numbers, self.wanted, len(self.x), len(self.others))

    def glanced(self, plan: Plan, numbers: dict[str, Numbers]) -> Precision:
        """The same on a few of the examples: what is far off there needs no more, and what is far within is so."""
        found = self._walked(plan, numbers, self.wanted, *_GLANCED)
        if len(self.x) <= _GLANCED[0] and len(self.others) <= _GLANCED[1]:
            self._all = plan, found  # there are no more than a few
        return found[1]

    def first_off(self, plan: Plan, numbers: dict[str, Numbers]) -> str:
        """The first step that is off by a third as much of its own values as the output is, or more."""
        exact = values(self.program, self.x)
        exact[plan.output.name] = self.truth
        errors: dict[str, float] = {}

        def see(step: Step, value: np.ndarray) -> None:
            if step.name in exact and step.op != "input":
                errors[step.name] = off_by(torch.from_numpy(decode(value, step.frac_bits)), exact[step.name])

        watch(plan, numbers, self.x.numpy(), np.random.default_rng(0), see, nearest=self.nearest)
        return next(name for name, off in errors.items() if off >= errors[plan.output.name] / 3)

    def _walked(
        self, plan: Plan, numbers: dict[str, Numbers], wanted: Mapping[str, np.ndarray], count: int, others: int
    ) -> tuple[dict[str, Numbers], Precision]:
        """So many of the examples, and of the others, at once."""
        x = self.x[:count]
        centering = Centering(numbers, {name: mean[: len(x)] for name, mean in wanted.items()})
        output: list[Tensor] = []

        def see(step: Step, value: np.ndarray) -> np.ndarray | None:
            if step is plan.output:
                output.append(torch.from_numpy(decode(value, step.frac_bits)))
            self.done()
            return centering.see(step, value[: len(x)])

        both = torch.cat([x, self.others[:others]]).numpy()
        watch(plan, numbers, both, np.random.default_rng(0), see, nearest=self.nearest, single=self.single)
        found, elsewhere = output[0].split([len(x), len(output[0]) - len(x)])
        off = (found - self.truth[: len(x)]) * centering.of_others(_each_channel(found))
        return centering.numbers, Precision(
            float(off.abs().max()) / self.spread if off.numel() else 0.0,
            float(off.square().mean().sqrt()) / self.deviation if off.numel() else 0.0,
            self._same_class(off),
            self._elsewhere(elsewhere),
        )

    def _elsewhere(self, found: Tensor) -> float:
        if not found.numel():
            return 0.0
        truth = self.truth_of_others
        off, largest = (v.abs().reshape(len(v), -1).amax(1) for v in (found - truth[: len(found)], truth))
        largest = largest.clamp(min=_SMALLEST * float(largest.median()))[: len(found)]
        return float(torch.where(off > 0, off / largest.clamp_min(1e-300), 0.0).max())

    def _same_class(self, off: Tensor) -> float:
        """Few samples show no class that one in two hundred loses. The margins of many are known, and the errors of a
        few: with differences of scores off by a normal error of that size, so many keep their class."""
        if not len(self.margins):
            return 1.0
        deviation = (2 * (off - off.mean(1, keepdim=True)).square().sum() / (len(off) * (off.shape[1] - 1))).sqrt()
        lost = torch.special.ndtr(-self.margins / deviation.clamp_min(1e-300))
        return float(1 - lost.mean())


def measured(program: Program, plan: Plan, numbers: dict[str, Numbers], examples: Tensor) -> Precision:
    """How far off one draw is on ``examples``."""
    return Look(program, None, examples).at(plan, numbers)


def _chosen(known: Seen, count: int) -> list[int]:
    """So many of the samples: in turn one on which values are largest, each as a part of what all reach, and a first
    one.

    What is rounded errs in proportion to what it multiplies.
    """
    size = np.zeros(len(known.output))
    for value in known.largest.values():
        largest = value.max(1, initial=0.0)
        size += largest / (largest.max() or 1.0)
    turns = zip(np.argsort(-size, kind="stable").tolist(), range(len(size)))
    return list(dict.fromkeys(each for turn in turns for each in turn))[:count]


def _says(output: Tensor, program: Program, examples: Tensor, which: list[int], asked: float) -> bool:
    """Whether this, for all samples, is what the program says of some of them in float64."""
    exact = execute(program, examples[which])
    off = (output[which].double() - exact).abs().max() if exact.numel() else 0.0
    return float(off) <= _EXACT * asked * spread(output.double())


def _in_single(program: Program, x: Tensor, asked: float) -> Program:
    """The program in float32, where that says of some samples what it says in float64."""
    fast = single(program)
    return fast if off_by(execute(fast, x).double(), execute(program, x)) <= _EXACT * asked else program


def _each_channel(output: Tensor) -> int:
    """How many values of each channel an output (N, C, ...) has."""
    return output.numel() // max(math.prod(output.shape[1:2]), 1)


def _deviation(exact: Tensor) -> float:
    if not exact.numel():
        return 1.0
    return float((exact - exact.mean(0)).square().mean().sqrt()) or float(exact.abs().max()) or 1.0


def _margins(scores: Tensor) -> Tensor:
    """By how much the largest score of each sample (N, classes) exceeds the next one."""
    best = scores.topk(2, 1).values
    return best[:, 0] - best[:, 1]
