"""What is recorded of a file: a graph of torch that grows, with the layers and weights that it calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.proxy import GraphAppendingTracer

from .names import place
from .values import Known, tensor

#: An ``fx.Proxy``, which functions of torch take for a tensor; in what is recorded it becomes one.
Value = Any


class _Tracer(GraphAppendingTracer):
    """Every node is run on an example as soon as it is there."""

    def __init__(self, root: nn.Module):
        super().__init__(fx.Graph())
        self.run = fx.Interpreter(root, graph=self.graph)
        self.run.extra_traceback = False

    def create_node(self, kind: str, *args: Any, **kwargs: Any) -> fx.Node:
        node = super().create_node(kind, *args, **kwargs)
        if kind not in ("placeholder", "output"):
            with torch.no_grad():
                self.run.env[node] = self.run.run_node(node)
        return node


class Recorder:
    """A module in the making.

    Args:
        reads: names of values of the file, once for each time that one is read.
        opset: version of the file's operators.
        batch: samples of the example.
        fixed: the size of the batch that the file has numbers for, or 0 for a file that is open.
    """

    def __init__(self, reads: Iterable[str], opset: int, batch: int, fixed: int = 0):
        self.opset, self.batch, self.fixed = opset, batch, fixed
        self.root = nn.Module()
        self.tracer = _Tracer(self.root)
        self.values: dict[str, fx.Proxy | Known | None] = {"": None}
        self.uses = Counter(reads)  # that are to come
        self.parameters: dict[int, nn.Parameter] = {}  # by the id of what is known, which self.held keeps
        self.constants: dict[int, str] = {}  # the paths of those that nodes read themselves
        self.held: list[Known] = []
        self.layers: dict[Hashable, str] = {}
        self.calls: Counter[str] = Counter()  # of each layer

    def value(self, proxy: fx.Proxy) -> Tensor:
        """What the example makes of a value of the trace."""
        return self.tracer.run.env[proxy.node]

    def parameter(self, known: Known, change: Callable[[Tensor], Tensor] | None = None) -> nn.Parameter:
        """A weight of a layer. A matrix that several layers read is one for all of them, as in tied networks; vectors
        are not, for exporters merge those that happen to be equal, such as biases of zeros."""
        if change is not None or known.array.ndim < 2:
            value = tensor(known.array)
            return nn.Parameter((value if change is None else change(value)).contiguous())
        if id(known) not in self.parameters:
            self.held.append(known)
            self.parameters[id(known)] = nn.Parameter(tensor(known.array))
        return self.parameters[id(known)]

    def constant(self, known: Known) -> Value:
        """A weight, or a buffer, that nodes read themselves."""
        if id(known) not in self.constants:
            self.held.append(known)
            value = tensor(known.array)
            trains = value.is_floating_point() and bool(value.isfinite().all())  # the -inf of a mask does not
            path = known.name.replace("/", ".").strip(".")
            self.constants[id(known)] = place(self.root, path, self.parameter(known) if trains else value)
        return self.tracer.create_proxy("get_attr", self.constants[id(known)], (), {})

    def call(self, module: nn.Module, wanted: str, x: Value, key: Hashable = None) -> Value:
        path = self.layers.get(key) if key is not None else None
        if path is None:
            path = place(self.root, wanted, module)
            if key is not None:
                self.layers[key] = path
        self.calls[path] += 1
        return self.tracer.create_proxy("call_module", path, (x,), {})

    def layer_behind(self, name: str) -> nn.Module | None:
        """The layer that made a value which one node reads, if it is called nowhere else."""
        value = self.values[name]
        if not isinstance(value, fx.Proxy) or value.node.op != "call_module" or self.uses[name] != 1:
            return None
        path = str(value.node.target)
        return self.root.get_submodule(path) if self.calls[path] == 1 else None

    def keep_alone(self, layer: nn.Module) -> None:
        """No later node calls this layer, which is another one now."""
        self.layers = {key: path for key, path in self.layers.items() if self.root.get_submodule(path) is not layer}
