"""What is known of a file's values before there is an input: weights, constants, and what is computed from them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..text import brief

if TYPE_CHECKING:
    from onnx import NodeProto

#: Digits with which somebody writes a constant down. A weight that was learned has more.
_DIGITS = 5

#: Denominators, and squares, of constants that have more: 1/6, sqrt(2), 1/sqrt(48), sqrt(2/pi).
_LARGEST = 4096


@dataclass(frozen=True)
class Known:
    """An array that depends on no input.

    name: of the weight that it is, or was made from; in the file's words.
    """

    array: np.ndarray
    name: str

    __repr__ = brief

    @property
    def number(self) -> bool | int | float | None:
        """The value, where this is one and no weight.

        Of a single value nothing in a file says whether it was learned (the factor of a layer) or written (the 6 of a
        hardswish). One of few digits, a fraction or a root of a small number was written; any other is a weight, which
        trains and is the server's.
        """
        if self.array.size != 1:
            return None
        value = self.array.reshape(()).item()
        return value if not isinstance(value, float) or _was_written(value) else None


def _was_written(value: float) -> bool:
    if value == 0 or not math.isfinite(value):
        return True
    square = value * value
    simple = (value, 1 / value, square, 1 / square, square * math.pi, square * math.pi / 2)
    if any(abs(n) <= _LARGEST and _near(n, round(n)) for n in simple):
        return True
    return _near(value, float(f"{value:.{_DIGITS}g}"))


def _near(value: float, other: float) -> bool:
    """Equal, as far as float32 can tell."""
    return other != 0 and abs(value / other - 1) < 2e-7


def tensor(array: np.ndarray) -> Tensor:
    """An array for torch: floating numbers of any length in float32."""
    array = np.asarray(array)
    if array.dtype.kind not in "iub":  # among them bfloat16 and the small ones, which NumPy has no letter for
        array = array.astype(np.float32)
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        array = array.astype(np.int64)
    return torch.from_numpy(np.array(array))


def evaluate(node: NodeProto, inputs: list[np.ndarray | None], opset: int) -> list[np.ndarray]:
    """What a node makes of arrays, by the reference that comes with ONNX."""
    from onnx import helper, numpy_helper
    from onnx.reference import ReferenceEvaluator

    if node.op_type == "Constant":
        [attribute] = node.attribute
        value = helper.get_attribute_value(attribute)
        if attribute.name in ("value", "sparse_value"):
            return [numpy_helper.to_array(value)]
        kind: Any = np.int64 if attribute.name.startswith("value_int") else np.float32
        return [np.array(value, kind)]
    names = [f"x{i}" if array is not None else "" for i, array in enumerate(inputs)]
    outputs = [f"y{i}" if name else "" for i, name in enumerate(node.output)]
    twin = helper.make_node(node.op_type, names, outputs, domain=node.domain)
    twin.attribute.extend(node.attribute)
    given = {name: array for name, array in zip(names, inputs) if name}
    wanted = [name for name in outputs if name]
    ends = [[*map(helper.make_empty_tensor_value_info, names)] for names in (given, wanted)]
    reference = ReferenceEvaluator(helper.make_graph([twin], "one_node", ends[0], ends[1]), opsets={"": opset})
    found = dict(zip(wanted, reference.run(None, given)))
    return [np.asarray(found[name]) if name else np.empty(0) for name in outputs]
