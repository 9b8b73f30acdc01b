"""From a transformed model to a program that two parties can run."""

from __future__ import annotations

import logging
import operator
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any

import torch
from torch import Tensor, fx

from ..errors import CompileError, CompileWarning
from ..graph.several import Batch, batch_of, counted, input_names, parts_of, rows
from ..progress import Steps, stopping
from .cost.noted import beyond_noted
from .link.network import Network, network_of
from .lower.lowered import lowered
from .makers.table import maker_of
from .plan.plan import Plan
from .plan.ring import WIDTHS
from .planner.clamp import clamped, most_bits
from .planner.equalize import equalized, in_one_scale, scaled
from .planner.extreme_inputs import of_range, probes
from .planner.extreme_room import extremes, hardly_longer, lacks, roomy, up_to
from .planner.fold_squares import unit_squares
from .planner.given_inputs import examples_and_range, with_probes
from .planner.known_gains import DRAWN, DRAWN_BY_TWO
from .planner.node import Limits, Margins
from .planner.noise_gains import gains
from .planner.planner import Planning
from .planner.precise import Fineness, Search
from .planner.precision import ELSEWHERE, OTHERS, STANDARD_ERROR, Look, Precision
from .planner.ranged_arguments import with_known_arguments
from .planner.ranges import Reach, together, worst_case
from .planner.seen import seen_in_single
from .program.ranged import RANGED
from .program.spline import SPLINE_ERROR
from .secure_program import SecureProgram

log = logging.getLogger(__name__)

#: Smallest and largest value of an input, each a number or one for each channel.
Range = tuple[float | Sequence[float], float | Sequence[float]]

#: Fewer bits leave no precision, more leave no room for a product in 64 bits.
FRAC_BITS = range(8, 25)

#: What a program has room for.
RANGES = ("calibrated", "extreme", "worst")

#: Beyond this multiple of ``max_error`` a program is refused.
_HOPELESS = 10.0

_NO_ROOM = (
    "checked=True needs rings of 32 bits everywhere, for in wider ones a tag of 64 bits misses errors: {}; or give "
    "precision= a larger value or margin_bits and window_margin_bits smaller ones, or compile without checked=True"
)

#: Values and factors get the bits that they need, and no more where that costs anything. Bits are counted from what is
#: reached: where that is a bound for all inputs, those of the examples are far below.
_LIMITS, _WORST = Limits(value=20, factor=20), Limits(value=40, factor=20)


def compile(
    gm: fx.GraphModule,
    example_inputs: Tensor | Sequence[Tensor],
    *,
    frac_bits: int = 16,
    ranges: str = "calibrated",
    margin_bits: int = 2,
    window_margin_bits: int = 2,
    input_range: Range | Mapping[str, Range] | None = None,
    max_error: float = 0.02,
    precision: float | None = None,
    spline_error: float = SPLINE_ERROR,
    network: Network | str = "lan",
    dealer: bool = True,
    checked: bool = False,
    clamp: bool | None = None,
    progress: bool | None = None,
) -> SecureProgram:
    """Lower a transformed model, in eval semantics, to a :class:`SecureProgram`.

    Args:
        gm: the result of :func:`autorep_fx.transform`; never changed.
        example_inputs: a batch (N, ...) of typical inputs, some dozens or more; the program runs batches of any size.
            Of a model of several inputs, a tuple of one batch for each.
        frac_bits: fractional bits of the fixed-point numbers on CrypTen, 8 to 24. The native runtime chooses its own.
        ranges: how large values get, which the native runtime needs. "calibrated": what ``example_inputs`` reach, and
            artificial pictures at the ends of the input range, times 2**margin_bits, and what gradient ascent on the
            model finds in that range, as far as it costs no precision and a twentieth of the online time at most. An
            input in the range whose inner values go further gives a wrong answer; docs/security.md says how often that
            is. "extreme": all that gradient ascent finds, whatever that costs (``program.cost()`` says what). "worst":
            what no input in the range can exceed, roundings included; it grows with every layer and soon leaves no
            room.
        margin_bits: see ``ranges``; 0 to 16. Of what gradient ascent finds, one and a half bits less.
        window_margin_bits: the same for the comparisons of kept activations, whose keys grow with every bit; 0 to 16.
            Of what gradient ascent finds, one bit less.
        input_range: the smallest and the largest value that an input may have, each a number or one for each channel
            (axis 1). The client refuses an input beyond. None: what the examples show of each channel, a quarter of its
            span wider on either side. Where axis 1 is no channel but time, rows or features (what the first layers make
            of it tells), all its positions have one range, that of all values, unless their spans differ by much, as
            those of features in several units do. Of several inputs, one for all, or a table of some by the names that
            forward() gives them. With ranges="worst", plus and minus the largest |x| of the examples,
            times 2**margin_bits.
        max_error: how far fixed point may be off on the examples at most, as a part of how far outputs of different
            samples lie apart; and on noise and patterns of the whole input range two and a half times as much, as a
            part of their own output. What is looked at is one run of 32 examples, half of them those on which values
            get largest, and of 16 others; of large networks fewer (of a ResNet-18 at 32 x 32, 15 and 7; two and one at
            least), and what is said is about others like them. Where nothing is enough there is a warning that names
            the step; beyond ten times that, on the examples, the program is refused.
        precision: the standard error that fixed point may have on the examples: root mean square of what outputs are
            off by, as a part of their standard deviation. None: what keeps the class of at least 99.5 % of the
            examples, where outputs are rows of scores, with a standard error of 0.02 at most, and an eighth of that
            where it takes no wider wire. The plan gets the significant bits that this and ``max_error`` take, and with
            them wires of 64 bits in place of 32, truncations and longer windows: 0.001 is about as exact as the runtime
            gets.
        spline_error: how far off a kept activation may be that is no ReLU (SiLU, GELU, sigmoid, ...) whose inputs reach
            8 or more, in proportion where they reach less: it is computed as a quadratic spline, with as many knots as
            this takes; ``print(program.plan())`` says what it is. It is less where the network is not precise enough
            otherwise.
        network: that the plan is for: a :class:`~autorep_fx.Network`, "loopback", "lan" or "wan". A message more may
            save more bytes than it takes time on a fast one, and never does on a slow one. Programs run on any.
        dealer: whether one makes the correlations of the runs that the plan is for. False: client and server make them
            by themselves, and what that takes counts: rings of 32 bits and more truncations in place of rings of 64,
            roundings as they are then. Programs run either way; ``print(program)`` says for which one, and
            ``program.cost()`` what the other one means.
        checked: have the server check the client's messages before it gives its half of the output, so that a client
            that deviates from the protocol gets nothing (docs/security.md). Such a program runs with a dealer and
            comparison keys on the native runtime alone, in rings of 32 bits, and is never answered unchecked.
        clamp: clip the input to its range inside the protocol, so that a client of somebody's own cannot ask about what
            lies outside. Inputs of the range are answered as without; others as what is left of them. It takes two
            comparisons of each value, and two round trips. None: where ``checked``.
        progress: show a progress bar; None shows it on a terminal, and prints a line now and then where there is none.

    Raises:
        CompileError: the graph holds nodes that two parties cannot run (lists every one and what to do about it), or
            fixed point is not precise enough for it, or it is to be checked and rings of 32 bits have no room.
        ValueError: an argument out of range, or ``example_inputs`` is no batch that the model runs.
        TypeError: ``gm`` is not a GraphModule.

    Warns:
        CompileWarning: the native runtime cannot run the program and CrypTen can; ``max_error`` is exceeded; some of
            ``example_inputs`` are far out and were left out; or the plan is beyond the limits that ``gm`` was made
            within.
    """
    given = _checked(gm, example_inputs, frac_bits, ranges, margin_bits, window_margin_bits, max_error,
                              precision, spline_error, clamp)  # fmt: skip
    if checked and not dealer:
        raise ValueError("checked=True needs a dealer, who makes the tags that messages are checked by; give one of it "
                         "and dealer=False")  # fmt: skip
    worst, clamp = ranges == "worst", checked if clamp is None else clamp
    maker = maker_of(dealer, network_of(network))
    steps = Steps(log, "compile", progress)
    with steps, stopping("compile was stopped; nothing is kept of it, and the same call begins anew"):
        original = lowered(gm, given)
        steps.done("lowered")
        x = rows(given.detach().to("cpu", torch.float64))
        original = with_known_arguments(original, x)
        x, within = examples_and_range(original, x, input_range, 2.0**margin_bits if worst else None)
        if worst:
            program, reach = equalized(original, worst_case(original, within))
            saw = None
            margins, limits = Margins(0, 0), _WORST
        else:
            artificial = torch.from_numpy(probes(within, tuple(x.shape[1:])))
            both = seen_in_single(original, torch.cat([x, artificial]))
            saw = both.of(slice(len(x)))
            program, factors = in_one_scale(original, reach := together(saw.largest))
            saw, more = saw.scaled(factors), scaled(both.of(slice(len(x), None)).largest, factors)
            reach, within = with_probes(scaled(reach, factors), within, x, pictures := (artificial, more),
                                         min(margin_bits, window_margin_bits))  # fmt: skip
            margins, limits = Margins(margin_bits, window_margin_bits), _LIMITS
        if clamp:
            limits = replace(limits, fraction=most_bits(within))
        steps.done("ranges are known")

        unit, reached = unit_squares(program, reach)  # its values are the plan's
        if saw is not None and not all(map(operator.is_, unit.steps, program.steps)):
            saw = None  # of other values
        # A bound for all inputs is one for the constants that it was made with.
        asked = min(max_error, precision or STANDARD_ERROR)
        look = Look(unit, original, x, of_range(within, x, OTHERS), nearest=maker.nearest, centers=not worst,
                    asked=asked, known=saw, done=lambda: steps.alive("plans are looked at"))  # fmt: skip
        known = gains(unit, x, DRAWN_BY_TWO if maker.nearest else DRAWN)
        steps.done("roundings are known")
        extreme = None
        if not worst:
            extreme = extremes(unit, reached, within, x, margins, pictures,
                               lambda: steps.alive("extreme inputs are looked for"))  # fmt: skip
            steps.done("extreme inputs are known")

        def planning(reached: Reach, fineness: Fineness) -> Planning:
            return Planning(unit, reached, within, margins=margins, limits=fineness.limits, gains=known,
                            extremes=extreme, bounded=worst, spline_error=fineness.spline_error,
                            widths=(32,) if checked else WIDTHS, network=network, maker=maker)  # fmt: skip

        def missing(plan: Plan) -> float:
            return lacks(plan, extreme, margins) if extreme else 0.0

        def as_cheap(finer: Plan, found: Plan) -> bool:
            return divides and hardly_longer(finer, found, network, maker)

        # What is divided by what it has, as in a normalisation, is as precise as the least precise of both.
        divides = any(step.op == "hybrid" and step.attrs["kind"] in RANGED for step in unit.steps)
        splines = any(step.op == "hybrid" and "params" in step.attrs for step in unit.steps)
        fineness = [Fineness(limits, spline_error)]
        if not checked:
            fineness.append(fineness[0].finer(weights=bool(maker.helpers), splines=splines))
        search = Search(planning, fineness, look, max_error, precision, lacks=missing, as_cheap=as_cheap,
                        done=lambda: steps.done("a plan is made"))  # fmt: skip
        try:
            if extreme is None:
                plan, numbers, found = search.found(reached)
            elif ranges == "extreme":
                plan, numbers, found = search.found(up_to(reached, extreme))
            else:
                plan, numbers, found = roomy(search.found, missing, search.easily, reached, extreme, network, maker)
        except CompileError as error:
            if checked:
                raise CompileError(_NO_ROOM.format(error)) from error
            if clamp:
                text = f"clamp=True is for the native runtime, which cannot run this program: {error}"
                raise CompileError(text) from error
            text = f"backend='native' cannot run this program, backend='crypten' can: {error}"
            warnings.warn(text, CompileWarning, 2)
            return SecureProgram(program.public, program.server, None, {}, reach, frac_bits, str(error),
                                 dealer)  # fmt: skip
    try:
        _check_precision(found, max_error, precision, lambda: look.first_off(plan, numbers))
    except CompileError as error:
        raise (CompileError(_NO_ROOM.format(error)) if checked else error) from None
    if clamp:
        plan, numbers = clamped(plan, numbers)
    plan = replace(plan, checked=checked)
    made = SecureProgram(program.public, program.server, plan, numbers, reach, frac_bits, dealer=dealer)
    if "predicted" in gm.meta:  # of a network that was made within limits
        beyond = beyond_noted(gm, made.cost(network, dealer=dealer), network_of(network), dealer)
        if beyond is not None:
            warnings.warn(beyond, CompileWarning, 2)
    return made


def _checked(gm, example_inputs, frac_bits, ranges, margin_bits, window_margin_bits, max_error, precision,
             spline_error, clamp) -> Batch:  # fmt: skip
    """The example inputs, once all arguments of :func:`compile` are what they should be."""
    if not isinstance(gm, fx.GraphModule):
        raise TypeError(
            f"gm must be the GraphModule that autorep_fx.transform returns, got {type(gm).__name__}: give "
            "transform(model)"
        )
    for name, value in (("spline_error", spline_error), ("max_error", max_error), ("precision", precision)):
        if not (isinstance(value, Real) or name == "precision" and value is None):
            raise ValueError(f"{name} must be a number, got {value!r}")
    if isinstance(frac_bits, bool) or frac_bits not in FRAC_BITS:
        raise ValueError(f"frac_bits must be {FRAC_BITS[0]} to {FRAC_BITS[-1]}, got {frac_bits!r}")
    if ranges not in RANGES:
        raise ValueError(f"ranges must be one of {', '.join(map(repr, RANGES))}, got {ranges!r}")
    for name, bits in (("margin_bits", margin_bits), ("window_margin_bits", window_margin_bits)):
        if isinstance(bits, bool) or bits not in range(17):
            raise ValueError(f"{name} must be 0 to 16, got {bits!r}")
    if not 2.0**-12 <= spline_error:
        raise ValueError(f"spline_error must be at least 2**-12, got {spline_error!r}")
    if clamp is not None and not isinstance(clamp, bool):
        raise ValueError(f"clamp must be True, False or None, got {clamp!r}")
    if not 0 < max_error:
        raise ValueError(f"max_error must be above 0, got {max_error!r}")
    if precision is not None and not 0 < precision:
        raise ValueError(f"precision must be above 0, or None, got {precision!r}")
    return _examples(gm, example_inputs)


def _examples(gm: fx.GraphModule, given: Any) -> Batch:
    """A batch of every input of the model."""
    names = input_names(gm)
    parts = tuple(given) if isinstance(given, (tuple, list)) else parts_of(given)
    if len(parts) != len(names):
        raise ValueError(
            f"example_inputs has {counted(len(parts))}, and the model takes {counted(len(names))} "
            f"({', '.join(names)}): give {'a tuple of them' if len(names) > 1 else 'one tensor'}"
        )
    for name, part in zip(names, parts):
        what = "example_inputs" if len(names) == 1 else f"'{name}' of example_inputs"
        if not isinstance(part, Tensor) or part.dim() < 2 or not part.is_floating_point():
            raise ValueError(f"{what} must be a floating-point tensor (N, ...), the kind of batch the model runs")
        if len(part) == 0 or not torch.isfinite(part).all():
            raise ValueError(f"{what} must hold at least one sample, and no NaN or infinite values")
        if len(part) != len(parts[0]):
            raise ValueError(f"{what} has {len(part)} samples, and '{names[0]}' has {len(parts[0])}")
    return batch_of(parts)


def _check_precision(
    found: Precision, max_error: float, standard_error: float | None, first: Callable[[], str]
) -> None:
    """Say what is not precise enough. first: finds the step from which on."""
    if found.error <= max_error:
        if found.beyond(max_error) > 1:
            warnings.warn(
                f"fixed point is off by up to {found.elsewhere:.2%} of the output on noise and patterns of the whole "
                f"input range, where max_error={max_error:.2%} allows {ELSEWHERE * max_error:.2%}; nothing more "
                "precise has room",
                CompileWarning,
                3,
            )
        if standard_error is not None and found.standard_error > standard_error:
            warnings.warn(
                f"fixed point has a standard error of {found.standard_error:.2%} (precision={standard_error:.2%}), "
                f"from step '{first()}' on; nothing more precise has room",
                CompileWarning,
                3,
            )
        return
    text = (
        f"fixed point is off by up to {found.error:.2%} of the differences between samples "
        f"(max_error={max_error:.2%}), from step '{first()}' on"
    )
    if found.error > _HOPELESS * max_error:
        raise CompileError(
            f"{text}; bring the channels of this layer to one scale (train with batch norm, clip outliers), or lower "
            "the margins or ranges"
        )
    warnings.warn(text, CompileWarning, 3)
