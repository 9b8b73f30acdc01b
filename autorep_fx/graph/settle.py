"""Weights that are computed before every call become the numbers that they are."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx, nn
from torch.nn.utils import parametrize
from torch.nn.utils.prune import BasePruningMethod

from .attached import RECOMPUTING
from .passes import Pass


class SettleWeights(Pass):
    """Take off parametrizations, old-style weight_norm and spectral_norm, and pruning; the weights stay as computed::

        before:  conv = call_module[conv](x)     conv: ParametrizedConv2d, or a Conv2d with a hook of weight_norm
        after:   conv = call_module[conv](x)     conv: Conv2d, its weight a parameter

    In eval mode they come out the same at every call.
    """

    def requires(self, gm: fx.GraphModule) -> None:
        if gm.training:
            raise ValueError("SettleWeights needs a graph in eval mode; call eval() first")

    def run(self, gm: fx.GraphModule) -> None:
        for module in list(gm.modules()):
            _settle(module)


@torch.no_grad()
def _settle(module: nn.Module) -> None:
    # torch's own remove_parametrizations changes the class, which a copy shares with the module it was made of.
    parametrized = parametrize.is_parametrized(module)
    names = list(getattr(module, "parametrizations", ())) if parametrized else []
    hooks: dict[int, Any] = module._forward_pre_hooks
    recomputing: Any = tuple(RECOMPUTING)
    for key, hook in list(hooks.items()):
        if isinstance(hook, recomputing):
            hook(module, ())
            names.append(hook._tensor_name if isinstance(hook, BasePruningMethod) else hook.name)
            del hooks[key]
    weights = {name: getattr(module, name).detach().clone() for name in names}
    if parametrized:
        module.__class__ = parametrize.type_before_parametrizations(module)
        del module.parametrizations
    for name, weight in weights.items():
        vars(module).pop(name, None)  # where the hook left it
        module.register_parameter(name, nn.Parameter(weight))
