"""What a normalisation divides by, and how exact that has to be whatever the output sees of it.

Where a normalisation follows another one, or a step that it undoes, no output sees to first order what the first one's
root is off by, so that a plan made by derivatives gives its argument next to no bits. Then a sample whose argument is
small beside others' is divided by something else altogether, and what comes of it may have no room.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from ..program.program import Program, Step
from ..program.ranged import RANGED
from .node import LEAST, whole_bits

#: What is the smallest argument, in proportion to where its function ends below: a quarter of the smallest example's.
_SMALLEST = 4.0


def of_divisors(program: Program) -> set[str]:
    """Names of the values from which a root or a divisor is computed, back to layers and to sums and products."""
    return {step.name for site in _sites(program) for step in _back(program, site)}


def least_bits(program: Program, reach: Mapping[str, float]) -> dict[str, int]:
    """Significant bits that arguments of roots and divisors have at least, and what is squared for them, by the names
    of the sites that read these. reach: of every value."""
    found = {}
    for site in _sites(program):
        if RANGED[site.attrs["kind"]].power is None:
            continue
        largest, smallest = reach[site.inputs[0]], _SMALLEST * site.attrs["params"]["low"]
        octaves = max(whole_bits(largest) - whole_bits(smallest), 0) if largest else 0
        found[site.name] = LEAST + octaves
        found |= {step.name: LEAST + math.ceil(octaves / 2) for step in _back(program, site) if step.op == "hybrid"}
    return found


def _sites(program: Program) -> Iterator[Step]:
    return (step for step in program.steps if step.op == "hybrid" and step.attrs["kind"] in RANGED)


def _back(program: Program, site: Step) -> Iterator[Step]:
    steps, step = {step.name: step for step in program.steps}, site
    while len(step.inputs) == 1 and step.inputs[0] in steps:
        step = steps[step.inputs[0]]
        if "weight" in step.secrets:
            return
        yield step
