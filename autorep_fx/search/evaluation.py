"""A network as it stands between or after epochs: its accuracy, and batch-norm statistics that are its own."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from ..graph.calibrate import device_of, evaluating


@torch.no_grad()
def refresh_batch_norm(model: nn.Module, loader: Iterable) -> None:
    """Running statistics of the network as it is: for each channel the median of what the batches have.

    Not their mean: squares make much of an input that is far out, and a single batch would decide.
    """
    norms = [m for m in model.modules()
             if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.running_mean is not None]  # fmt: skip
    if not norms:
        return
    device, momenta, seen = device_of(model), [norm.momentum for norm in norms], [[] for _ in norms]
    training = model.training
    model.train()
    try:
        for norm in norms:
            norm.momentum = 1.0  # the running statistics are those of the last batch
        for x, _ in loader:
            model(x.to(device))
            for norm, found in zip(norms, seen):
                found.append(torch.stack([norm.running_mean, norm.running_var]))
    finally:
        for norm, momentum in zip(norms, momenta):
            norm.momentum = momentum
        model.train(training)
    for norm, found in zip(norms, seen):
        if found:
            mean, variance = torch.stack(found).median(0).values
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(variance)


@torch.no_grad()
def accuracy(model: nn.Module, loader: Iterable) -> float:
    """Fraction of a loader's samples whose class the model predicts, in eval mode."""
    device, seen, correct = device_of(model), 0, 0
    with evaluating(model):
        for x, labels in loader:
            correct += int((model(x.to(device)).argmax(1) == labels.to(device)).sum())
            seen += len(labels)
    return correct / max(seen, 1)
