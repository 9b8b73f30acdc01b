"""A network as it stands between or after epochs: its accuracy, and batch-norm statistics that are its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ..graph.calibrate import evaluating
from ..graph.devices import device_of
from ..graph.frozen import frozen, train_unfrozen
from ..graph.nested import moved
from ..graph.several import Inputs, parts_of
from .loaders import check_classes


@torch.no_grad()
def refresh_batch_norm(model: nn.Module, loader: Iterable) -> None:
    """Running statistics of the network as it is: for each channel the median of what the batches have.

    Not their mean: squares make much of an input that is far out, and a single batch would decide. Every batch counts
    by its samples, so that a short last one decides nothing either. The variance is about the median of the means: one
    about each batch's own mean is too small where batches have few samples. Those that are frozen keep theirs.
    """
    stay = frozen(model)
    norms = [m for m in model.modules() if m not in stay
             and isinstance(m, nn.modules.batchnorm._BatchNorm) and m.running_mean is not None]  # fmt: skip
    if not norms:
        return
    device, momenta, training = device_of(model), [norm.momentum for norm in norms], model.training
    running = [(norm.get_buffer("running_mean"), norm.get_buffer("running_var")) for norm in norms]
    seen: list[list[Tensor]] = [[] for _ in norms]
    samples: list[int] = []
    train_unfrozen(model)
    try:
        for norm in norms:
            norm.momentum = 1.0  # the running statistics are those of the last batch
        for x, _ in loader:
            model(*parts_of(x.to(device)))
            samples.append(len(x))
            for statistics, found in zip(running, seen):
                found.append(torch.stack(statistics))
    finally:
        for norm, momentum in zip(norms, momenta):
            norm.momentum = momentum
        model.train(training)
        for module in stay:
            module.eval()
    if not samples:
        return
    weights = torch.tensor(samples, dtype=torch.float64)
    for (mean, variance), found in zip(running, seen):
        means, variances = torch.stack(found, 1)
        mean.copy_(weighted_median(means, weights))
        variance.copy_(weighted_median(variances + (means - mean).square(), weights))


def weighted_median(values: Tensor, weights: Tensor) -> Tensor:
    """Of each column of ``values`` (n, m) the value with half of the ``weights`` (n,) on either side, (m,).

    Where a half ends exactly between two values it is their mean.
    """
    ordered, order = values.sort(0)
    below = weights.to(values.device)[order].cumsum(0)
    half = weights.sum() / 2
    low, high = ((below < half).sum(0), (below <= half).sum(0))
    return (ordered.gather(0, low[None]) + ordered.gather(0, high[None]))[0] / 2


def accuracy(model: nn.Module, loader: Iterable, name: str = "loader") -> float:
    """Fraction of a loader's samples whose class the model predicts, in eval mode.

    Raises:
        ValueError: no batches, or labels that are none of the model's classes; calls the loader ``name``.
    """
    return evaluated(model, loader, lambda output, labels, _, where: correct(output, labels, where), name)


def correct(output: Tensor, labels: Tensor, where: str) -> int:
    """How many of a batch's samples have their class.

    Raises:
        ValueError: labels that are none of the model's classes, or an output that is no row of scores for each.
    """
    check_classes(labels, output, where)
    return int((output.argmax(1) == labels).sum())


@torch.no_grad()
def evaluated(
    model: nn.Module, loader: Iterable, total: Callable[[Any, Any, int, str], float], name: str = "loader"
) -> float:
    """Mean over a loader's samples, in eval mode, of that whose sum over the samples of a batch is
    ``total(output, targets, samples, where)``.

    Raises:
        ValueError: no batches.
    """
    device, seen, found = device_of(model), 0, 0.0
    with evaluating(model):
        for i, (x, targets) in enumerate(loader):
            x = Inputs(x) if isinstance(x, (tuple, list)) else x
            found += total(model(*parts_of(x.to(device))), moved(targets, device), len(x), f"{name} batch {i}")
            seen += len(x)
    if not seen:
        raise ValueError(f"{name} gave no batch")
    return found / seen
