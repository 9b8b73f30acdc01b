"""Calibration data, and the one walk through the graph that shows what arrives at each site."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from operator import itemgetter
from typing import Any, TypeGuard

import torch
from torch import Tensor, fx, nn

from ..errors import CalibrationError, CalibrationWarning
from ..progress import stepwise
from . import outliers
from .canonicalize import site_nodes
from .devices import device_of
from .nested import in_words, leaves, mapped
from .statistics import SiteStatistics
from .targets import module_of, path_of

log = logging.getLogger(__name__)

_CHUNK = 128
_NAMED = 5


class Batches:
    """Checked calibration batches that can be walked more than once: (input, label or None).

    Accepts a tensor (N, ...), a pair (inputs, integer labels), or an iterable of batches, each a tensor or a tuple
    whose first entry is the input; a second entry that is a tensor of one value a sample, or more, is taken as the
    labels, or targets. A pair of floating-point tensors may be two batches or inputs and their targets, and is refused.

    With ``targets``, for a loss of one's own, every batch is a pair of inputs and targets of any kind, and so is
    ``data``, where it is a pair that begins with inputs.

    With ``leave_out``, samples that are far out (:mod:`~autorep_fx.graph.outliers`) are left out of every walk, and the
    first one, which looks at all samples once before, names them in a CalibrationWarning.

    Raises:
        CalibrationError: on the first walk past a batch that is empty, not finite, not floating point, or of another
            shape than the first; and for no batches at all.
    """

    def __init__(
        self, data: Tensor | Iterable, name: str = "calibration", leave_out: bool = False, targets: bool = False
    ):
        self.name, self.targets = name, targets
        self.limit = None if leave_out else torch.inf  # of a sample's largest |x|; None: not known yet
        if targets and _is_pair(data):
            data = _in_chunks(*data)
        elif _is_labelled_pair(data):
            data = list(zip(data[0].split(_CHUNK), data[1].split(_CHUNK)))
        elif isinstance(data, Tensor):
            if data.dim() < 2 or len(data) == 0:
                raise CalibrationError(f"{name} is a tensor of shape {tuple(data.shape)}; it needs (N, ...) with N > 0")
            data = data.split(_CHUNK)
        elif not isinstance(data, Iterable) or isinstance(data, (str, bytes, dict)):
            raise CalibrationError(f"{name} must be a tensor or an iterable of batches, got {type(data).__name__}")
        elif _may_be_targets(data):
            self._refuse_targets(data)
        elif isinstance(data, Iterator):
            data = list(data)  # a generator can be walked once only
        self.data = data

    def _refuse_targets(self, data: Sequence[Tensor]) -> None:
        """A list is what it says, a list of batches; but a DataLoader's batch of inputs and targets is a list, too."""
        shapes = " and ".join(str(tuple(part.shape)) for part in data)
        two = (
            f"{self.name} is a pair of floating-point tensors, {shapes}: give [(inputs, targets)], or a loss= of both, "
            "if these are targets"
        )
        if isinstance(data, tuple):
            raise CalibrationError(f"{two}, or a list [inputs, inputs] if they are two batches of inputs")
        if data[0].shape[1:] == data[1].shape[1:]:
            warnings.warn(f"{two}; they are taken as two batches of inputs", CalibrationWarning, stacklevel=4)

    def __iter__(self) -> Iterator[tuple[Tensor, Any]]:
        if self.limit is None:
            self.limit = self._find_limit()
        for x, labels in self._checked():
            inside = outliers.largest(x) <= self.limit
            if inside.all():
                yield x, labels
            elif inside.any():
                yield x[inside], _of_samples(labels, inside, self.name)

    def _find_limit(self) -> float:
        maxima = [outliers.largest(x).cpu() for x, _ in self._checked()]
        together = torch.cat(maxima)
        limit = outliers.limit(together)
        if out := int((together > limit).sum()):
            named = [f"batch {i} sample {j} ({float(m[j]):.3g})" for i, m in enumerate(maxima)
                     for j in (m > limit).nonzero().flatten().tolist()][:_NAMED]  # fmt: skip
            warnings.warn(
                f"{out} of {len(together)} samples of {self.name} are left out, their largest |x| is above "
                f"{limit:.3g}, many times the others': {', '.join(named)}{', ...' if out > _NAMED else ''}. Remove "
                "broken samples; if the model will see such inputs, scale them so that they are no exception",
                CalibrationWarning,
                stacklevel=2,
            )
        return limit

    def _checked(self) -> Iterator[tuple[Tensor, Any]]:
        shape = None
        for i, batch in enumerate(self.data):
            x, labels = self._split(batch)
            where = f"{self.name} batch {i}"
            if not isinstance(x, Tensor) or not x.is_floating_point() or x.dim() < 2:
                kind = f"{x.dtype} tensor of shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
                raise CalibrationError(f"{where} must be a floating-point tensor (N, ...), got a {kind}")
            if len(x) == 0:
                raise CalibrationError(f"{where} is empty")
            if shape is not None and x.shape[1:] != shape:
                raise CalibrationError(
                    f"{where} has samples of shape {tuple(x.shape[1:])}, the first batch had {tuple(shape)}; targets "
                    "go with their inputs, [(inputs, targets)]"
                )
            if not torch.isfinite(x).all():
                bad = int((~torch.isfinite(x)).sum())
                raise CalibrationError(f"{where} holds {bad} values that are NaN or infinite; remove those samples")
            shape = x.shape[1:]
            yield x, labels
        if shape is None:
            raise CalibrationError(f"{self.name} is empty: give at least one batch")

    def __len__(self) -> int:
        return len(self.data) if isinstance(self.data, Sized) else 0

    def _split(self, batch) -> tuple:
        if self.targets and not _is_pair(batch):
            raise CalibrationError(
                f"{self.name} has {in_words(batch)} for a batch, and loss= needs pairs (inputs, targets); give "
                f"{self.name}=[(inputs, targets), ...], or leave loss= out, where there are no targets"
            )
        if self.targets:
            return tuple(batch)
        if not isinstance(batch, (tuple, list)):
            return batch, None
        if not batch:
            return None, None
        x, label = batch[0], batch[1] if len(batch) > 1 else None
        fits = isinstance(label, Tensor) and isinstance(x, Tensor) and label.dim() >= 1 and len(label) == len(x)
        return x, label if fits else None


def _is_pair(data: Any) -> bool:
    """Inputs and what belongs to them."""
    return isinstance(data, (tuple, list)) and len(data) == 2 and isinstance(data[0], Tensor) and data[1] is not None


def _in_chunks(x: Tensor, targets: Any) -> list[tuple[Tensor, Any]]:
    """Batches of a pair, where every target says which sample it is of."""
    parts = [part for _, part in leaves(targets)]
    if not all(isinstance(part, Tensor) and part.dim() and len(part) == len(x) for part in parts):
        return [(x, targets)]
    chunks = [slice(i, i + _CHUNK) for i in range(0, len(x), _CHUNK)]
    return [(x[chunk], mapped(itemgetter(chunk), targets)) for chunk in chunks]


def _of_samples(targets: Any, inside: Tensor, name: str) -> Any:
    """The targets of those samples that are ``inside``, a mask."""

    def picked(part: Tensor) -> Tensor:
        if part.dim() == 0 or len(part) != len(inside):
            raise CalibrationError(
                f"{name} has samples that are far out, and its targets, {in_words(targets)}, are not one for each of "
                f"{len(inside)}; remove those samples from the data"
            )
        return part[inside.to(part.device)]

    return mapped(picked, targets)


def _is_labelled_pair(data: Any) -> TypeGuard[tuple[Tensor, Tensor]]:
    if not (isinstance(data, (tuple, list)) and len(data) == 2 and all(isinstance(d, Tensor) for d in data)):
        return False
    x, labels = data
    return labels.dim() == 1 and not labels.is_floating_point() and x.dim() >= 2 and len(x) == len(labels) > 0


def _may_be_targets(data: Any) -> TypeGuard[Sequence[Tensor]]:
    if not (isinstance(data, (tuple, list)) and len(data) == 2 and all(isinstance(d, Tensor) for d in data)):
        return False
    return all(d.is_floating_point() and d.dim() for d in data) and len(data[0]) == len(data[1]) > 0


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

    def walk(self, x: Tensor, what: str):
        """Run on one batch.

        Raises:
            CalibrationError: the batch does not fit the model; names ``what``, its shape and the node.
        """
        try:
            return self.run(x.to(device_of(self.module), copy=True))  # the model may write into its input
        except CalibrationError:
            raise
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            raise CalibrationError(
                f"{what} of shape {tuple(x.shape)} does not go through the model at node '{self.current}': "
                f"{str(error).splitlines()[0]}"
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
            walk.args_iter, walk.env = iter([x.to(device_of(gm), copy=True)]), {}
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
        raise CalibrationError(f"the input of site '{name}' is not finite; the model overflows on this batch")
    statistics.update(x, a)
