"""The examples that count, the range of inputs that a plan publishes, and the artificial pictures at its ends."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ...errors import CompileWarning
from ...graph.outliers import outlying
from ..plan.input_range import InputRange, has_channels
from ..plan.input_ranges import of_inputs, shown
from ..program.program import Program
from .ranges import Reach, growth, larger, together

#: Artificial pictures may reach so many bits further than the examples; what takes more is told apart by statistics.
_PROBE_BITS = 4


def examples_and_range(program: Program, x: Tensor, given: Any, times: float | None) -> tuple[Tensor, InputRange]:
    """The examples that count, and the range that a plan publishes.

    given: by the user. times: for ranges="worst", which promises so many times the examples' largest value.
    """
    if given is None and times is None:
        x = _without_outliers(program, x)
        return x, shown(program, x)
    parts, inputs = {}, program.public.inputs
    if isinstance(given, Mapping) and (unknown := [name for name in given if name not in inputs]):
        raise ValueError(f"input_range names {unknown[0]!r}, and the model's inputs are {', '.join(inputs)}")
    for name, part in program.public.given(x).items():
        own = given.get(name) if isinstance(given, Mapping) else given
        if own is not None:
            if not isinstance(own, (tuple, list)) or len(own) != 2:
                raise ValueError(f"input_range must be (low, high), got {own!r}")
            parts[name] = InputRange.given(own[0], own[1], part.shape[1])
            parts[name].check(part.numpy(), "example_inputs" if len(inputs) == 1 else f"'{name}' of example_inputs")
        elif times is not None:
            largest = float(part.abs().max()) * times
            parts[name] = InputRange.given(-largest, largest, part.shape[1])
        else:
            parts[name] = InputRange.of_examples(part.numpy(), has_channels(program, name))
    return x, of_inputs(program, parts)


def _without_outliers(program: Program, x: Tensor) -> Tensor:
    """One broken picture among hundreds would take the precision of all others."""
    out = torch.stack([outlying(part) for part in program.public.given(x).values()]).any(0)
    if out.any():
        samples = ", ".join(map(str, out.nonzero().flatten()[:5].tolist()))
        warnings.warn(
            f"{int(out.sum())} of {len(x)} example_inputs are far out of the others' range and are left out (sample "
            f"{samples}); a run will refuse such inputs. Give input_range= to have them answered",
            CompileWarning,
            4,
        )
    return x[~out]


def with_probes(
    reach: Reach, within: InputRange, x: Tensor, pictures: tuple[Tensor, Reach], margin: int
) -> tuple[Reach, InputRange]:
    """What artificial pictures reach as well; where that is too much for some, statistics that tell them apart.

    The pictures, here with what each of them reaches, are extremes: they need room, and no margin beyond it.
    """
    artificial, seen = pictures
    fit = growth(reach, seen) <= 2.0**_PROBE_BITS
    if fit.any():
        reach = larger(reach, {name: value * 2.0**-margin for name, value in together(seen, fit).items()})
    if fit.all():
        return reach, within
    return reach, within.with_statistics(x.numpy(), artificial[torch.from_numpy(~fit)].numpy())
