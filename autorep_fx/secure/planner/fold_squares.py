"""Squares without a factor: ``c2 (y + o)**2`` is the square of a scaled input, and the scale is in the layers around.

    before:  y = layer(x) -> c2 (y + o)**2 + e, or relu(y) where it is kept -> reader          a factor a position
    after:   z = (r layer)(x) -> (z + r o)**2 + u e, or relu(z) 2^k -> reader (1 / u)          none

With ``r**2 = u c2`` the square is u times what it was, and so is the ReLU with ``r 2^k = u``; the readers' weights take
``1 / u``. This saves a map with all that is dealt for it, and the factor's bits, which a ring of 32 bits has no room
for. Of a channel that keeps some of its positions ``r = 2^k c2`` and ``u = 4^k c2``, and of one that keeps none u is
free: it, and k, bring all channels to one scale, u = 1 / (3 R) for inputs up to R, with which z + r o stays within 1/2
where a ReLU was fitted. A line has ``r = u c1``.

What is public of it is k, a number of 0 to 4 for each channel that keeps some of its positions beside squares: about
how much the polynomial bends, ``4^-k``. r, u and the factors that shortcuts get (an "affine" of their own, where
something reads the site that has no weights) are the server's.

Exact in real numbers, but for squares that bend by less than 2**-8 of their input, which are made to bend by as much:
off by at most 2**-10 of the largest input.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch

from ...text import brief
from ..program.channel_scaling import THROUGH, keeps_channels, reads_channels, scale_columns, scale_rows, scales_rows
from ..program.kinds import EXACT, homogeneous
from ..program.program import Program, Step
from .ranges import Reach

#: A polynomial over inputs up to R with a smaller ``|c2| R`` is a line.
_LINE = 2.0**-8

#: Largest k.
_MOST = 4

#: Ends the name of the factors that a reader without weights gets.
UNIT = ".unit"


def unit_squares(program: Program, reach: Reach) -> tuple[Program, Reach]:
    """The program with squares of factor 1 wherever that costs no more maps, and what its values then reach.

    A site that is so already stays as it is.
    """
    graph = _Graph(program, reach)
    for step in program.steps:
        if step.op == "hybrid" and step.attrs["degree"] == 2 and len(step.attrs["replaced"]):
            if "unit" not in step.attrs:
                _make_unit(graph, graph.steps[step.name])
    return graph.program(), graph.reach


def _make_unit(graph: _Graph, site: Step) -> None:
    found = _scales(site, graph.server[site.secrets["coeffs"]].numpy(), graph.reach[site.inputs[0]])
    if found is None or site.name == graph.public.output:
        return
    if graph.maps_to_multiply(site.inputs[0]) + graph.maps_to_divide(site, found.u) > 1:
        return
    graph.multiply(site.inputs[0], site, found.r)
    graph.divide(site.name, found.u)
    attrs = {**site.attrs, "unit": True} | ({"lifts": tuple(found.k.tolist())} if found.k.any() else {})
    graph.server[site.secrets["coeffs"]] = torch.from_numpy(found.coeffs)
    graph.replace(dataclasses.replace(graph.steps[site.name], attrs=attrs))


@dataclass(frozen=True)
class _Scales:
    """By channel, (C,): what the layer before is multiplied by, what the site's result is, and the public k; and the
    polynomials that are left, (3, C)."""

    r: np.ndarray
    u: np.ndarray
    k: np.ndarray
    coeffs: np.ndarray

    __repr__ = brief


def _scales(site: Step, coeffs: np.ndarray, reach: np.ndarray) -> _Scales | None:
    """None where a site has no such form: it keeps what does not commute with a factor beside its squares, or a square
    that opens downwards, or has none."""
    channels, each = site.shape[0], site.attrs["per_channel"]
    keeps, replaces = (np.bincount(site.attrs[name].numpy() // each, minlength=channels) > 0
                       for name in ("kept", "replaced"))  # fmt: skip
    if keeps.any() and not homogeneous(site.attrs["kind"]):
        return None
    largest = np.maximum(reach, 2.0**-20 * (reach.max() or 1.0))
    (c0, c1, c2), both = coeffs.copy(), keeps & replaces
    bend = c2 * largest
    if (both & (bend < -_LINE)).any() or not (replaces & (np.abs(bend) >= _LINE)).any():
        return None
    # A square that is kept beside has to bend: as much is added as it lacks, and taken off again in its middle.
    added = np.where(both & (bend < _LINE), _LINE / largest - c2, 0.0)
    c2, c0 = c2 + added, c0 - added * largest**2 / 2
    free, k = 1 / (3 * largest), np.zeros(channels, np.int64)
    k[both] = np.rint(-np.log2(3 * (c2 * largest)[both]) / 2).clip(0, _MOST)
    if k.any() and EXACT[site.attrs["kind"]].slope is not None:
        return None
    # Of the others, what bends too little is a line through the middle of the bend.
    line = replaces & ~keeps & (np.abs(bend) < _LINE)
    c0 = np.where(line, c0 + c2 * largest**2 / 2, c0)
    leading = np.where(line, c1, c2)
    u = np.where(both, 4.0**k * c2, np.where(replaces & (leading < 0), -free, free))
    r = np.where(both, 2.0**k * c2, np.where(line, u * c1, np.where(replaces, np.sqrt(np.abs(u * c2)), free)))
    slope = np.where(line, 1.0, c1 * u / np.where(r == 0, 1.0, r))
    found = np.stack([u * c0, slope, np.where(line, 0.0, 1.0)])
    return _Scales(r, u, k, np.where(replaces, found, 0.0))


class _Graph:
    """A program being rewritten: its steps in order, who reads what, the server's numbers, what is reached."""

    def __init__(self, program: Program, reach: Reach):
        self.public, self.server, self.reach = program.public, dict(program.server), dict(reach)
        self.steps = {step.name: step for step in program.steps}
        self.shapes = program.public.inputs
        self.shapes |= {step.name: step.shape for step in program.steps}

    def program(self) -> Program:
        shapes = {key: tuple(value.shape) for key, value in self.server.items()}
        public = dataclasses.replace(self.public, steps=tuple(self.steps.values()), secret_shapes=shapes)
        return Program(public, self.server)

    def replace(self, step: Step) -> None:
        self.steps[step.name] = step

    def readers(self, name: str) -> list[Step]:
        return [step for step in self.steps.values() if name in step.inputs]

    def _alone(self, name: str) -> bool:
        return name != self.public.output and sum(step.inputs.count(name) for step in self.readers(name)) == 1

    def _insert(self, name: str, x: str, factor: np.ndarray, readers: list[Step]) -> None:
        """An affine of ``x`` that these read in its place, before the first of them."""
        key = f"{name}.scale"
        self.server[key] = torch.from_numpy(factor.copy())
        found: dict[str, Step] = {}
        reading = {step.name for step in readers}
        affine = Step(name, "affine", (x,), self.shapes[x], {}, {"scale": key})
        for step in self.steps.values():
            if step.name in reading:
                found.setdefault(name, affine)
                step = dataclasses.replace(step, inputs=tuple(name if i == x else i for i in step.inputs))
            found[step.name] = step
        self.steps, self.shapes[name] = found, self.shapes[x]
        self.reach[name] = self.reach[x] * np.abs(factor)

    def maps_to_multiply(self, name: str) -> int:
        """Maps that it takes to multiply the channels of a value for its one reader."""
        step = self.steps.get(name)
        if step is None or not self._alone(name):
            return 1
        if scales_rows(step):
            return 0
        return min(sum(self.maps_to_multiply(part) for part in step.inputs), 1) if self._is_sum(step) else 1

    def _is_sum(self, step: Step) -> bool:
        if step.op != "add" or step.inputs[0] == step.inputs[1]:
            return False
        same = all(self.shapes[part] == step.shape for part in step.inputs)
        return same and sum(self.maps_to_multiply(part) for part in step.inputs) <= 1

    def multiply(self, name: str, reader: Step, factor: np.ndarray) -> None:
        """Multiply the channels of a value for the step that reads it."""
        step = self.steps.get(name)
        if step is not None and self._alone(name):
            if scales_rows(step):
                scale_rows(step, self.server, torch.from_numpy(factor))
                self.reach[name] = self.reach[name] * np.abs(factor)
                return
            if self._is_sum(step):
                for part in step.inputs:
                    self.multiply(part, self.steps[name], factor)
                self.reach[name] = self.reach[name] * np.abs(factor)
                return
        self._insert(f"{name}.{reader.name}{UNIT}", name, factor, [reader])

    def maps_to_divide(self, step: Step, factor: np.ndarray) -> int:
        """Maps that it takes to divide the channels of a value for all of its readers."""
        return int(not all(self._absorbs(reader, step.name, factor) for reader in self.readers(step.name)))

    def _absorbs(self, reader: Step, name: str, factor: np.ndarray) -> bool:
        """Whether the channels' factors go into weights behind ``reader`` of this value."""
        if reads_channels(reader, self.shapes[name], len(factor)):
            return True
        if reader.op == "max_pool2d" and (factor < 0).any():
            return False
        if reader.op not in THROUGH or reader.name == self.public.output:
            return False
        if not keeps_channels(reader, self.shapes[name]):
            return False
        behind = self.readers(reader.name)
        return bool(behind) and all(self._absorbs(step, reader.name, factor) for step in behind)

    def divide(self, name: str, factor: np.ndarray) -> None:
        """Multiply a value's channels, and divide whatever reads it."""
        found, others = self.reach[name], []
        self.reach[name] = found * np.abs(factor).repeat(len(found) // len(factor))
        for reader in self.readers(name):
            if not self._absorbs(reader, name, factor):
                others.append(reader)
            elif reads_channels(reader, self.shapes[name], len(factor)):
                scale_columns(reader, self.server, torch.from_numpy(1 / factor))
            else:
                self.divide(reader.name, factor)
        if others:
            self._insert(f"{name}{UNIT}", name, 1 / factor, others)
