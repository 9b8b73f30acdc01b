"""The one walk through the graph that shows what arrives at each site."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn

from ..errors import CalibrationError
from ..progress import stepwise
from .batches import Batches
from .canonicalize import site_nodes
from .devices import device_of, misfit
from .several import Batch, parts_of
from .statistics import SiteStatistics
from .targets import module_of, path_of

log = logging.getLogger(__name__)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Eval mode for a while; every submodule gets back the mode that it had."""
    modes = [(m, m.training) for m in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for m, mode in modes:
            m.training = mode


class SiteWalk(fx.Interpreter):
    """Runs a graph and shows each site's call to :meth:`at_site`; an error in a node names the node.

    A site sees (N, C, ...): of one number a sample, (N,), it sees (N, 1).
    """

    def __init__(self, gm: fx.GraphModule, site_type: type[nn.Module]):
        super().__init__(gm)
        self.sites = set(site_nodes(gm, site_type))
        self.extra_traceback = False
        self.current: fx.Node | None = None

    def at_site(self, name: str, site: Any, x: Tensor) -> Tensor:
        """``site``: a module of the type that the walk was made for."""
        return site(x)

    def run_node(self, node: fx.Node):
        self.current = node
        if node not in self.sites:
            return super().run_node(node)
        (x, *_), _ = self.fetch_args_kwargs_from_env(node)
        site = module_of(self.module, node)
        return self.at_site(path_of(node), site, x.reshape(_batched(x))).reshape(x.shape)

    def walk(self, x: Batch, what: str):
        """Run on one batch.

        Raises:
            CalibrationError: the batch does not fit the model; names ``what``, its shape and the node.
        """
        try:
            given = parts_of(x.to(device_of(self.module), copy=True))  # the model may write into its input
            return self.run(*given)
        except CalibrationError as error:
            if why := misfit(self.module, parts_of(x)[0]):
                raise CalibrationError(f"{error}; {why}") from error
            raise
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            said = str(error).splitlines()[0]
            why = misfit(self.module, parts_of(x)[0])
            raise CalibrationError(
                f"{what} of shape {tuple(x.shape)} does not go through the model at node '{self.current}': {said}"
                f"{f'; {why}' if why else ''}"
            ) from error


class _Collector(SiteWalk):
    def __init__(self, gm: fx.GraphModule, site_type: type[nn.Module], degree: int, bins: int):
        super().__init__(gm, site_type)
        self.degree, self.bins = degree, bins
        self.statistics: dict[str, SiteStatistics] = {}

    def at_site(self, name: str, site: nn.Module, x: Tensor) -> Tensor:
        if name not in self.statistics:
            self.statistics[name] = SiteStatistics(tuple(x.shape[1:]), self.degree, self.bins)
        _add(self.statistics[name], name, site, x)
        return site(x)


def calibrate(
    gm: fx.GraphModule,
    batches: Batches,
    site_type: type[nn.Module],
    degree: int = 2,
    bins: int = 256,
    progress: bool | None = None,
) -> dict[str, SiteStatistics]:
    """Walk the graph once over all batches in eval mode; returns the statistics of every site, by name.

    Where positions are replaced already, this shows what arrives behind the polynomials. ``degree`` is the highest
    degree that can be fitted from the result. ``progress``: True, False, or None for a bar on a terminal only.

    Raises:
        CalibrationError: see :class:`Batches`; also a batch that the model cannot run, with the node that failed.
    """
    collector = _Collector(gm, site_type, degree, bins)
    with evaluating(gm), torch.no_grad():
        for i, (x, _) in enumerate(stepwise(log, batches, "calibrate", progress, "batch")):
            collector.walk(x, f"{batches.name} batch {i}")
    return collector.statistics


def calibrate_in_order(
    gm: fx.GraphModule,
    batches: Batches,
    site_type: type[nn.Module],
    fit: Callable[[str, Any, SiteStatistics], None],
    degree: int = 2,
    bins: int = 256,
    progress: bool | None = None,
) -> None:
    """Walk the graph once, all batches together node by node, and let ``fit`` change each site before it runs.

    So every site is fitted to what really arrives there behind the sites that were fitted before it. Needs the memory
    for what all batches hold at one place of the graph (:class:`InOrder`).
    """
    with evaluating(gm), torch.no_grad():
        walk = InOrder(gm, site_type, batches)
        for node in stepwise(log, list(gm.graph.nodes), "fit", progress, "node"):
            if node in walk.sites:
                name, site = path_of(node), module_of(gm, node)
                inputs = walk.arriving(node)
                statistics = SiteStatistics(tuple(inputs[0].shape[1:]), degree, bins)
                for x in inputs:
                    _add(statistics, name, site, x)
                fit(name, site, statistics)
            walk.run(node)


class InOrder:
    """A walk of all batches together, node by node, so that a node may change before it runs.

    Holds what all batches have at one place of the graph, and no more.
    """

    def __init__(self, gm: fx.GraphModule, site_type: type[nn.Module], batches: Batches):
        self._walks = []
        for x, _ in batches:
            walk = SiteWalk(gm, site_type)
            walk.args_iter, walk.env = iter(parts_of(x.to(device_of(gm), copy=True))), {}
            self._walks.append(walk)
        self.sites = self._walks[0].sites

    def arriving(self, node: fx.Node) -> list[Tensor]:
        """What every batch gives ``node`` to read; a site sees (N, C, ...)."""
        source: Any = node.args[0]
        inputs = [walk.env[source] for walk in self._walks]
        return [x.reshape(_batched(x)) for x in inputs] if node in self.sites else inputs

    def run(self, node: fx.Node) -> list[Any]:
        """What every batch has at ``node``. Nodes are run in the order of the graph."""
        for walk in self._walks:
            walk.env[node] = walk.run_node(node)
        values = [walk.env[node] for walk in self._walks]
        for walk in self._walks:
            for done in walk.user_to_last_uses.get(node, ()):
                del walk.env[done]
        return values


def _batched(x: Tensor) -> tuple[int, ...]:
    return (len(x), 1) if x.dim() == 1 else tuple(x.shape)


def _add(statistics: SiteStatistics, name: str, site: nn.Module, x: Tensor) -> None:
    activation = getattr(site, "activation", site)  # a hybrid site is fitted to its activation
    add(statistics, name, x, activation(x))


def add(statistics: SiteStatistics, name: str, x: Tensor, a: Tensor) -> None:
    """Add what arrives at site ``name``, and what the activation is to be there.

    Raises:
        CalibrationError: it is not finite.
    """
    if not torch.isfinite(x).all():
        raise CalibrationError(
            f"the input of site '{name}' is not finite on this batch: the model overflows, or has NaN itself"
        )
    statistics.update(x, a)
