"""From a module to a graph that computes the same in train and in eval mode."""

from __future__ import annotations

import copy
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from keyword import iskeyword
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize

from ..errors import TraceError
from . import sizes
from .activations import Leaf
from .arguments import called_with, inputs
from .attached import attached
from .augmented import settle_augmented
from .autocast import warn_of, watched
from .concrete import Counted, Shaped, Values, guard
from .devices import autocast, autocasts, device_of
from .functions import KeptFunctions, kept_whole, put
from .gradients import stop_gradients
from .modes import TrainingFlag, merge
from .randomness import GlobalGenerators
from .recorded import Recorded
from .scopes import scope_of, unique_target
from .several import Batch, batch_of, parts_of
from .targets import path_of
from .transformers import is_container, straight
from .unwrap import described, private_copy, refuse_attached, unwrap


class Tracer(fx.Tracer):
    """Records what a model does, or (:meth:`into`) a function of proxies that its caller makes."""

    # Nodes read buffers when they run. Otherwise what is computed from buffers alone would be a constant of the trace.
    proxy_buffer_attributes = True

    def __init__(self, functions: KeptFunctions | None = None, values: Values | None = None):
        super().__init__()
        self.functions = functions or KeptFunctions()
        self.values = values  # of an example, where sizes are to be numbers
        self.drew: str | None = None  # the innermost module that first drew a random number
        self.without_gradients: set[fx.Node] = set()
        self.left_out: dict[str, torch.autocast] = {}  # by the module whose forward() has it
        self._tensors: dict[int, tuple[str, dict, str]] = {}  # by id: the path, and where the model holds it

    def into(self, root: nn.Module) -> fx.Graph:
        """A graph over the modules of ``root``, for calls that are no forward()."""
        self.root, self.graph = root, fx.Graph(tracer_cls=type(self))
        self.tensor_attrs: dict[Any, str] = {}
        self.submodule_paths = {module: path for path, module in root.named_modules()}
        return self.graph

    def create_node(self, kind: str, *args, **kwargs) -> fx.Node:
        node = super().create_node(kind, *args, **kwargs)
        if kind in ("call_module", "call_function", "call_method"):
            self._refuse_autocast()
            if not torch.is_grad_enabled():
                self.without_gradients.add(node)
        return node

    def _refuse_autocast(self) -> None:
        if autocasts(device_of(self.root)):
            path = self.scope.module_path
            raise TraceError(
                f"forward() of {described(self.root.get_submodule(path), path)} computes under torch.autocast, which a "
                "graph cannot hold; leave it out of forward() and call the model under it: with torch.autocast(...): "
                "model(x)"
            )

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, fx.Proxy]) -> Any:
        """What a module's attribute is in the graph. Of a tensor torch looks for its name among all, every time."""
        if not isinstance(attr_val, Tensor):
            return attr_val
        if not self._tensors:
            for path, module in self.root.named_modules():
                for held in (module._parameters, module._buffers):
                    for name, value in held.items():
                        own = f"{path}.{name}" if path else name
                        self._tensors.setdefault(id(value), (own, held, name))
        known, held, name = self._tensors.get(id(attr_val), ("", {}, ""))
        if held.get(name) is not attr_val:  # forward() may have put something else there
            return super().getattr(attr, attr_val, parameter_proxy_cache)
        if known not in parameter_proxy_cache:
            parameter_proxy_cache[known] = self.create_proxy("get_attr", known, (), {})
        return parameter_proxy_cache[known]

    def enter_autocast(self, context: torch.autocast) -> None:
        """What no node is refused for."""
        inside = self.values is not None and self.values.running
        if not inside and not (context._enabled and context.device == device_of(self.root).type):
            path = self.scope.module_path
            self.left_out[described(self.root.get_submodule(path), path)] = context

    def proxy(self, node: fx.Node) -> fx.Proxy:
        if self.values is None:
            return Recorded(node, self)
        return Shaped(node, self) if isinstance(self.values.add(node), Tensor) else Counted(node, self)

    def count(self, node: fx.Node) -> int | None:
        """How many parts a node returns, which an example tells; None of what returns a tensor."""
        if self.values is None:
            if getattr(node.target, "__name__", node.target) in ("split", "chunk", "unbind", "tensor_split"):
                raise _many(node)
            return None
        value = self.values[node]
        return len(value) if isinstance(value, (tuple, list)) else None

    def iter(self, obj: Any) -> Iterator:
        """A loop over what split, chunk or unbind returned; over a tensor, along its first axis."""
        if self.values is None:
            raise _many(obj.node)
        if self.values.is_constant(obj.node):
            return iter(self.values.constant(obj.node))
        return iter([obj[i] for i in range(len(self.values[obj.node]))])

    def to_bool(self, obj: fx.Proxy) -> bool:
        """With an example, what depends on no input is no proxy for a path that asks (:mod:`.concrete`)."""
        if self.values is not None and self.values.is_constant(obj.node):
            return bool(self.values.constant(obj.node))
        return super().to_bool(obj)

    def create_args_for_root(self, root_fn, is_module: bool, concrete_args=None):
        parameters = inputs(root_fn)
        if parameters is None:
            return super().create_args_for_root(root_fn, is_module, concrete_args)
        args: list[Any] = [self.root]
        for p in parameters:
            default = () if p.default is p.empty else (p.default,)
            annotation = None if p.annotation is p.empty else p.annotation
            args.append(self.create_proxy("placeholder", p.name, default, {}, type_expr=annotation))
        return called_with(straight(root_fn), parameters), args

    def is_leaf_module(self, m: nn.Module, qualname: str) -> bool:
        if isinstance(m, Leaf):
            return True
        if is_container(m):
            return False
        # torch.nn.utils.parametrize makes a class of its own, in torch.nn, for a module of any class.
        plain = parametrize.type_before_parametrizations(m).__module__.startswith(("torch.nn", "torch.ao.nn"))
        return plain and super().is_leaf_module(m, qualname)

    def call_module(self, m: nn.Module, forward, args: tuple, kwargs: dict):
        if self.values is not None and self.values.running:
            return forward(*args, **kwargs)
        path = (self.submodule_paths or {}).get(m)
        self._refuse_autocast()
        if path is None:
            return self._call_made_in_forward(m, forward, args, kwargs)
        if "forward" in vars(m) or not self.is_leaf_module(m, path):
            refuse_attached(m, path)
        before = GlobalGenerators()
        if is_container(m):
            forward = partial(straight(type(m).forward), m)
        result = super().call_module(m, forward, args, kwargs)
        if self.drew is None and before.used():
            self.drew = described(m, path)
        return result

    def call_autograd_function(self, function: type, args: tuple) -> fx.Proxy:
        path = self.functions.at(self.scope.module_path, function, self.root)
        module = self.functions.modules[path]
        if self.submodule_paths is not None:  # as while it traces
            self.submodule_paths[module] = path
        if self.values is not None:
            put(self.values.twin, path, module)
        return module(*args)

    def _call_made_in_forward(self, m: nn.Module, forward, args: tuple, kwargs: dict):
        """A slice of a Sequential, ``nn.Softmax(1)(x)``: traced through, since it has no path to be called by."""
        if m._parameters or m._buffers or attached(m):
            raise TraceError(
                f"forward() calls a {type(m).__name__} that is none of the model's submodules; make it in __init__() "
                "and assign it to self (several in an nn.ModuleList)"
            )
        return forward(*args, **kwargs)


def _many(node: fx.Node) -> ValueError:
    return ValueError(f"how many parts '{node.name}' has depends on the shape of the input")


class _Untraceable(TraceError):
    """By a trace without an example."""


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
        graphs, evaluated = _both_modes(model, None)
    except _Untraceable:
        if example is None:
            raise
        x = example()
        held = [tuple(part.shape[1:]) for part in parts_of(x)]
        graphs, evaluated = _for_shape(model, x)
    _take_constants(model, evaluated, graphs[1])
    for graph in graphs:
        for node in graph.nodes:
            if isinstance(node.type, str):  # a postponed annotation of forward(), which could not be pickled
                node.type = None
            _refuse_names(node)
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


def _both_modes(model: nn.Module, x: Batch | None) -> tuple[tuple[fx.Graph, fx.Graph], nn.Module]:
    """Graphs of train and eval mode, and the copy that the second was traced on: tracing leaves constants on it."""
    evaluated, functions = copy.deepcopy(model), KeptFunctions()
    graphs = _trace_in_mode(model, True, x, functions), _trace_in_mode(evaluated, False, x, functions)
    functions.put(model)
    for graph in graphs:
        settle_augmented(model, graph)
    return graphs, evaluated


def _for_shape(model: nn.Module, x: Batch) -> tuple[tuple[fx.Graph, fx.Graph], nn.Module]:
    """The same for one shape of samples, and any size of the batch: two sizes must give the same graphs."""
    others, _ = _both_modes(copy.deepcopy(model), _repeated(x, 3))
    graphs, evaluated = _both_modes(model, _repeated(x, 2))
    if [_text(graph) for graph in graphs] != [_text(graph) for graph in others]:
        raise TraceError(
            f"{type(model).__name__} takes a path that depends on the size of the batch; keep axis 0 the batch, and "
            "take sizes of other axes only"
        )
    return graphs, evaluated


def _repeated(x: Batch, times: int) -> Batch:
    return batch_of([part[:1].repeat(times, *(1,) * (part.dim() - 1)) for part in parts_of(x)])


def _text(graph: fx.Graph) -> list[str]:
    return [f"{node.target} {node.args} {node.kwargs}" for node in graph.nodes]


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


@contextmanager
def _as_outside(model: nn.Module) -> Iterator[None]:
    """Gradients on and autocast off, so that what forward() switches can be told."""
    with torch.enable_grad(), autocast(device_of(model), enabled=False):
        yield


def _trace_in_mode(model: nn.Module, training: bool, x: Batch | None, functions: KeptFunctions) -> fx.Graph:
    model.train(training)
    values = None if x is None else Values(copy.deepcopy(model), x, model)
    tracer, before = Tracer(functions, values), GlobalGenerators()
    try:
        with (
            _as_outside(model),
            sizes.recorded(),
            kept_whole(tracer.call_autograd_function),
            watched(tracer.enter_autocast),
        ):
            graph = tracer.trace(model)
        if values is not None:
            values.settle(graph)
        warn_of(tracer.left_out)
        stop_gradients(model, graph, tracer.without_gradients)
        used = before.used()
    except TraceError:
        raise
    except Exception as error:
        where = _user_frame(error)
        sizes_known = "the size of the batch stays open: keep x.shape[0] as it is, in a tuple of sizes"
        raise (_Untraceable if x is None else TraceError)(
            f"{type(model).__name__} cannot be traced{where}: {error}. Symbolic tracing needs a forward() whose path "
            "does not depend on the values of tensors; move such a part into a torch.nn leaf module or outside the "
            f"model. Where it depends on shapes alone, {'give example_inputs' if x is None else sizes_known}"
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


def _refuse_names(node: fx.Node) -> None:
    """Names that the source text of a GraphModule cannot have."""
    path = path_of(node).split(".") if node.op in ("call_module", "get_attr") else []
    if path and path[0] in _reserved_names():
        raise TraceError(
            f"the model has an attribute '{path[0]}', a name that the resulting torch.fx.GraphModule needs for itself; "
            "rename it"
        )
    if keywords := [name for name in path if iskeyword(name)]:
        raise TraceError(
            f"the model has a module or tensor '{path_of(node)}', and '{keywords[0]}' is a keyword of Python, which a "
            f"graph cannot be written with; name it otherwise ('{keywords[0]}_'), in files of weights as well"
        )
    if keywords := [name for name in node.kwargs if iskeyword(name)]:
        raise TraceError(
            f"forward() gives '{node.name}' an argument called '{keywords[0]}', a keyword of Python, which a graph "
            "cannot be written with; give it another name"
        )


def _user_frame(error: Exception) -> str:
    ours = (torch.__path__[0], __file__)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(ours)]
    frames = [f for f in frames if f.name == "forward" or f.line] if frames else []
    return f" (at {frames[-1].filename}:{frames[-1].lineno}, `{frames[-1].line}`)" if frames else ""


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
