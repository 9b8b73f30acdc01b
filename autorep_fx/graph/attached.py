"""What a module does besides the forward of its class: hooks, a forward of its own, weights that are recomputed."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules import module as torch_module
from torch.nn.utils import parametrize
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

_FORWARD = {"forward pre-hook": "_forward_pre_hooks", "forward hook": "_forward_hooks"}
_BACKWARD = {"backward pre-hook": "_backward_pre_hooks", "backward hook": "_backward_hooks"}

#: Forward pre-hooks that compute a weight anew before every call -> what takes them off.
_RECOMPUTING = {
    WeightNorm: "torch.nn.utils.remove_weight_norm",
    SpectralNorm: "torch.nn.utils.remove_spectral_norm",
    BasePruningMethod: "torch.nn.utils.prune.remove",
}


def attached(module: nn.Module, *, backward: bool = True) -> list[str]:
    """What ``module`` does besides its class's forward, each with the way out; empty for an ordinary module.

    Only the module itself is looked at, not its submodules. Hooks that see gradients count where ``backward`` is set.
    Parametrizations do not count: they belong to the class that ``torch.nn.utils.parametrize`` makes.
    """
    patched = ["a forward() patched on the instance; write it into its class, or into a subclass"]
    return (patched if "forward" in vars(module) else []) + hooks(module, backward=backward)


def hooks(module: nn.Module, *, backward: bool = True) -> list[str]:
    """The hooks among :func:`attached`."""
    found = []
    for kind, attribute in {**_FORWARD, **(_BACKWARD if backward else {})}.items():
        for hook in getattr(module, attribute).values():
            remover = next((name for recomputing, name in _RECOMPUTING.items() if isinstance(hook, recomputing)), None)
            if remover:
                found.append(f"a {kind} that recomputes its weight ({type(hook).__name__}); take it off with {remover}")
            else:
                name = getattr(hook, "__qualname__", type(hook).__name__)
                found.append(f"a {kind} ({name}); remove it and write what it does into forward()")
    return found


def attached_to_all() -> list[str]:
    """The kinds of hooks that are registered for every module of this process."""
    kinds = {**_FORWARD, **_BACKWARD}
    return [f"global {kind}" for kind, attribute in kinds.items() if getattr(torch_module, f"_global{attribute}")]


@torch.no_grad()
def settle_weights(module: nn.Module) -> None:
    """Make plain parameters of the weights that parametrizations, old-style weight_norm and spectral_norm, and pruning
    compute before every call.

    In place; the module must be in eval mode, in which they come out the same at every call. The functions of torch
    that take these things off are not used: ``remove_parametrizations`` changes the class that copies share.
    """
    names = list(module.parametrizations) if parametrize.is_parametrized(module) else []
    for key, hook in list(module._forward_pre_hooks.items()):
        if isinstance(hook, tuple(_RECOMPUTING)):
            hook(module, ())
            names.append(hook._tensor_name if isinstance(hook, BasePruningMethod) else hook.name)
            del module._forward_pre_hooks[key]
    weights = {name: getattr(module, name).detach().clone() for name in names}
    if parametrize.is_parametrized(module):
        module.__class__ = parametrize.type_before_parametrizations(module)
        del module.parametrizations
    for name, weight in weights.items():
        vars(module).pop(name, None)  # where a hook left what it computed
        module.register_parameter(name, nn.Parameter(weight))
