"""From a graph to steps: the walk that looks nodes up in the table of lowerings."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.node import map_arg

from ...errors import CompileError
from ...graph.attached import attached
from ...graph.finish import finishes
from ...graph.several import Batch, parts_of
from ...graph.tail import tail
from ...graph.unread import read
from ..program.outputs import Form
from ..program.program import Program, PublicProgram, Step
from ..program.shapes import Shape
from ..program.step_json import to_json
from .batch_first import with_batch_first
from .call import Call, Unsupported
from .hidden import Hidden, carried, reaches_softmax_alone
from .memory import Memory, tensors
from .output import form_of
from .refused import reason
from .rewriting import layout_of
from .tail import Tail
from .tail_table import TABLE as TAIL

#: (node.op, type of the module, or function, or method name) -> lowering.
Table = Mapping[tuple[str, Any], Callable[["Lowering", Call], str]]


#: What takes of a private tensor its shape and nothing else.
_SHAPES_ALONE = {torch.zeros_like, torch.ones_like, torch.full_like, "new_zeros", "new_ones", "new_full"}

#: What takes of a second tensor its type or its shape, and nothing else.
_LIKE_ANOTHER = {"to", "type_as", "expand_as", "view_as", "reshape_as"}


#: Emits one of the values that a node returns, by a suffix of the node's name, and gives its name.
Part = Callable[[Call, str], str]


class _Values(fx.Interpreter):
    """Runs the graph and remembers every value, and the node that it is at."""

    def __init__(self, gm: fx.GraphModule):
        super().__init__(gm)
        self.extra_traceback = False
        self.values: dict[fx.Node, Any] = {}

    def run_node(self, node: fx.Node) -> Any:
        self.node = node
        self.values[node] = super().run_node(node)
        return self.values[node]


def _values(gm: fx.GraphModule, x: Batch, size: int) -> dict[fx.Node, Any]:
    """The value of every node for a batch of ``size`` samples like the first of ``x``."""
    run = _Values(gm)
    try:
        with torch.no_grad():
            run.run(*(part[:1].repeat(size, *(1,) * (part.dim() - 1)) for part in parts_of(x)))
    except Exception as error:
        # Most often a node before the one that fails has put a fixed number where the batch was.
        private = _private_nodes(run.values)
        known = {n: v for n, v in run.values.items() if n in private and isinstance(v, Tensor)}
        suspect = next((n for n, v in known.items() if v.shape[:1] != (size,)), run.node)
        raise CompileError(
            f"the model runs on a batch of {len(x)} but not on one of {size}: node '{run.node.name}' fails "
            f"({str(error).splitlines()[0]}). A batch size seems to be written into node '{suspect.name}' "
            f"({_describe(gm, suspect)}); take it from the input (x.shape[0], flatten(1))"
        ) from error
    return run.values


def _private_nodes(values: dict[fx.Node, Any]) -> set[fx.Node]:
    """The nodes with tensors that depend on the input."""
    private: set[fx.Node] = set()
    for node, value in values.items():
        # An input with a default value that is no tensor is a constant.
        if tensors(value):
            sources = node.all_input_nodes[:1] if node.target in _LIKE_ANOTHER else node.all_input_nodes
            depends = any(n in private for n in sources) and node.target not in _SHAPES_ALONE
            if node.op == "placeholder" or depends:
                private.add(node)
    return private


def _run(gm: fx.GraphModule, x: Batch) -> tuple[fx.GraphModule, dict[fx.Node, Any], dict[fx.Node, Any]]:
    """The graph with the batch in front, and its values for batches of 2 and of 3."""
    small, large = (_values(gm, x, size) for size in (2, 3))
    moved = with_batch_first(gm, small, large, _private_nodes(small))
    return (gm, small, large) if moved is None else (moved, *(_values(moved, x, size) for size in (2, 3)))


class Lowering:
    """State of one lowering.

    The graph is run at batch sizes 2 and 3, and what differs between the runs is the batch: a step's shape is then the
    shape of one sample, whatever arithmetic on ``x.shape`` led to it.
    """

    def __init__(self, gm: fx.GraphModule, x: Batch, table: Table):
        self.table = table
        self.gm, self.values, self.more_values = _run(gm, x)
        self.private = _private_nodes(self.values)
        gm = self.gm
        self.finishes = finishes(gm)
        self.tail = tail(gm) - {*self.finishes}
        for node in gm.graph.nodes:  # what is done last of all to what the tail gives is of the tail
            if node in self.finishes and self.finishes[node].source in self.tail:
                del self.finishes[node]
                self.tail.add(node)
        self.last = Tail(self, self._opened, TAIL)
        #: Where each value that the client learns begins in the row of a sample, and how long that is.
        self.starts: dict[str, int] = {}
        self.size = 0
        self.steps: list[Step] = []
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.secrets: dict[str, Tensor] = {}
        self.hidden: dict[str, Hidden] = {}  # of scores for a softmax
        self.broken: set[fx.Node] = set()  # what cannot be lowered
        self.names: dict[fx.Node, str] = {}
        self.parts: dict[fx.Node, Sequence[Part]] = {}
        self.memory = Memory(gm, self.values)
        self.read = read(gm, self.memory.of)
        self.overwritten = self.memory.overwritten_by(self.private)

    # --- for lowerings -----------------------------------------------------------------------------------------------

    def batch_axis(self, node: fx.Node) -> int:
        """Where the batch is in a node's value; in that of its step it is always in front.

        Raises:
            Unsupported: no axis is.
        """
        return 0 if node in self.broken else self._batch_of(self.values[node], self.more_values[node])

    @staticmethod
    def _batch_of(small: Any, large: Any) -> int:
        if not isinstance(small, Tensor):
            raise Unsupported(f"returns {type(small).__name__}; only single tensors can be computed on")
        if small.dim() == large.dim():
            differ = [axis for axis, sizes in enumerate(zip(small.shape, large.shape)) if sizes[0] != sizes[1]]
            if len(differ) == 1 and (small.shape[differ[0]], large.shape[differ[0]]) == (2, 3):
                return differ[0]
        raise Unsupported("axis 0 must stay the batch; rewrite it to leave axis 0 alone")

    def sample_shape(self, node: fx.Node, anywhere: bool = False) -> tuple[int, ...]:
        """Shape of one sample of a node's value.

        Raises:
            Unsupported: axis 0 is not the batch, or, ``anywhere``, no axis is.
        """
        if node in self.broken:
            return self.shapes[node.name]
        axis, shape = self.batch_axis(node), tuple(self.values[node].shape)
        if axis != 0 and not anywhere:
            raise Unsupported(
                f"moves the batch to axis {axis}, and axis 0 must stay the batch here; move it back before (transpose, "
                "mean(0))"
            )
        return (*shape[:axis], *shape[axis + 1 :])

    def part_shape(self, node: fx.Node, part: int) -> tuple[int, ...]:
        """Shape of one sample of one of the tensors that a node gives."""
        small, large = self.values[node][part], self.more_values[node][part]
        if self._batch_of(small, large) != 0:
            raise Unsupported("axis 0 must stay the batch; rewrite it to leave axis 0 alone")
        return tuple(small.shape[1:])

    def axis(self, node: fx.Node, dim: int) -> int | None:
        """The axis of a sample that is ``dim`` of a node's value; None for the batch."""
        batch = self.batch_axis(node)
        dim %= len(self.sample_shape(node, anywhere=True)) + 1
        return None if dim == batch else dim - (dim > batch)

    def shape_of(self, value: str) -> tuple[int, ...]:
        return self.shapes[value]

    def value(self, argument: Any, anywhere: bool = False) -> str:
        """Name of the step value behind a private argument, whose batch is at axis 0, or ``anywhere``."""
        if not isinstance(argument, fx.Node):
            raise Unsupported(f"its input is {type(argument).__name__}, not a tensor of the private input")
        if argument in self.parts:
            raise Unsupported(f"uses all parts of '{argument.name}' at once; take them one by one")
        if not anywhere:
            self.sample_shape(argument)
        return self.names[argument]

    def reaches_softmax_alone(self, node: fx.Node) -> bool:
        return reaches_softmax_alone(self.gm, node, self.values, {*self.finishes, *self.tail})

    def emit(self, call: Call, op: str, inputs: tuple[str, ...], *, shape: tuple[int, ...] | None = None,
             secrets: dict[str, Tensor] | None = None, suffix: str = "", **attrs: Any) -> str:  # fmt: skip
        """Append a step; ``shape`` is that of the node's result by default."""
        shape = self.sample_shape(call.node) if shape is None else tuple(shape)
        return self._append(_step_name(call.node) + suffix, op, inputs, shape, secrets, attrs)

    def _append(self, name: str, op: str, inputs: tuple[str, ...], shape: Shape,
                secrets: dict[str, Tensor] | None = None, attrs: dict[str, Any] | None = None) -> str:  # fmt: skip
        keys = {role: f"{name}.{role}" for role, tensor in (secrets or {}).items() if tensor is not None}
        for role, key in keys.items():
            self.secrets[key] = secrets[role].detach().to("cpu", torch.float64, copy=True)
        self.steps.append(Step(name, op, inputs, shape, attrs or {}, keys))
        hidden = carried(op, [(self.shapes[each], self.hidden.get(each)) for each in inputs], shape)
        if hidden is not None:
            self.hidden[name] = hidden
        self.shapes[name] = shape
        return name

    # --- the walk ----------------------------------------------------------------------------------------------------

    def run(self) -> Program:
        nodes = list(self.gm.graph.nodes)
        inputs = [n for n in nodes if n.op == "placeholder" and n in self.private]
        problems = self._assignments()
        output, form = "", None
        for node in nodes:
            if node not in self.private or node in self.finishes or node.op != "placeholder" and node not in self.read:
                continue
            try:
                if node.op == "placeholder":
                    name = self.names[node] = _step_name(node)
                    self.shapes[name] = self.sample_shape(node)
                elif node.op == "output":
                    output, form = self._output(node)
                elif node in self.tail:
                    self.last.add(node)
                else:
                    self.names[node] = self._lower(node)
            except Unsupported as error:
                problems.append(f"node '{node.name}' ({_describe(self.gm, node)}): {error}")
                # Later nodes are still looked at, so that one message lists everything.
                self.names[node] = node.name
                self.broken.add(node)
                value = self.values[node]
                self.shapes[node.name] = tuple(value.shape[1:]) if isinstance(value, Tensor) else ()
        if not problems and not output:
            problems.append("the output does not depend on the input")
        if problems:
            raise CompileError("this graph cannot run between two parties:\n  - " + "\n  - ".join(problems))
        used = {key for step in self.steps for key in step.secrets.values()}
        server = {key: tensor for key, tensor in self.secrets.items() if key in used}
        shapes = {key: tuple(tensor.shape) for key, tensor in server.items()}
        name, *more = map(_step_name, inputs)
        others = {each: self.shapes[each] for each in more}
        steps = tuple(self.steps)
        public = PublicProgram(name, self.shapes[name], steps, output, shapes, form, more_inputs=others)
        if unread := [each for each in public.inputs if more and not public.readers()[each]]:
            raise CompileError(f"the model does not read its input '{unread[0]}'; leave it out of forward()")
        return Program(public, server)

    def _assignments(self) -> list[str]:
        """What is wrong with those that graph/augmented.py left in place."""
        left = [node for node in self.gm.graph.nodes if node.target is operator.setitem and node in self.read]
        return [
            f"node '{node.name}' (x[i] = y): writes into '{node.all_input_nodes[0].name}', which is read later by "
            "another name; assign to the whole tensor (y[:, 0, 2] = a for z = y[:, 0]; z[:, 2] = a)"
            for node in left if not self.private.isdisjoint(node.all_input_nodes)
        ]  # fmt: skip

    def _lower(self, node: fx.Node) -> str:
        module = self.gm.get_submodule(node.target) if node.op == "call_module" else None
        key = (node.op, type(module) if module is not None else node.target)
        lowering = self.table.get(key)
        if lowering is None:
            self._check_attached(module)
            raise Unsupported(reason(node, key))
        return lowering(self, self.call(node, takes_sizes=lowering.takes_sizes))

    def call(self, node: fx.Node, takes_sizes: bool) -> Call:
        """A node with its constants.

        Raises:
            Unsupported: it does more than its operation, or reads what is another constant in every run.
        """
        module = self.gm.get_submodule(node.target) if node.op == "call_module" else None
        self._check_attached(module)
        if module is None and (stale := self.memory.stale_reader(node, self.read)):
            value, reader = stale
            raise Unsupported(
                f"writes in place into '{value.name}', which '{reader.name}' reads later; use the out-of-place form "
                "(y = y + x for y += x)"
            )

        def constant(value):
            return value if value in self.private else self._constant(value, takes_sizes)

        args, kwargs = map_arg((node.args, node.kwargs), constant)
        return Call(node, module, tuple(args), dict(kwargs))

    @staticmethod
    def _check_attached(module: torch.nn.Module | None) -> None:
        for part in module.modules() if module is not None else ():
            for what in attached(part, backward=False):
                raise Unsupported(f"has {what}")

    def places(self, node: fx.Node, source: fx.Node) -> Any:
        """What a node that only moves elements gives of the numbers 1, 2, ... in place of the values of ``source``; 0
        where it puts zeros. Two samples."""
        x = self.values[source]
        numbers = torch.arange(1, x.numel() + 1, dtype=torch.float64).reshape(x.shape)
        given = {**self.values, source: numbers}
        args, kwargs = map_arg((node.args, node.kwargs), given.__getitem__)
        if node.op == "call_module":
            return self.gm.get_submodule(node.target)(*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        return node.target(*args, **kwargs)

    def _constant(self, node: fx.Node, as_size: bool) -> Any:
        """The value of a node that does not depend on the input; of one that has it once for each sample, that of one,
        with one sample where the others have the batch."""
        small, large = self.values[node], self.more_values[node]
        if not isinstance(small, Tensor):
            if as_size or tensors(small) or small == large:
                return small
            raise Unsupported(f"computes with '{node.name}', the size of the batch; private runs have batches of any")
        if self.memory.of(node) & self.overwritten:
            raise Unsupported(f"'{node.name}' is overwritten by what depends on the input; use x + y, not x.add_(y)")
        if small.shape == large.shape and torch.equal(small, large):
            return small
        if small.shape == large.shape:
            raise Unsupported(f"the constant '{node.name}' is another one in every run")
        layout = layout_of(small, large)
        if layout is not None and layout.count == 1:
            one = small.narrow(layout.axis, 0, 1)
            if (small == one).all() and (large == one).all():
                return one
        raise Unsupported(f"the constant '{node.name}' depends on the batch size, or is random")

    def _opened(self, source: fx.Node) -> tuple[int, Shape]:
        """Where the values of a node that the client learns begin, and the shape of a sample."""
        if source not in self.private:
            raise Unsupported(f"the model returns '{source.name}', which does not depend on the input")
        shape, name = self.sample_shape(source), self.names[source]
        if name not in self.starts:
            self.starts[name], self.size = self.size, self.size + math.prod(shape)
        return self.starts[name], shape

    def _output(self, node: fx.Node) -> tuple[str, Form | None]:
        """The value that the client learns, and what it makes of it."""
        form = form_of(node.args[0], self.finishes, self._opened, self.last.names)
        if steps := self.last.needed(form):
            form = {"tail": [[to_json(step) for step in steps], form]}
        starts = self.starts
        if not starts:
            raise Unsupported("the model returns nothing that depends on the input")
        if len(starts) == 1:
            (name,) = starts
            return name, None if form == {"tensor": [0, [*self.shapes[name]], []]} else form
        rows = [self._append(f"output.{i}", "reshape", (name,), (math.prod(self.shapes[name]),))
                for i, name in enumerate(starts)]  # fmt: skip
        return self._append("output.row", "cat", tuple(rows), (self.size,), attrs={"dim": 1}), form


def _step_name(node: fx.Node) -> str:
    """The node's; "output" is what is sent to the client in the end, whatever a model calls its last layer."""
    return "output.layer" if node.name == "output" else node.name


def _describe(gm: fx.GraphModule, node: fx.Node) -> str:
    if node.op == "call_module":
        return f"{type(gm.get_submodule(node.target)).__name__} at '{node.target}'"
    if node.op == "call_function":
        return getattr(node.target, "__name__", str(node.target))
    return f".{node.target}()" if node.op == "call_method" else node.op
