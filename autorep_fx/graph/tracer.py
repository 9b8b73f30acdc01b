"""What a model does while it runs on proxies, as the nodes of a graph."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize

from ..errors import TraceError
from .activations import Leaf
from .arguments import called_with, inputs
from .attached import attached
from .concrete import Counted, Shaped, Values
from .devices import autocasts, device_of
from .functions import KeptFunctions, put
from .randomness import GlobalGenerators
from .recorded import Recorded
from .transformers import is_container, straight
from .unwrap import described, refuse_attached


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
