"""Drafts of plans: nearly those that ``compile`` makes, of which nobody looked at how precise they are.

What plans cost is their structure: which wires there are, their rings and windows, and where truncations are put. So a
draft is never run in fixed point, and what the choice of positions leaves as it is, weights, shapes and the range of
inputs, is found once for all drafts of a network.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx

from ..errors import CompileError
from ..graph.canonicalize import site_nodes
from ..graph.several import Batch, rows
from ..graph.targets import path_of
from ..hybrid.activation import HybridActivation, copy_without_statistics, known, sites
from ..secure.link.network import Network
from ..secure.lower.lowered import lowered
from ..secure.lower.site import lower_site
from ..secure.makers.table import maker_of
from ..secure.plan.input_ranges import shown
from ..secure.plan.plan import Plan, node_of
from ..secure.planner.equalize import equalized
from ..secure.planner.fold_squares import unit_squares
from ..secure.planner.known_gains import DRAWN, DRAWN_BY_TWO
from ..secure.planner.noise_gains import gains
from ..secure.planner.planner import Planning
from ..secure.planner.precise import FINER, FIRST_ERROR
from ..secure.planner.ranges import calibrated
from ..secure.program.program import Program, Step

#: Samples that drafts are made from: with fewer there is a truncation more or less than plans have.
_DRAFTED = 64

#: Parts of the examples' size for which drafts are made where they have no room.
_SMALLER = (1 / 4, 1 / 16, 1 / 64)

Masks = Mapping[str, Tensor]


class Drafts:
    """Of one network, whose weights stay as they are.

    Args:
        gm: a transformed model with polynomials, and lines where drafts have lines; never changed.
        x: a batch of examples.
        network, dealer: that plans are for.
    """

    def __init__(self, gm: fx.GraphModule, x: Batch, network: Network, dealer: bool = True):
        self.network, self.maker = network, maker_of(dealer, network)
        self.gm, self.x = copy_without_statistics(gm), x[:_DRAFTED]
        self.sites = sites(self.gm)
        self.rows = rows(self.x.detach().to("cpu", torch.float64))
        #: The first program, and names of the sites by those of their steps in it; none where it has others.
        self._first: Program | None = None
        self._site_of: dict[str, str] = {}

    def of(self, keep: Masks, line: Masks) -> Plan:
        """With these masks of the sites. Squares that follow one another run away before any training. What they cost
        hardly depends on how large numbers get, so where there is no room for what the examples bring, the plan is one
        for smaller examples.

        Raises:
            CompileError: there is none for these either; or the native runtime cannot run the network.
        """
        for name, site in self.sites.items():
            site.set_line(line[name])
            site.set_keep(keep[name])
        return self.as_it_is()

    def evenly(self, kept: Mapping[str, int], line: bool) -> Plan:
        """With so many positions kept at each site, at even distances, and lines or squares at the others.

        Raises:
            CompileError: as of :meth:`of`.
        """
        keep = {}
        for name, site in self.sites.items():
            flat = torch.zeros(site.total, dtype=torch.bool)
            flat[torch.arange(kept[name]) * site.total // max(kept[name], 1)] = True
            keep[name] = flat.view(known(site.shape))
        return self.of(keep, {name: torch.full_like(mask, line) for name, mask in keep.items()})

    def like(self, gm: fx.GraphModule) -> Plan:
        """With the masks of ``gm``, the same network.

        Raises:
            CompileError: as of :meth:`of`.
        """
        there = sites(gm)
        return self.of({name: known(site.keep) for name, site in there.items()},
                       {name: site.takes_line for name, site in there.items()})  # fmt: skip

    def as_it_is(self) -> Plan:
        """With the masks that the network has.

        Raises:
            CompileError: as of :meth:`of`.
        """
        program = self._lowered()
        try:
            return self._planned(program, 1.0)
        except CompileError:
            for times in _SMALLER:
                with contextlib.suppress(CompileError):
                    return self._planned(program, times)
            raise

    def _planned(self, program: Program, times: float) -> Plan:
        """For examples of so many times their size."""
        x = times * self.rows
        within = shown(program, x)
        program, reach = equalized(program, calibrated(program, x))
        program, reach = unit_squares(program, reach)
        known = gains(program, x, DRAWN_BY_TWO if self.maker.nearest else DRAWN)
        planning = Planning(program, reach, within, gains=known, network=self.network, maker=self.maker)
        return planning.drafted(FIRST_ERROR, FINER)

    def _lowered(self) -> Program:
        """The program with the masks as they are: of all but the first one, what is no site is that of the first."""
        if self._first is None or not self._site_of:
            program = lowered(self.gm, self.x)
            if self._first is None:
                self._first, self._site_of = program, self._own_steps(program)
            return program
        own = {name: lower_site(self.sites[site]) for name, site in self._site_of.items()}
        steps, server = [], dict(self._first.server)
        for step in self._first.steps:
            if step.name in own:
                attrs, secrets = own[step.name]
                if attrs["per_channel"] != step.attrs["per_channel"]:  # squares and lines in one channel
                    return lowered(self.gm, self.x)
                for key in step.secrets.values():
                    del server[key]
                keys = {role: f"{step.name}.{role}" for role in secrets}
                server |= {keys[role]: secret for role, secret in secrets.items()}
                step = replace(step, attrs=attrs, secrets=keys)
            steps.append(step)
        shapes = {key: tuple(tensor.shape) for key, tensor in server.items()}
        return Program(replace(self._first.public, steps=tuple(steps), secret_shapes=shapes), server)

    def _own_steps(self, program: Program) -> dict[str, str]:
        """Names of the sites by those of their steps; none where a step is not what its site alone comes to, as where
        the batch was somewhere else and the program has it in front."""
        nodes = {node.name: path_of(node) for node in site_nodes(self.gm, HybridActivation)}
        steps = [step for step in program.steps if step.op == "hybrid" and node_of(step.name) in nodes]
        found = {step.name: nodes[node_of(step.name)] for step in steps}
        same = all(_is_of(step, program, self.sites[found[step.name]]) for step in steps)
        return found if same and len(found) == len(nodes) else {}


def unreplaced_plan(gm: fx.GraphModule, x: Batch, network: Network, dealer: bool = True) -> Plan:
    """A draft of the plan that ``gm`` would have with every activation kept.

    Raises:
        CompileError: the native runtime cannot run it.
    """
    drafts = Drafts(gm, x, network, dealer)
    return drafts.evenly({name: site.total for name, site in drafts.sites.items()}, line=False)


def _is_of(step: Step, program: Program, site: HybridActivation) -> bool:
    attrs, secrets = lower_site(site)
    own = {role: program.server[key] for role, key in step.secrets.items()}
    return _same(attrs, step.attrs) and _same(secrets, own)


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(value, other[name]) if isinstance(value, Tensor) else value == other[name]
        for name, value in one.items()
    )
