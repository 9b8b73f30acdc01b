"""Batch norms, and dropout, that whoever trains has frozen."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.dropout import _DropoutNd


def frozen(model: nn.Module) -> list[nn.Module]:
    """The batch norms and dropouts of ``model`` that stay in eval mode when it is trained.

    Those that are in eval mode while the model is in train mode; and batch norms whose weight and bias are not trained
    while those of convolutions or linear layers are.
    """
    layers = (m for m in model.modules() if isinstance(m, (_ConvNd, nn.Linear)))
    trains = any(p.requires_grad for layer in layers for p in layer.parameters())
    found: list[nn.Module] = []
    for module in model.modules():
        if isinstance(module, (_BatchNorm, _DropoutNd)):
            fixed = [not p.requires_grad for p in module.parameters()]
            if model.training and not module.training or trains and fixed and all(fixed):
                found.append(module)
    return found


def train_unfrozen(model: nn.Module) -> None:
    """``model.train()``, but for what is :func:`frozen`."""
    stay = frozen(model)
    model.train()
    for module in stay:
        module.eval()
