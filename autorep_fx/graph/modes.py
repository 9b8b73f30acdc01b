"""One graph for a model that takes another path in training than in evaluation: stochastic depth, auxiliary heads.

The graphs of both modes are laid side by side, as two versions of a text are by ``diff``. What both have stays a node,
so an activation of both modes is one site. A run of nodes that only one mode has becomes a :class:`ModePart`, at its
place in the order, so random numbers are drawn as the model draws them; where a node reads something else in either
mode, a :class:`ModeSelect` picks it.
"""

from __future__ import annotations

import copy
from difflib import SequenceMatcher
from typing import Any

import torch
from torch import fx, nn
from torch.fx.node import map_arg

from .activations import Leaf
from .gradients import detached
from .passes import Pass
from .recorded import Recorded
from .scopes import scope_of
from .targets import module_of


class TrainingFlag(Leaf):
    """``self.training`` as a node: what a model passes to ``F.dropout(x, p, self.training)``.

    Symbolic tracing would freeze the value of the moment; this module follows ``train()`` and ``eval()``.
    """

    def __init__(self, negate: bool = False):
        super().__init__()
        self.negate = negate

    def forward(self) -> bool:
        return self.training != self.negate


class ModeSelect(Leaf):
    """The first of two values in train mode, the second in eval mode."""

    def forward(self, train: Any, evaluated: Any) -> Any:
        return train if self.training else evaluated


class ModePart(Leaf):
    """Nodes that only one mode has. Returns a value for each name that is read elsewhere; those of the other mode are
    None.

    The modules inside belong to the model, which holds them under their own paths: here they are only referred to, so a
    state dict has each once, and a copy refers to the copies.

    Args:
        train, evaluated: the nodes of either mode as functions of the same inputs that return a tuple.
    """

    parts: tuple[fx.GraphModule, fx.GraphModule]

    def __init__(self, train: fx.GraphModule, evaluated: fx.GraphModule, counts: tuple[int, int]):
        super().__init__()
        self.counts = counts
        vars(self)["parts"] = (train, evaluated)  # no submodules of this one

    def forward(self, *inputs: Any) -> tuple:
        train, evaluated = self.parts
        trained, found = self.counts
        if self.training:
            return (*train(*inputs), *(None,) * found)
        return (*(None,) * trained, *evaluated(*inputs))

    def referred(self) -> dict[str, nn.Module]:
        """The model's modules inside, by their paths."""
        called = (node.target for part in self.parts for node in part.graph.nodes if node.op == "call_module")
        return {path: part.get_submodule(path) for path in called for part in self.parts if _has(part, path)}


def merge(model: nn.Module, train: fx.Graph, evaluated: fx.Graph, title: str) -> tuple[fx.GraphModule, list, set[str]]:
    """(the graph of both modes over the modules of ``model``; booleans that follow the mode: (node, path, negate);
    paths of the modules in which the modes differ)."""
    return _Merge(model, train, evaluated).run(title)


def drop_unused(gm: fx.GraphModule) -> None:
    """Delete the submodules that no node calls, nor a part of a mode."""
    parts = [m for m in gm.modules() if isinstance(m, ModePart)]
    referred = {path: module for part in parts for path, module in part.referred().items()}
    gm.delete_all_unused_submodules()
    for path, module in referred.items():
        if not _has(gm, path):
            gm.add_submodule(path, module)


class EvalPath(Pass):
    """Leave the path of eval mode, with nothing of the other, and of no use to gradients::

    before:  part = call_module[mode_part](conv); drop = part[0]     after:  add = x + conv
             select = call_module[mode_select](drop, conv)
             add = x + select; detached = detached(add)
    """

    def requires(self, gm: fx.GraphModule) -> None:
        if gm.training:
            raise ValueError("EvalPath needs a graph in eval mode; call eval() first")

    def run(self, gm: fx.GraphModule) -> None:
        for node in list(gm.graph.nodes):
            module = gm.get_submodule(node.target) if node.op == "call_module" else None
            if node.op == "call_function":
                self._open_function(gm, node)
            elif isinstance(module, ModeSelect):
                _replace(node, node.args[1])
            elif isinstance(module, ModePart):
                self._open(gm, node, module)
        for node in list(gm.graph.nodes):
            if node.target is detached:
                _replace(node, node.args[0])
        drop_unused(gm)

    @staticmethod
    def _open_function(gm: fx.GraphModule, node: fx.Node) -> None:
        """A function of another package that was kept whole because of the flag that it takes: what it does without."""
        called = {n: module_of(gm, n) for n in node.all_input_nodes if n.op == "call_module"}
        flags = {n: module for n, module in called.items() if isinstance(module, TrainingFlag)}
        function = node.target
        if not flags or isinstance(function, str) or function.__module__.startswith("torch."):
            return
        before = {*gm.graph.nodes}
        tracer = fx.proxy.GraphAppendingTracer(gm.graph)

        def given(n: fx.Node) -> Any:
            return flags[n]() if n in flags else fx.Proxy(n, tracer)

        args, kwargs = map_arg((node.args, node.kwargs), given)
        try:
            with gm.graph.inserting_before(node):
                result = function(*args, **kwargs)
        except Exception:  # it cannot be traced; lowering names the node
            for added in reversed([n for n in gm.graph.nodes if n not in before]):
                gm.graph.erase_node(added)
            return
        _replace(node, result.node if isinstance(result, fx.Proxy) else result)
        for flag in flags:
            if not flag.users:
                gm.graph.erase_node(flag)

    @staticmethod
    def _open(gm: fx.GraphModule, node: fx.Node, module: ModePart) -> None:
        graph, trained = module.parts[1].graph, module.counts[0]
        inputs = dict(zip((n for n in graph.nodes if n.op == "placeholder"), node.args))
        with gm.graph.inserting_before(node):
            results: Any = gm.graph.graph_copy(graph, inputs)
        for user in list(node.users):
            item: Any = user.args[1]
            place = item - trained
            if place >= 0:
                _replace(user, results[place])
            else:  # of train mode; what reads it reads another value in eval mode
                _replace(user, None)
        gm.graph.erase_node(node)


def _replace(node: fx.Node, value: Any) -> None:
    for user in list(node.users):
        user.args, user.kwargs = map_arg((user.args, user.kwargs), lambda n: value if n is node else n)
    node.graph.erase_node(node)


class BufferTracer(fx.Tracer):
    """By which a pickled graph is traced again: what is computed from buffers is no constant there either, and what is
    in place stays so."""

    proxy_buffer_attributes = True

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return Recorded(node, self)


class _Merge:
    def __init__(self, model: nn.Module, train: fx.Graph, evaluated: fx.Graph):
        self.model, self.sides = model, (list(train.nodes), list(evaluated.nodes))
        self.graph = fx.Graph(tracer_cls=BufferTracer)
        self.maps: tuple[dict[fx.Node, fx.Node], ...] = ({}, {})
        self.modules: dict[str, nn.Module] = {}
        self.selected: dict[tuple, fx.Node] = {}
        self.flags: list[tuple[tuple[fx.Node, tuple], bool]] = []
        self.scope = ""

    def run(self, title: str) -> tuple[fx.GraphModule, list, set[str]]:
        (*train, train_end), (*evaluated, end) = self.sides
        keys = [[_key(node) for node in side] for side in (train, evaluated)]
        for tag, i, j, k, m in SequenceMatcher(None, keys[0], keys[1], autojunk=False).get_opcodes():
            if tag == "equal":
                for a, b in zip(train[i:j], evaluated[k:m]):
                    self._both(a, b)
            else:
                self._part(train[i:j], evaluated[k:m])
        self.scope = ""
        self.graph.output(self._value(train_end.args[0], end.args[0]))
        gm = fx.GraphModule(self.model, fx.Graph(tracer_cls=BufferTracer), class_name=title)
        # In the order in which they run: that of the parameters must be the same in every process.
        for path in dict.fromkeys(n.target for side in self.sides for n in side if n.op == "call_module"):
            if not _has(gm, path):
                gm.add_submodule(path, self.model.get_submodule(path))
        for node in self.graph.nodes:
            if node.op == "get_attr":
                _refer(self.model, gm, node.target)
        for name, module in self.modules.items():
            gm.add_submodule(name, module)
        gm.graph = self.graph
        return gm, self.flags, {name.rpartition(".")[0] for name in self.modules}

    def _both(self, a: fx.Node, b: fx.Node) -> None:
        self.scope = _common([a, b])
        args, kwargs = self._value((a.args, a.kwargs), (b.args, b.kwargs), None)
        node = self.graph.create_node(a.op, a.target, args, kwargs, a.name, a.type)
        node.meta = copy.copy(a.meta)
        self.flags += [((node, path), negate) for path, negate in _flags((a.args, a.kwargs), (b.args, b.kwargs))]
        self.maps[0][a] = self.maps[1][b] = node

    def _value(self, a: Any, b: Any, depth: int | None = 0) -> Any:
        """What is ``a`` in train mode and ``b`` in eval mode; a boolean as in train mode where they are arguments."""
        if isinstance(a, fx.Node) and isinstance(b, fx.Node):
            x, y = self.maps[0][a], self.maps[1][b]
            return x if x is y else self._select(x, y)
        alike = type(a) is type(b) and isinstance(a, (tuple, list, dict)) and len(a) == len(b)
        if alike and isinstance(a, dict) and a.keys() == b.keys():
            return {key: self._value(a[key], b[key], depth) for key in a}
        if alike and not isinstance(a, dict) and not hasattr(a, "_fields"):
            return type(a)(self._value(x, y, depth) for x, y in zip(a, b))
        if depth is None and isinstance(a, bool) and isinstance(b, bool) or _key_of(a) == _key_of(b) and not _nodes(a):
            return a
        return self._select(map_arg(a, self.maps[0].__getitem__), map_arg(b, self.maps[1].__getitem__))

    def _select(self, x: Any, y: Any) -> fx.Node:
        nodes = isinstance(x, fx.Node) and isinstance(y, fx.Node)
        if nodes and (x, y) in self.selected:
            return self.selected[x, y]
        node = self.graph.call_module(self._add("mode_select", ModeSelect()), (x, y))
        if nodes:
            self.selected[x, y] = node
        return node

    def _add(self, name: str, module: nn.Module) -> str:
        """Where the modes differ, so that it is in the mode of the module that it is part of."""
        path = f"{self.scope}.{name}_{len(self.modules)}".lstrip(".")
        self.modules[path] = module
        return path

    def _part(self, train: list[fx.Node], evaluated: list[fx.Node]) -> None:
        # Parameters and buffers stay where they are: a node of their own reads them, whichever the mode.
        for side, nodes in enumerate((train, evaluated)):
            for node in nodes:
                if node.op == "get_attr":
                    self.maps[side][node] = self.graph.node_copy(node)
        train, evaluated = ([n for n in nodes if n.op != "get_attr"] for nodes in (train, evaluated))
        if not train and not evaluated:
            return
        inputs: list[fx.Node] = []
        for side, nodes in enumerate((train, evaluated)):
            for node in nodes:
                inputs += [self.maps[side][n] for n in node.all_input_nodes if n not in nodes]
        inputs = list(dict.fromkeys(inputs))
        outputs = [[n for n in nodes if any(user not in nodes for user in n.users)] for nodes in (train, evaluated)]
        one, other = (self._body(side, nodes, inputs, outputs[side]) for side, nodes in enumerate((train, evaluated)))
        self.scope = _common([*train, *evaluated])
        name = self._add("mode_part", ModePart(one, other, (len(outputs[0]), len(outputs[1]))))
        call = self.graph.call_module(name, tuple(inputs))
        for i, (side, node) in enumerate([(0, n) for n in outputs[0]] + [(1, n) for n in outputs[1]]):
            self.maps[side][node] = self.graph.call_function(_item, (call, i))

    def _body(self, side: int, nodes: list[fx.Node], inputs: list[fx.Node], outputs: list[fx.Node]) -> fx.GraphModule:
        graph = fx.Graph()
        given = {node: graph.placeholder(f"x{i}") for i, node in enumerate(inputs)}
        inner: dict[fx.Node, fx.Node] = {}
        for node in nodes:
            inner[node] = graph.node_copy(node, lambda n: inner[n] if n in inner else given[self.maps[side][n]])
        graph.output(tuple(inner[node] for node in outputs))
        return fx.GraphModule(self.model, graph)


def _common(nodes: list[fx.Node]) -> str:
    """The innermost module that all of these nodes are part of."""
    paths = [scope_of(node).split(".") for node in nodes]
    common = [parts[0] for parts in zip(*paths) if len({*parts}) == 1]
    first = next((i for i, parts in enumerate(zip(*paths)) if len({*parts}) > 1), len(common))
    return ".".join(common[:first])


def _item(values: tuple, place: int) -> Any:
    return values[place]


def _key(node: fx.Node) -> tuple:
    return node.op, node.target if isinstance(node.target, str) else id(node.target), _key_of((node.args, node.kwargs))


def _key_of(value: Any) -> str:
    """What two arguments have in common that differ in the nodes, and in booleans, at most."""
    if isinstance(value, fx.Node):
        return "%"
    if isinstance(value, bool):
        return "?"
    if isinstance(value, (tuple, list)):
        return f"{type(value).__name__}({','.join(map(_key_of, value))})"
    if isinstance(value, dict):
        return f"{{{','.join(f'{k}:{_key_of(v)}' for k, v in value.items())}}}"
    return repr(value)


def _nodes(value: Any) -> list[fx.Node]:
    found: list[fx.Node] = []
    map_arg(value, found.append)
    return found


def _flags(a: Any, b: Any, path: tuple = ()) -> list[tuple[tuple, bool]]:
    """Booleans that differ, by path: ("args", ...) or ("kwargs", ...)."""
    if isinstance(a, bool) and isinstance(b, bool):
        return [(path, not a)] if a != b else []
    if isinstance(a, dict):
        return [found for key in a for found in _flags(a[key], b[key], (*path, key))]
    if isinstance(a, (tuple, list)):
        names = ("args", "kwargs") if not path else range(len(a))
        return [found for name, x, y in zip(names, a, b) for found in _flags(x, y, (*path, name))]
    return []


def _has(module: nn.Module, path: str) -> bool:
    try:
        module.get_submodule(path)
    except AttributeError:
        return False
    return True


def _refer(source: nn.Module, target: nn.Module, path: str) -> None:
    """Make an attribute of ``source``, a parameter or a buffer, one of ``target`` as well."""
    *parents, name = path.split(".")
    for parent in parents:
        if not hasattr(target, parent):
            setattr(target, parent, nn.Module())
        source, target = getattr(source, parent), getattr(target, parent)
    value = getattr(source, name)
    if isinstance(value, torch.Tensor) and not isinstance(value, nn.Parameter):
        target.register_buffer(name, value, persistent=name not in source._non_persistent_buffers_set)
    else:
        setattr(target, name, value)
