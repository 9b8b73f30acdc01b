"""From a module to a graph that computes the same in train and in eval mode."""

from __future__ import annotations

import copy
import traceback
from functools import cache

import torch
from torch import fx, nn
from torch.nn.utils import parametrize

from ..errors import TraceError
from .activations import Leaf
from .attached import attached
from .randomness import GlobalGenerators
from .unwrap import described, private_copy, refuse_attached, unwrap

_MAX_LEAVES = 64


class TrainingFlag(Leaf):
    """``self.training`` as a node: what a model passes to ``F.dropout(x, p, self.training)``.

    Symbolic tracing would freeze the value of the moment; this module follows ``train()`` and ``eval()``.
    """

    def __init__(self, negate: bool = False):
        super().__init__()
        self.negate = negate

    def forward(self) -> bool:
        return self.training != self.negate


class _Tracer(fx.Tracer):
    # Nodes read buffers when they run. Otherwise what is computed from buffers alone would be a constant of the trace.
    proxy_buffer_attributes = True

    def __init__(self, leaves: set[str] | None = None):
        super().__init__()
        self.leaves = leaves or set()
        self.drew: str | None = None  # the innermost module that first drew a random number

    def is_leaf_module(self, m: nn.Module, qualname: str) -> bool:
        if isinstance(m, Leaf) or qualname in self.leaves:
            return True
        # torch.nn.utils.parametrize makes a class of its own, in torch.nn, for a module of any class.
        plain = parametrize.type_before_parametrizations(m).__module__.startswith(("torch.nn", "torch.ao.nn"))
        return plain and super().is_leaf_module(m, qualname)

    def call_module(self, m: nn.Module, forward, args: tuple, kwargs: dict):
        path = self.submodule_paths.get(m)
        if path is None:
            return self._call_made_in_forward(m, forward, args, kwargs)
        if "forward" in vars(m) or not self.is_leaf_module(m, path):
            refuse_attached(m, path)
        before = GlobalGenerators()
        result = super().call_module(m, forward, args, kwargs)
        if self.drew is None and before.used():
            self.drew = described(m, path)
        return result

    def _call_made_in_forward(self, m: nn.Module, forward, args: tuple, kwargs: dict):
        """A slice of a Sequential, ``nn.Softmax(1)(x)``: traced through, since it has no path to be called by."""
        if m._parameters or m._buffers or attached(m):
            raise TraceError(
                f"forward() calls a {type(m).__name__} that is none of the model's submodules; make it in __init__() "
                "and assign it to self (several in an nn.ModuleList)"
            )
        return forward(*args, **kwargs)


class _ModesDiffer(Exception):
    def __init__(self, node: fx.Node, scope: str):
        self.node, self.scope = node, scope


def trace(model: nn.Module) -> fx.GraphModule:
    """Trace a private copy of ``model``; the model passed in is never changed.

    The graph is traced once in train and once in eval mode. A boolean argument that differs (``training=`` of a
    functional dropout) becomes a :class:`TrainingFlag`; a submodule whose structure differs (stochastic depth) is kept
    whole. Modes of single submodules (a frozen batch norm in eval) are kept.

    Raises:
        TraceError: ``model`` is not a module, cannot be copied, has control flow that depends on data, takes another
            path in train than in eval mode at its top level, draws random numbers outside of operations on its input,
            or does what a graph cannot hold: hooks and patched forwards outside of the layers that are kept whole
            (:func:`~autorep_fx.graph.attached.attached`), names that a GraphModule needs for itself.
    """
    model = unwrap(model)
    title = type(model).__name__  # copying a GraphModule loses it
    try:
        model = private_copy(model)
    except TraceError:
        raise
    except Exception as error:
        raise TraceError(f"model cannot be copied (copy.deepcopy: {error}); the copy is what is rewritten") from error
    if attached(model) and _Tracer().is_leaf_module(model, ""):
        layer, model = model, nn.Sequential(model)  # a layer alone is kept whole, with its hooks
        model.training = layer.training
    refuse_attached(model, "")

    modes = {name: module.training for name, module in model.named_modules()}
    leaves: set[str] = set()
    while True:
        # The eval trace runs on a copy: tracing leaves the constants that it meets on the module.
        eval_graph = _trace_in_mode(copy.deepcopy(model), False, leaves)
        train_graph = _trace_in_mode(model, True, leaves)
        try:
            flags = _differing_flags(train_graph, eval_graph)
            break
        except _ModesDiffer as difference:
            if not difference.scope or difference.scope in leaves or len(leaves) >= _MAX_LEAVES:
                raise TraceError(
                    f"{title} takes another path in train mode than in eval mode, first at node "
                    f"'{difference.node.name}' ({difference.node.target}); move the branch on self.training into a "
                    "submodule of its own, which is then kept whole"
                ) from None
            leaves.add(difference.scope)

    for node in train_graph.nodes:
        if isinstance(node.type, str):  # a postponed annotation of forward(), which could not be pickled
            node.type = None
        _refuse_reserved(node)
    gm = fx.GraphModule(model, train_graph, class_name=title)
    for node, negate in flags:
        _set_flag(gm, *node, negate)
    gm.graph.lint()
    gm.recompile()
    for name, module in gm.named_modules():
        module.training = modes.get(name, modes[""])
    return gm


def eval_graph(module: nn.Module) -> fx.Graph:
    """The graph of a module by itself, in eval mode, which it is left in.

    Raises:
        TraceError: as :func:`trace`.
    """
    refuse_attached(module, "")
    return _trace_in_mode(module, False, set())


def scope_of(node: fx.Node) -> str:
    """Path of the module whose ``forward`` wrote this node; "" for the model itself.

    A module kept whole is in the scope of its caller.
    """
    scopes = list(node.meta.get("nn_module_stack") or ())
    if node.op == "call_module" and scopes:
        scopes.pop()
    return scopes[-1].split("@")[0] if scopes else ""


def unique_target(gm: fx.GraphModule, wanted: str) -> str:
    """``wanted``, or ``wanted_1``, ``wanted_2``, ... : a path at which ``gm`` has nothing yet."""
    target, count = wanted, 0
    while _has(gm, target):
        count += 1
        target = f"{wanted}_{count}"
    return target


def _has(module: nn.Module, path: str) -> bool:
    for part in path.split("."):
        if not hasattr(module, part):
            return False
        module = getattr(module, part)
    return True


def _trace_in_mode(model: nn.Module, training: bool, leaves: set[str]) -> fx.Graph:
    model.train(training)
    tracer, before = _Tracer(leaves), GlobalGenerators()
    try:
        graph = tracer.trace(model)
        used = before.used()
    except TraceError:
        raise
    except Exception as error:
        where = _user_frame(error)
        raise TraceError(
            f"{type(model).__name__} cannot be traced{where}: {error}. Symbolic tracing needs a forward() whose path "
            "does not depend on the values of tensors; move such a part into a torch.nn leaf module or outside the "
            "model"
        ) from error
    finally:
        before.restore()
    if used:
        raise TraceError(
            f"{tracer.drew or described(model, '')} draws random numbers from {' and '.join(used)} in forward(), which "
            "would stay what they were while it was traced; draw them from the input (torch.rand_like(x), "
            "x.new_empty(n).bernoulli_(p)), or use nn.Dropout"
        )
    return graph


@cache
def _reserved_names() -> set[str]:
    """Names of top-level attributes that a GraphModule has and a module has not."""
    return {"self", *dir(fx.GraphModule(nn.Module(), fx.Graph()))} - set(dir(nn.Module()))


def _refuse_reserved(node: fx.Node) -> None:
    if node.op in ("call_module", "get_attr") and node.target.partition(".")[0] in _reserved_names():
        raise TraceError(
            f"the model has an attribute '{node.target.partition('.')[0]}', a name that the resulting "
            "torch.fx.GraphModule needs for itself; rename it"
        )


def _user_frame(error: Exception) -> str:
    ours = (torch.__path__[0], __file__)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(ours)]
    frames = [f for f in frames if f.name == "forward" or f.line] if frames else []
    return f" (at {frames[-1].filename}:{frames[-1].lineno}, `{frames[-1].line}`)" if frames else ""


def _differing_flags(train_graph: fx.Graph, eval_graph: fx.Graph) -> list[tuple[tuple, bool]]:
    """Compare two graphs node by node. Returns ((node, argument path), negate) of a boolean that follows the mode."""
    flags: list[tuple[tuple, bool]] = []
    twin: dict[fx.Node, fx.Node] = {}

    def compare(a, b, node: fx.Node, path: tuple) -> bool:
        if isinstance(a, fx.Node) and isinstance(b, fx.Node):
            return twin.get(a) is b
        if isinstance(a, bool) and isinstance(b, bool):
            if a != b:
                flags.append(((node, path), not a))
            return True
        if isinstance(a, (tuple, list)) and isinstance(b, (tuple, list)):
            return len(a) == len(b) and all(compare(x, y, node, (*path, i)) for i, (x, y) in enumerate(zip(a, b)))
        if isinstance(a, dict) and isinstance(b, dict):
            return a.keys() == b.keys() and all(compare(a[k], b[k], node, (*path, k)) for k in a)
        return type(a) is type(b) and (a is b or repr(a) == repr(b))

    nodes_a, nodes_b = list(train_graph.nodes), list(eval_graph.nodes)
    for a, b in zip(nodes_a, nodes_b):
        same = a.op == b.op and a.target == b.target
        same = same and compare(a.args, b.args, a, ("args",)) and compare(a.kwargs, b.kwargs, a, ("kwargs",))
        if not same:
            raise _ModesDiffer(a, max(scope_of(a), scope_of(b), key=len))
        twin[a] = b
    if len(nodes_a) != len(nodes_b):
        raise _ModesDiffer(nodes_a[-1], "")
    return flags


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
