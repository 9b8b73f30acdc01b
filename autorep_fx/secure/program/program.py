"""A private inference as data: which steps run in which order, and what the server alone knows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ...text import brief, shape, shapes, table
from .checks import is_tensor
from .outputs import Form
from .tail.tail import steps_of

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Step:
    """One operation on secret-shared tensors.

    Attributes:
        name: name of the result, unique in the program; the graph node's name where there is one.
        op: what to do, a key of every executor's table.
        inputs: names of earlier results.
        shape: shape of the result without the batch, which is always axis 0.
        attrs: public parameters (strides, indices, numbers).
        secrets: role -> key into the server's part, for weights, biases and coefficients.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    attrs: dict[str, Any] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)

    __repr__ = brief


@dataclass(frozen=True)
class PublicProgram:
    """What every party may know: the architecture, and which positions keep their activation.

    Where a model takes several inputs, their values are rows (N, P) side by side for whoever runs a program in the
    clear: :meth:`given` takes them apart.

    Attributes:
        input: name of the first input, or the only one.
        input_shape: its shape without the batch.
        steps: in the order in which they run.
        output: name of the value that the client learns.
        secret_shapes: shape of every tensor in the server's part.
        form: what the client makes of it (outputs.py); None: it is what the model returns.
        more_inputs: names and shapes of those behind the first, in the order of the model's arguments.
    """

    input: str
    input_shape: tuple[int, ...]
    steps: tuple[Step, ...]
    output: str
    secret_shapes: dict[str, tuple[int, ...]]
    form: Form | None
    more_inputs: dict[str, tuple[int, ...]] = field(default_factory=dict, kw_only=True)

    @property
    def inputs(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of all inputs."""
        return {self.input: self.input_shape, **self.more_inputs}

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Of what is run in the clear: the input's, or a row of all."""
        return (sum(map(math.prod, self.inputs.values())),) if self.more_inputs else self.input_shape

    def given(self, x: Tensor) -> dict[str, Tensor]:
        """The inputs of a batch (N, *sample_shape), by name."""
        if not self.more_inputs:
            return {self.input: x}
        parts = x.split([math.prod(shape) for shape in self.inputs.values()], 1)
        return {name: part.reshape(len(x), *shape) for (name, shape), part in zip(self.inputs.items(), parts)}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_path(self)})"

    @property
    def output_shape(self) -> tuple[int, ...]:
        return next((s.shape for s in self.steps if s.name == self.output), self.inputs.get(self.output, ()))

    def readers(self) -> Counter[str]:
        """How often each value is read, the output by the client too."""
        return Counter([self.output, *(name for step in self.steps for name in step.inputs)])

    def last_uses(self) -> dict[str, list[str]]:
        """Step name -> values that nobody reads after it."""
        reader = {name: step.name for step in self.steps for name in step.inputs}
        gone: dict[str, list[str]] = {}
        for name, step in reader.items():
            if name != self.output:
                gone.setdefault(step, []).append(name)
        return gone


@dataclass(frozen=True)
class Program:
    """A public part, and the server's part: float64 weights, biases and coefficients, not yet on a fixed-point grid.

    ``print`` shows every step with its shapes.
    """

    public: PublicProgram
    server: dict[str, Tensor]

    @property
    def steps(self) -> tuple[Step, ...]:
        return self.public.steps

    def secrets(self, step: Step) -> dict[str, Tensor]:
        """The server's tensors of a step, by role."""
        return {role: self.server[key] for role, key in step.secrets.items()}

    @cached_property
    def single(self) -> Program:
        """In float32: made once, for a copy of the weights costs as much as a walk over some samples."""
        return Program(self.public, {key: tensor.float() for key, tensor in self.server.items()})

    def check_input(self, x: Tensor) -> None:
        """Raise ValueError unless ``x`` is a batch that this program can run."""
        check_batch(x, self.public.sample_shape)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_path(self.public)}, {_count(self.server)} private numbers)"

    def __str__(self) -> str:
        rows = [("step", "op", "inputs", "shape", "server's part", "public")]
        for name, sizes in self.public.inputs.items():
            rows.append((name, "input", "", shape(sizes, "N"), "", "held by the client"))
        for step in self.steps:
            secrets = " ".join(f"{role}{list(self.public.secret_shapes[key])}" for role, key in step.secrets.items())
            attrs = " ".join(f"{key}={_short(value)}" for key, value in step.attrs.items())
            rows.append((step.name, step.op, " ".join(step.inputs), shape(step.shape, "N"), secrets, attrs))
        rows.append(("output", "open", self.public.output, shape(self.public.output_shape, "N"), "", "to the client"))
        for last in steps_of(self.public.form["tail"][0] if self.public.form and "tail" in self.public.form else []):
            attrs = " ".join(f"{key}={_short(value)[:40]}" for key, value in last.attrs.items())
            rows.append((last.name, f"{last.op}, client", " ".join(last.inputs), shape(last.shape, "N"), "", attrs))
        title = f"{len(self.steps)} steps, {_count(self.server)} private numbers"
        return f"{title}\n{table(rows)}"


def check_batch(x: Tensor, shape: tuple[int, ...], name: str = "x") -> None:
    """Raise ValueError unless ``x`` is a batch of samples of this shape."""
    if not is_tensor(x):
        made = {"ndarray": f"; give torch.from_numpy({name})", "list": f"; give torch.stack({name}) of its tensors"}
        raise ValueError(
            f"{name} must be a floating-point tensor of shape {_wanted(shape)}, got {type(x).__name__}"
            f"{made.get(type(x).__name__, '')}"
        )
    if x.is_meta:
        raise ValueError(f"{name} is a tensor of the meta device, which has no values")
    if (layout := str(x.layout)) != "torch.strided":
        raise ValueError(f"{name} must be a dense tensor, got one of layout {layout}; give {name}.to_dense()")
    if not x.is_floating_point():
        raise ValueError(f"{name} must be a floating-point tensor, got {x.dtype}; convert it with {name}.float()")
    _check_values(x, x.isfinite(), shape, name)


def check_array(x: np.ndarray, shape: tuple[int, ...], name: str = "x") -> None:
    """The same of a batch that is an array of NumPy."""
    if not isinstance(x, np.ndarray):
        raise ValueError(
            f"{name} must be a floating-point tensor or array of shape {_wanted(shape)}, got {type(x).__name__}"
        )
    if x.dtype.kind != "f":
        text = f"{name} must be a floating-point array, got {x.dtype}; convert it with {name}.astype('float32')"
        raise ValueError(text)
    _check_values(x, np.isfinite(x), shape, name)


def _check_values(x: Any, finite: Any, shape: tuple[int, ...], name: str) -> None:
    if tuple(x.shape) == shape:
        raise ValueError(
            f"{name} has shape {shape}, a sample without a batch; this program was compiled for {_wanted(shape)}: give "
            f"{name}[None]"
        )
    if x.ndim == 0 or tuple(x.shape[1:]) != shape or len(x) == 0:
        raise ValueError(
            f"{name} has shape {tuple(x.shape)}; this program was compiled for {_wanted(shape)} with N > 0: bring it "
            "to that size, as the examples were, or compile the model with examples of this one"
        )
    if not finite.all():
        raise ValueError(f"{name} holds {int((~finite).sum())} values that are NaN or infinite")


def _wanted(shape: tuple[int, ...]) -> str:
    return f"(N, {', '.join(map(str, shape))})"


def _path(public: PublicProgram) -> str:
    return f"{len(public.steps)} steps, {shapes(public.inputs.values(), 'N')} -> {shape(public.output_shape, 'N')}"


def _count(tensors: Mapping[str, Tensor]) -> str:
    return f"{sum(t.numel() for t in tensors.values()):,}"


def _short(value: Any) -> str:
    if is_tensor(value):
        return f"<{value.numel()}>"
    return str(value).replace(" ", "")
