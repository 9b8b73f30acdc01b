"""A node of a file as its operator sees it, and how an operator says what it is called."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn

from .names import layer_of, path_of
from .recorder import Recorder, Value
from .values import Known, tensor

if TYPE_CHECKING:
    from onnx import NodeProto


class Unsupported(Exception):
    """A node that cannot be converted; the text says why, and what to do."""


#: Names of ONNX -> what makes them.
OPERATORS: dict[str, Callable[[Call], Value]] = {}


def operator(*names: str) -> Callable:
    """Mark a function as the operator of these names. It gets a :class:`Call`, and computes with functions and modules
    of torch, which are recorded; it returns the result, or a tuple of all."""

    def mark(function: Callable[[Call], Value]) -> Callable[[Call], Value]:
        OPERATORS.update(dict.fromkeys(names, function))
        return function

    return mark


class Call:
    """A node with its inputs: values of the trace (``fx.Proxy``), and what is :class:`Known`."""

    def __init__(self, recorder: Recorder, node: NodeProto, inputs: Sequence[fx.Proxy | Known | None]):
        from onnx import helper

        self.recorder, self.node, self.inputs = recorder, node, inputs
        self.name, self.opset = node.op_type, recorder.opset
        self.attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}

    # --- what is given -----------------------------------------------------------------------------------------------

    def attribute(self, name: str, default: Any = None) -> Any:
        value = self.attributes.get(name, default)
        return value.decode() if isinstance(value, bytes) else list(value) if isinstance(value, tuple) else value

    def has(self, i: int) -> bool:
        return i < len(self.inputs) and self.inputs[i] is not None

    def is_known(self, i: int) -> bool:
        return self.has(i) and isinstance(self.inputs[i], Known)

    def known(self, i: int) -> Known:
        """Raises Unsupported: the input depends on that of the network, or is not there."""
        value = self.inputs[i] if self.has(i) else None
        if not isinstance(value, Known):
            raise Unsupported(f"its input '{self.node.input[i]}' depends on the network's; a constant is supported")
        return value

    def numbers(self, i: int, attribute: str = "", default: Any = None) -> Any:
        """A list of numbers, which older operator sets have as an attribute and newer ones as an input."""
        if self.has(i):
            return self.known(i).array.reshape(-1).tolist()
        return self.attribute(attribute, default) if attribute else default

    def scalar(self, i: int, attribute: str = "", default: Any = None) -> Any:
        found = self.numbers(i, attribute, default)
        return found[0] if isinstance(found, list) else found

    def shape(self, i: int = 0) -> tuple[int, ...]:
        value = self.proxy(i) if not self.is_known(i) else self.known(i)
        return value.array.shape if isinstance(value, Known) else self.recorder.value(value).shape

    def rank(self, i: int = 0) -> int:
        return len(self.shape(i))

    def axis(self, default: int | None = None, i: int = 0) -> int:
        """``axis``, counted from the front."""
        return self.attribute("axis", default) % max(self.rank(i), 1)

    # --- values for functions of torch -------------------------------------------------------------------------------

    def operand(self, i: int) -> Value:
        """An input as an argument: a number, where one was written, or a value of the trace."""
        value = self.inputs[i]
        if isinstance(value, Known) and value.number is not None and self._keeps_rank(value):
            return value.number
        return self.proxy(i)

    def _keeps_rank(self, value: Known) -> bool:
        """A number has no axes, so that what it is added to must have as many."""
        others = (self.rank(i) for i in range(len(self.inputs)) if not self.is_known(i))
        return value.array.ndim <= max(others, default=0)

    def operands(self) -> list[Value]:
        return [self.operand(i) for i in range(len(self.inputs))]

    def proxy(self, i: int) -> Value:
        """An input as a value of the trace; one that is known becomes a weight, or a buffer where it is none."""
        value = self.inputs[i]
        if value is None:
            raise Unsupported(f"has no input {i}")
        return self.recorder.constant(value) if isinstance(value, Known) else value

    def weight(self, i: int, change: Callable[[Tensor], Tensor] | None = None) -> nn.Parameter:
        """A parameter made of an input."""
        return self.recorder.parameter(self.known(i), change)

    def buffer(self, i: int) -> Tensor:
        return tensor(self.known(i).array)

    # --- modules -----------------------------------------------------------------------------------------------------

    def layer(self, kind: Any, *args: Any, weights: dict[str, Any], of: int, **options: Any) -> Value:
        """Call a layer on input 0, with these parameters and buffers; ``of`` is the input that it is named after.

        Two nodes that share all of it call one layer twice.
        """
        with torch.device("meta"):
            module = kind(*args, **options)
        for name, value in weights.items():
            if isinstance(value, nn.Parameter) or value is None:
                module.register_parameter(name, value)
            else:
                module.register_buffer(name, value)
        shared = [value for value in self.inputs[1:] if isinstance(value, Known)]
        self.recorder.held += shared
        return self.recorder.call(module.eval(), layer_of(self.known(of).name) or path_of(self.node), self.proxy(0),
                              (kind, args, *options.items(), *map(id, shared)))  # fmt: skip

    def module(self, module: nn.Module) -> Value:
        """Call a module without weights on input 0."""
        return self.recorder.call(module.eval(), path_of(self.node), self.proxy(0))
