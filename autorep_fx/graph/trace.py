"""From a module to a graph that computes the same in train and in eval mode."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import fx, nn

from ..errors import TraceError
from .arguments import inputs
from .attached import attached
from .both_modes import Untraceable, both_modes, for_shape
from .concrete import guard
from .modes import TrainingFlag, merge
from .scopes import scope_of, unique_target
from .several import Batch, parts_of
from .tracer import Tracer
from .unwrap import private_copy, refuse_attached, unwrap
from .writable import refuse_names


def number_of_inputs(model: nn.Module) -> int:
    """How many a model takes, before it is traced."""
    return len(inputs(type(unwrap(model)).forward) or [None])


@torch.inference_mode(False)
def trace(model: nn.Module, example: Callable[[], Batch] | None = None) -> fx.GraphModule:
    """Trace a private copy of ``model``; the model passed in is never changed.

    Where the path depends on the input's shape, ``example`` gives a batch whose shape is then taken; the result refuses
    inputs of another one (:mod:`.concrete`), batches of any size are fine.

    The graph is traced once in train and once in eval mode. A boolean argument that differs (``training=`` of a
    functional dropout) becomes a :class:`TrainingFlag`; what only one mode has becomes a part of the graph that the
    other does not run (:mod:`.modes`). Modes of single submodules (a frozen batch norm in eval) are kept. Arguments of
    forward() that have a default keep it, but for the first (:mod:`.arguments`). A part that is computed under
    ``torch.no_grad()`` has no gradient in the graph either (:mod:`.gradients`). ``y += 1`` changes what shares memory
    with ``y``, as in the model (:mod:`.augmented`).

    Raises:
        TraceError: ``model`` is not a module, cannot be copied, has control flow that depends on data, draws random
            numbers outside of operations on its input, takes another path in training inside of a module that is in
            another mode than the model, or does what a graph cannot hold: ``torch.autocast``, hooks and patched
            forwards outside of the layers that are kept whole (:func:`~autorep_fx.graph.attached.attached`), names that
            a GraphModule needs for itself.

    Warns:
        TransformWarning: a part switches autocast off, or on for another device, which the graph does not.
    """
    model = unwrap(model)
    title = class_name(model)
    try:
        model = private_copy(model)
    except TraceError:
        raise
    except Exception as error:
        raise TraceError(f"model cannot be copied (copy.deepcopy: {error}); the copy is what is rewritten") from error
    if attached(model) and Tracer().is_leaf_module(model, ""):
        layer, model = model, nn.Sequential(model)  # a layer alone is kept whole, with its hooks
        model.training = layer.training
    refuse_attached(model, "")

    modes = {name: module.training for name, module in model.named_modules()}
    held = None
    try:
        graphs, evaluated = both_modes(model, None)
    except Untraceable:
        if example is None:
            raise
        x = example()
        held = [tuple(part.shape[1:]) for part in parts_of(x)]
        graphs, evaluated = for_shape(model, x)
    _take_constants(model, evaluated, graphs[1])
    for graph in graphs:
        for node in graph.nodes:
            if isinstance(node.type, str):  # a postponed annotation of forward(), which could not be pickled
                node.type = None
            refuse_names(node)
    gm, flags, scopes = merge(model, *graphs, title)
    for scope in scopes:
        _refuse_mixed_modes(scope, modes)
    for (node, path), negate in flags:
        _set_flag(gm, node, path, negate)
    if held is not None:
        guard(gm, held)
    gm.graph.lint()
    gm.recompile()
    for name, module in gm.named_modules():
        module.training = modes[_nearest(name, modes)]
    gm.meta["class"] = title
    return gm


def class_name(model: nn.Module) -> str:
    """Of the model, also where this is what a trace made of it: a copy of a GraphModule has lost it but for this."""
    said = model.meta.get("class") if isinstance(model, fx.GraphModule) else None
    return said or type(model).__name__


def _nearest(name: str, modes: dict[str, bool]) -> str:
    """The path itself, or the longest beginning of it that the model has."""
    while name not in modes:
        name = name.rpartition(".")[0]
    return name


def _refuse_mixed_modes(scope: str, modes: dict[str, bool]) -> None:
    """Whose ``training`` a path depends on cannot be seen: all around it must be in one mode."""
    while scope:
        if modes.get(scope, modes[""]) != modes[""]:
            raise TraceError(
                f"module '{scope}' is in {'train' if modes[scope] else 'eval'} mode, the model is not, and it takes "
                "another path in training there; call train() or eval() on the whole model"
            )
        scope = scope.rpartition(".")[0]


def _take_constants(model: nn.Module, twin: nn.Module, graph: fx.Graph) -> None:
    """Constants that tracing ``twin`` left on it become the model's; both traces count theirs from 0."""
    mine = {name: value for name, value in vars(model).items() if name.startswith("_tensor_constant")}
    for node in graph.nodes:
        if node.op != "get_attr" or not node.target.startswith("_tensor_constant"):
            continue
        value = getattr(twin, node.target)
        same = (name for name, other in mine.items() if other.dtype == value.dtype and torch.equal(other, value))
        name = next(same, None) or f"{node.target}_of_eval"
        setattr(model, name, value)
        mine[name] = value
        node.target = name


def _set_flag(gm: fx.GraphModule, node: fx.Node, path: tuple, negate: bool) -> None:
    scope = scope_of(node)
    target = unique_target(gm, f"{scope}.training_flag" if scope else "training_flag")
    gm.add_submodule(target, TrainingFlag(negate))
    with gm.graph.inserting_before(node):
        flag = gm.graph.call_module(target)
    flag.meta = {k: v for k, v in node.meta.items() if k == "nn_module_stack"}

    def put(value, path):
        if not path:
            return flag
        if isinstance(value, dict):
            return {k: put(v, path[1:]) if k == path[0] else v for k, v in value.items()}
        return type(value)(put(v, path[1:]) if i == path[0] else v for i, v in enumerate(value))

    if path[0] == "args":
        node.args = put(node.args, path[1:])
    else:
        node.kwargs = put(dict(node.kwargs), path[1:])
