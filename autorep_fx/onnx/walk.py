"""From the nodes of a file to a graph of torch, for one size of the batch.

A value either depends on an input, and is a value of the trace then, or is known: weights, constants, and shapes, since
the shapes of the inputs are. What is known is computed at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, fx

from ..errors import TraceError
from .call import OPERATORS, Call, Unsupported
from .names import path_of, sound
from .recorder import Recorder
from .values import Known, evaluate

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto, TensorProto

#: What only moves the values of a weight, which stays one weight by its name.
_MOVES = ("Cast", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Expand", "DequantizeLinear")


class Walk(Recorder):
    """One conversion.

    Args:
        graph: of the file.
        opset: its version of ONNX's operators.
        example: a tensor for each input.
        fixed: the size of the batch that the file has numbers for, or 0 for a file that is open.
    """

    def __init__(self, graph: GraphProto, opset: int, example: Mapping[str, Tensor], fixed: int = 0):
        super().__init__(_read(graph), opset, len(next(iter(example.values()))), fixed)
        self.graph, self.example = graph, example

    def run(self) -> fx.GraphModule:
        """The module, in eval mode, for batches of the example's size.

        Raises:
            TraceError: a node that cannot be converted; names it.
        """
        for value in self.graph.input:
            if value.name in self.example:
                node = self.tracer.create_node("placeholder", sound(value.name), (), {})
                self.tracer.run.env[node] = self.example[value.name]
                self.values[value.name] = fx.Proxy(node, self.tracer)
        self._weights(self.graph.initializer)
        self._nodes(self.graph)
        outputs = [self.values[value.name] for value in self.graph.output]
        nodes = [self.constant(v).node if isinstance(v, Known) else v.node for v in outputs if v is not None]
        self.tracer.graph.output(nodes[0] if len(nodes) == 1 else tuple(nodes))
        self.tracer.run.env.clear()
        gm = fx.GraphModule(self.root, self.tracer.graph)
        gm.graph.eliminate_dead_code()
        gm.delete_all_unused_submodules()
        return gm.eval()

    def _weights(self, weights: Sequence[TensorProto]) -> None:
        from onnx import numpy_helper

        for weight in weights:
            self.values[weight.name] = Known(numpy_helper.to_array(weight), weight.name)

    def _nodes(self, graph: GraphProto) -> None:
        for node in graph.node:
            inputs = [self.values[name] for name in node.input]
            results: list[Any] = self._known(node, inputs) or self._traced(node, inputs)
            self.values.update(zip(node.output, results))
            self._forget(node)

    def _known(self, node: NodeProto, inputs: list) -> list[Known | fx.Proxy | None] | None:
        """The results of a node that depends on no input."""
        if node.op_type == "Identity" and isinstance(inputs[0], Known):
            return [inputs[0]]  # exporters have it where one weight is used twice
        if node.op_type == "If" and isinstance(inputs[0], Known):
            return self._branch(node, bool(inputs[0].array.reshape(()).item()))
        if node.op_type in ("Shape", "Size") and not isinstance(inputs[0], Known):
            sizes = tuple(self.value(inputs[0]).shape)
            start, end = (next((a.i for a in node.attribute if a.name == name), None) for name in ("start", "end"))
            found = np.array(sizes[start:end] if node.op_type == "Shape" else np.prod(sizes), np.int64)
            return [Known(found, node.output[0])]
        if not all(value is None or isinstance(value, Known) for value in inputs):
            return None
        try:
            found_all = evaluate(node, [None if v is None else v.array for v in inputs], self.opset)
        except Exception as error:
            raise TraceError(f"{_described(node)} cannot be computed from constants: {error}") from error
        moved = node.op_type in _MOVES and isinstance(inputs[0], Known)
        names = [inputs[0].name] if moved else node.output
        return [Known(array, name) for name, array in zip(names, found_all)]

    def _branch(self, node: NodeProto, taken: bool) -> list[Known | fx.Proxy | None]:
        graph = next(a.g for a in node.attribute if a.name == ("then_branch" if taken else "else_branch"))
        self._weights(graph.initializer)
        self._nodes(graph)
        return [self.values[value.name] for value in graph.output]

    def _traced(self, node: NodeProto, inputs: list) -> list[fx.Proxy]:
        convert = OPERATORS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        try:
            if convert is None:
                raise Unsupported("there is no such operator here")
            found = convert(Call(self, node, inputs))
        except Unsupported as error:
            raise TraceError(f"{_described(node)}: {error}") from None
        except Exception as error:
            raise TraceError(f"{_described(node)} fails on {self._shapes(inputs)}: {error}") from error
        return list(found) if isinstance(found, (tuple, list)) else [found]

    def _shapes(self, inputs: list) -> str:
        known = [value.array.shape if isinstance(value, Known) else tuple(self.value(value).shape)
                 for value in inputs if value is not None]  # fmt: skip
        return ", ".join(map(str, known))

    def _forget(self, node: NodeProto) -> None:
        """Values of the example that nobody reads any more."""
        for name in node.input:
            self.uses[name] -= 1
        live = {v.node for name, v in self.values.items() if isinstance(v, fx.Proxy) and self.uses[name] > 0}
        live |= {source for each in live for source in each.all_input_nodes}  # some operators look behind one
        env = self.tracer.run.env
        for each in [n for n in env if n not in live]:
            del env[each]


def _read(graph: GraphProto) -> Iterator[str]:
    """The values that nodes read, once for each time, and those that are returned; in branches, too."""
    for node in graph.node:
        yield from node.input
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _read(attribute.g)
    yield from (value.name for value in graph.output)


def missing(graph: GraphProto, inputs: Sequence[str]) -> dict[str, list[str]]:
    """Operators that there are none of here: what each is called -> nodes that compute with an input."""
    found: dict[str, list[str]] = {}
    depends = set(inputs)
    for node in graph.node:
        if depends.isdisjoint(node.input) or node.op_type in ("Shape", "Size"):
            continue
        depends.update(node.output)
        own = node.domain not in ("", "ai.onnx")
        if own or node.op_type not in (*OPERATORS, "If"):
            found.setdefault(f"{node.domain}.{node.op_type}" if own else node.op_type, []).append(named(node))
    return found


def named(node: NodeProto) -> str:
    return node.name or next(filter(None, node.output), "")


def _described(node: NodeProto) -> str:
    where = path_of(node)
    known = where in (node.name, node.op_type.lower())
    return f"node '{named(node)}' ({node.op_type}{'' if known else f', of {where}'})"
