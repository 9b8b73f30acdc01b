"""What a user calls: a file becomes a module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx

from ..errors import TraceError
from . import operators  # noqa: F401  (which fill the table)
from .batches import for_any_batch
from .file import opset, read
from .walk import Walk, missing

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

#: One shape, for a file of one input, or one for each by its name; the batch first.
Shapes = Sequence[int] | Sequence[Sequence[int]] | Mapping[str, Sequence[int]]

#: How far the samples of a batch may be from the same samples alone, of the largest output.
_SAME = 1e-3


@torch.inference_mode(False)
def from_onnx(path: str | PathLike, *, input_shapes: Shapes | None = None) -> fx.GraphModule:
    """The network of an ONNX file as a module of torch, in eval mode, which :func:`autorep_fx.transform` takes.

    Weights are parameters, under the names that they have in the file where those are paths (``layer1.0.conv1.weight``)
    and in float32, whatever the file has. What the file computes from weights and shapes alone is computed once. The
    batch stays open, in a file that was written for one sample, too. Nothing in the file is run.

    Args:
        path: of the file; weights that it keeps in others must lie beside it.
        input_shapes: ``(1, 3, 48, 192)``, where the file leaves sizes open; the first is the batch and does not count.
            Of several inputs ``{"x": (1, 3, 48, 192)}``, or a list of all in the file's order. The result may hold
            for these alone.

    Raises:
        FileNotFoundError: there is no such file, or none of those with its weights.
        FormatError: it is no ONNX file.
        TraceError: it has an operator that there is none of here, or one in a form that is not supported; names the
            nodes. Or samples of a batch do not stay apart.
        ValueError: shapes that are missing or do not fit; says which.
        MissingDependency: the extra ``onnx`` is not installed.
    """
    path = Path(path)
    model = read(path)
    weights = {weight.name for weight in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if not inputs:
        raise TraceError(f"{path} has no input")
    shapes = {name: _shape(path, name, *rest) for name, *rest in _asked(path, inputs, input_shapes)}
    if lacking := missing(model.graph, [*shapes]):
        listed = "; ".join(f"{name} ({_some(nodes)})" for name, nodes in lacking.items())
        raise TraceError(f"{path} has operators that there are none of here: {listed}")
    kinds: dict[str, int] = {value.name: value.type.tensor_type.elem_type for value in inputs}
    sizes = [_sizes(value)[:1] for value in inputs]
    fixed = next((size[0] for size in sizes if size and size[0]), 0)
    gm = for_any_batch(*(_walked(path, model, _example(shapes, kinds, batch), fixed) for batch in (2, 3)))
    gm.meta["class"] = path.stem
    _check(path, gm, _example(shapes, kinds, 3), fixed)
    return gm


def _walked(path: Path, model: ModelProto, example: dict[str, Tensor], fixed: int) -> fx.GraphModule:
    try:
        return Walk(model.graph, opset(model), example, fixed).run()
    except TraceError as error:
        batch = len(next(iter(example.values())))
        why = "" if fixed in (0, batch) else (
            f". The file has numbers for batches of {fixed} and was read for {batch}; if that is what fails, export it "
            "with a batch that is open (dynamic_shapes, or dynamic_axes, of torch.onnx.export)"
        )  # fmt: skip
        raise TraceError(f"{path}: {error}{why}") from error


def _asked(path: Path, inputs: list[ValueInfoProto], given: Shapes | None) -> list[tuple[str, list[int], Any]]:
    """Name, shape in the file and shape given, of each input."""
    names = [value.name for value in inputs]
    if given is not None and not isinstance(given, Mapping):
        listed: list[Any] = [*given] if all(isinstance(shape, Sequence) for shape in given) else [given]
        if len(listed) != len(names):
            raise ValueError(
                f"{path} has {len(names)} inputs, and input_shapes {len(listed)}; give them as {{name: shape}} of "
                f"{', '.join(names)}"
            )
        given = dict(zip(names, listed))
    if unknown := [name for name in given or {} if name not in names]:
        raise ValueError(f"{path} has no input {unknown[0]!r}; its inputs: {', '.join(names)}")
    return [(value.name, _sizes(value), (given or {}).get(value.name)) for value in inputs]


def _sizes(value: ValueInfoProto) -> list[int]:
    """A shape with 0 for what is open."""
    return [max(d.dim_value, 0) if d.HasField("dim_value") else 0 for d in value.type.tensor_type.shape.dim]


def _shape(path: Path, name: str, sizes: list[int], given: Sequence[int] | None) -> tuple[int, ...]:
    """Of a sample."""
    text = f"({', '.join('?' if n == 0 else str(n) for n in sizes)})"
    if given is None:
        if len(sizes) < 2 or 0 in sizes[1:]:
            like = (1, *(n or 224 for n in sizes[1:])) if sizes else (1, 3, 224, 224)
            raise ValueError(
                f"input '{name}' of {path} is {text} in the file; say which sizes, for example input_shapes={like}"
            )
        return tuple(sizes[1:])
    given = tuple(given)
    if not all(isinstance(n, int) and n > 0 for n in given[1:]) or len(given) < 2:
        raise ValueError(f"input_shapes of '{name}' must be positive sizes, the batch first, got {given}")
    if sizes and (len(given) != len(sizes) or any(n not in (0, g) for n, g in zip(sizes[1:], given[1:]))):
        raise ValueError(f"input '{name}' of {path} is {text} in the file, and input_shapes says {given}")
    return given[1:]


def _example(shapes: dict[str, tuple[int, ...]], kinds: dict[str, int], batch: int) -> dict[str, Tensor]:
    """Numbers in [0, 1), or 0 and 1 where an input is of integers."""
    from onnx import TensorProto

    numbers = torch.Generator().manual_seed(0)
    floating = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.UNDEFINED)
    whole: dict[int, torch.dtype] = {
        TensorProto.BOOL: torch.bool, TensorProto.UINT8: torch.uint8, TensorProto.INT32: torch.int32,
    }  # fmt: skip
    found = {}
    for name, shape in shapes.items():
        x = torch.rand(batch, *shape, generator=numbers)
        found[name] = x if kinds[name] in floating else (x < 0.5).to(whole.get(kinds[name], torch.int64))
    return found


def _check(path: Path, gm: fx.GraphModule, example: dict[str, Tensor], fixed: int) -> None:
    """Each sample of a batch is computed as if it were alone."""
    with torch.no_grad():
        batch = _tuple(gm(*example.values()))
        for i in range(2):
            alone = _tuple(gm(*(x[i : i + 1] for x in example.values())))
            if not all(len(many) == 3 and _same(many[i : i + 1], one) for many, one in zip(batch, alone)):
                size = f", which has numbers for batches of {fixed}" if fixed else ""
                raise TraceError(
                    f"samples of a batch do not stay apart in {path}{size}: axis 0 of inputs and outputs must be the "
                    "batch from one end to the other; export it with a batch that is open (dynamic_shapes, or "
                    "dynamic_axes, of torch.onnx.export)"
                )


def _same(a: Tensor, b: Tensor) -> bool:
    within = _SAME * float(b.abs().max()) if b.numel() else 0.0
    return a.shape == b.shape and torch.allclose(a.float(), b.float(), rtol=_SAME, atol=within, equal_nan=True)


def _tuple(output: Any) -> tuple[Tensor, ...]:
    return output if isinstance(output, tuple) else (output,)


def _some(nodes: list[str]) -> str:
    return ", ".join(map(repr, nodes[:3])) + (f" and {len(nodes) - 3} more" if len(nodes) > 3 else "")
