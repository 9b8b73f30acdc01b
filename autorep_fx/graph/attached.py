"""What a module does besides the forward of its class: hooks, and a forward of its own."""

from __future__ import annotations

from torch import nn
from torch.nn.modules import module as torch_module
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

_FORWARD = {"forward pre-hook": "_forward_pre_hooks", "forward hook": "_forward_hooks"}
_BACKWARD = {"backward pre-hook": "_backward_pre_hooks", "backward hook": "_backward_hooks"}

#: Forward pre-hooks that compute a weight anew before every call -> what takes them off.
RECOMPUTING = {
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
            remover = next((name for recomputing, name in RECOMPUTING.items() if isinstance(hook, recomputing)), None)
            if remover:
                found.append(f"a {kind} that recomputes its weight ({type(hook).__name__}); take it off with {remover}")
            else:
                name = getattr(hook, "__qualname__", type(hook).__name__)
                found.append(f"a {kind} ({name}); remove it and write what it does into forward()")
    return found


def attached_to_all() -> list[str]:
    """Hooks that are registered for every module of this process, each with the way out."""
    kinds = {**_FORWARD, **_BACKWARD}
    return [
        f"a {kind} for all modules of the process; remove it"
        for kind, attribute in kinds.items()
        if getattr(torch_module, f"_global{attribute}")
    ]
