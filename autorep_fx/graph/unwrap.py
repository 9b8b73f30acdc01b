"""The plain module behind what people hand over: unwrapped, copied, or refused where there is none."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, export, fx, jit, nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import is_lazy

from ..errors import TraceError
from .attached import attached, attached_to_all, hooks


def unwrap(model: nn.Module) -> nn.Module:
    """The module inside ``torch.compile``, ``DataParallel`` and ``DistributedDataParallel``; others as they are.

    Raises:
        TraceError: ``model`` is no module; it or one of its submodules is scripted, exported, or not shaped by a first
            input yet; or a copy or a trace of it would lose hooks or a ``__call__`` of its own.
    """
    if isinstance(model, export.ExportedProgram):
        raise TraceError("model is an ExportedProgram; give the torch.nn.Module that it was exported from")
    if not isinstance(model, nn.Module):
        if isinstance(model, type):
            raise TraceError(
                f"model must be a torch.nn.Module, got the class {model.__name__}; give {model.__name__}(...)"
            )
        weights = "; load them into the model, model.load_state_dict(...)" if isinstance(model, dict) else ""
        raise TraceError(f"model must be a torch.nn.Module, got {type(model).__name__}{weights}")
    for what in attached_to_all():
        raise TraceError(f"there is {what}")
    model = _without_wrappers(model, "")
    for name, module in model.named_modules():
        if isinstance(module, jit.ScriptModule):
            raise TraceError(f"{described(module, name)} is a torch.jit module; give the module it was made of")
        if _is_lazy(module):
            raise TraceError(f"{described(module, name)} does not know its shape yet; run the model once before")
        if isinstance(module, fx.GraphModule):
            if any(_is_aten(node.target) for node in module.graph.nodes):
                raise TraceError(
                    f"{described(module, name)} is a graph of ATen operations (torch.export, make_fx), in which "
                    "activations cannot be found; give the torch.nn.Module that it was made from"
                )
            refuse_attached(module, name)  # a copy loses them
    if type(model).__call__ is not nn.Module.__call__ and not isinstance(model, fx.GraphModule):
        raise TraceError(f"{described(model, '')} has a __call__ of its own; write it into forward()")
    return model


#: Layers whose forward reads their weights and never writes into them.
_READING = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def private_copy(model: nn.Module, *, weights: bool = True) -> nn.Module:
    """A deep copy without wrappers inside; also of a module that holds the result of a computation, as those with an
    old-style weight_norm do.

    weights: False where nobody writes into the copy's: then linear layers and convolutions that are called as a whole
        share the memory of their weights, which are most of a model, with those of ``model``.
    """
    memo: dict[int, Any] = {} if weights else _shared_weights(model)
    for module in model.modules():
        for value in vars(module).values():
            if isinstance(value, Tensor) and not value.is_leaf:  # deepcopy refuses those
                memo[id(value)] = value.detach().clone()
    twin = copy.deepcopy(model, memo)
    for path, module in twin.named_modules():
        for name, child in module._modules.items():
            if child is not None:
                module._modules[name] = _without_wrappers(child, f"{path}.{name}".lstrip("."))
    return twin


def _shared_weights(model: nn.Module) -> dict[int, nn.Parameter]:
    """Parameters of the same memory, by the id of those of layers that only read them. What a graph reads by itself, it
    may write."""
    read = {node.target.rpartition(".")[0] for m in model.modules() if isinstance(m, fx.GraphModule)
            for node in m.graph.nodes if node.op == "get_attr"}  # fmt: skip
    return {
        id(p): nn.Parameter(p.detach(), p.requires_grad)
        for name, module in model.named_modules()
        if type(module) in _READING and name not in read
        for p in module._parameters.values()
        if p is not None and type(p) is nn.Parameter
    }


def refuse_attached(module: nn.Module, name: str) -> None:
    """Raise TraceError for what a graph of ``module``'s forward would drop."""
    for what in attached(module):
        raise TraceError(f"{described(module, name)} has {what}")


def described(module: nn.Module, name: str) -> str:
    """How an error names a module: its path and its class."""
    return f"module '{name}' ({type(module).__name__})" if name else f"the model itself ({type(module).__name__})"


def _without_wrappers(module: nn.Module, name: str) -> nn.Module:
    while True:
        if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            inner = module.module
        elif "_orig_mod" in module._modules:  # torch.compile
            inner = module._orig_mod
        else:
            return module
        for what in hooks(module):
            raise TraceError(f"{described(module, name)} has {what}")
        module = inner


def _is_lazy(module: nn.Module) -> bool:
    values = (*module._parameters.values(), *module._buffers.values())
    return isinstance(module, LazyModuleMixin) and any(is_lazy(value) for value in values if value is not None)


def _is_aten(target) -> bool:
    return isinstance(target, torch._ops.OpOverload) and target.namespace == "aten"
