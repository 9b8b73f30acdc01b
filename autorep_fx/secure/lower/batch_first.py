"""Graphs that fold an axis into that of the batch, or move it: attention in windows, layers over (T, N, C).

    before:  view = x.view(-1, 7, 7, 96)                  after:  view = x.reshape(-1, 64, 7, 7, 96)
             qkv = call_module[qkv](view)                         qkv = call_module[qkv](view)
             mean = qkv.mean(1)                                   mean = qkv.mean(2)

In what two parties compute the batch is in front, by itself. So a value of which axis ``axis`` has ``count`` rows of
each sample, those of one sample together, becomes one whose axis 0 is the batch and whose axis ``axis + 1`` are the
rows. Shapes are those of the example. What has no rule here stays as it is, and is refused by its own lowering.
"""

from __future__ import annotations

import copy
import math
import operator
from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from ...graph.scopes import unique_target
from ...graph.targets import module_of, path_of
from ...hybrid.activation import HybridActivation
from ...text import brief


@dataclass(frozen=True)
class Layout:
    """Where the batch is in a value of the model, and how many rows there each sample has."""

    axis: int
    count: int

    __repr__ = brief

    @property
    def plain(self) -> bool:
        return self.axis == 0 and self.count == 1

    def dim(self, old: int, axes: int) -> int | None:
        """The axis that has become of one of the model's value with so many axes; None of the batch's."""
        old %= axes
        if old == self.axis:
            return None
        return old + 1 if old < self.axis else old + (self.count > 1)

    def split(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape that has become of this one, with -1 for the batch."""
        rows = (self.count,) if self.count > 1 else ()
        return (-1, *shape[: self.axis], *rows, *shape[self.axis + 1 :])


def layout_of(small: Any, large: Any) -> Layout | None:
    """By the values for batches of 2 and of 3."""
    if not isinstance(small, Tensor) or not isinstance(large, Tensor) or small.dim() != large.dim():
        return None
    differ = [axis for axis, sizes in enumerate(zip(small.shape, large.shape)) if sizes[0] != sizes[1]]
    if len(differ) != 1:
        return None
    two, three = small.shape[differ[0]], large.shape[differ[0]]
    return Layout(differ[0], two // 2) if two % 2 == 0 and three * 2 == two * 3 else None


def with_batch_first(
    gm: fx.GraphModule, small: dict[fx.Node, Any], large: dict[fx.Node, Any], private: Container[fx.Node]
) -> fx.GraphModule | None:
    """The graph with its batch in front; None where it is there already, wherever an operation asks for it.

    Args:
        gm: a graph that the caller owns; it gets constants.
        small, large: the values of its nodes for a batch of 2 and for one of 3.
        private: the nodes that depend on the input.
    """
    moved = False
    for node in gm.graph.nodes:
        layout = layout_of(small.get(node), large.get(node)) if node in private else None
        moved |= layout is not None and (layout.count > 1 or layout.axis > 0 and _rule(gm, node) in _NEEDS_IT_IN_FRONT)
    if not moved:
        return None
    rewriting = Rewriting(gm, small, large, private)
    return fx.GraphModule(gm, rewriting.run(), gm.__class__.__name__)


class Rewriting:
    """One graph, on its way into another."""

    def __init__(self, gm: fx.GraphModule, small: dict[fx.Node, Any], large: dict[fx.Node, Any],
                 private: Container[fx.Node]):  # fmt: skip
        self.gm, self.small, self.large, self.private = gm, small, large, private
        self.graph = fx.Graph()
        self.input = next(n for n in gm.graph.nodes if n.op == "placeholder" and n in private)
        self.same: dict[fx.Node, Any] = {}  # with the value that the model has there; of a size the number
        self.split: dict[fx.Node, fx.Node] = {}  # with the batch in front
        self.samples: fx.Node | None = None  # how many
        self.parted: set[fx.Node] = set()  # gives several values, all with the batch in front

    def run(self) -> fx.Graph:
        for node in self.gm.graph.nodes:
            size = None if node.op == "placeholder" else self.size(self.small.get(node), self.large.get(node))
            if size is not None:
                self.same[node] = size
                continue
            if node.target in _NEW and node.args and node.args[0] in self.split:
                self.same[node] = self.again(node, (self.input, *node.args[1:]))
                continue
            layouts = [self.layout(n) for n in [node, *node.all_input_nodes] if n in self.private]
            changes = any(layout is None or not layout.plain for layout in layouts) and node.op != "output"
            rule = _rule(self.gm, node) if node in self.private and changes else None
            made = rule(self, node) if rule is not None else None
            if made is None:
                self.same[node] = self.graph.node_copy(node, self.as_it_is)
            else:
                made.meta = {**node.meta}
                self.split[node] = made
        return self.graph

    def size(self, small: Any, large: Any) -> Any:
        """A size, which may be taken from what is split now: the number, or that of samples times one."""
        if not isinstance(small, int) or isinstance(small, bool):
            return None
        if small == large:
            return small
        if small % 2 or 3 * small != 2 * large:
            return None
        if self.samples is None:
            self.samples = self.graph.create_node("call_method", "size", (self.same[self.input], 0), {}, "samples")
        return self.samples if small == 2 else self.call(operator.mul, (self.samples, small // 2), "samples")

    # --- for rules ---------------------------------------------------------------------------------------------------

    def layout(self, node: fx.Node) -> Layout | None:
        return layout_of(self.small.get(node), self.large.get(node))

    def shape(self, node: fx.Node) -> tuple[int, ...]:
        return tuple(self.small[node].shape)

    def as_it_is(self, node: fx.Node) -> Any:
        """What gives the value that the model has at a node."""
        if node not in self.same:
            x, layout, shape = self.split[node], self.layout(node), self.shape(node)
            if layout is not None and layout.axis:
                order = [*range(1, layout.axis + 1), 0, *range(layout.axis + 1, len(layout.split(shape)))]
                x = self.call(torch.permute, (x, tuple(order)), node.name)
            if layout is not None and layout.count > 1:
                x = self.call(torch.reshape, (x, (*shape[: layout.axis], -1, *shape[layout.axis + 1 :])), node.name)
            self.same[node] = x
        return self.same[node]

    def in_front(self, node: fx.Node) -> fx.Node | None:
        """What gives it with the batch in front; None: a sample has no place of its own in it."""
        if node in self.split:
            return self.split[node]
        layout, shape = self.layout(node), self.shape(node) if isinstance(self.small[node], Tensor) else ()
        if layout is None or layout.count > 1:
            return None
        x = self.same[node]
        if layout.axis:
            order = (layout.axis, *(axis for axis in range(len(shape)) if axis != layout.axis))
            x = self.split[node] = self.call(torch.permute, (x, order), node.name)
        return x

    def constant(self, node: fx.Node, layout: Layout, axes: int) -> fx.Node | None:
        """A constant that goes with a value of ``axes`` axes; None: each sample has one of its own."""
        value = self.small[node]
        if not isinstance(value, Tensor) or value.numel() == 1 or value.dim() < axes - layout.axis:
            return self.same[node]
        value = value.detach().reshape((*(1,) * (axes - value.dim()), *value.shape))
        size = value.shape[layout.axis]
        if size == 1:
            value = value.unsqueeze(layout.axis + 1)
        elif size == 2 * layout.count:
            value = value.unflatten(layout.axis, (2, layout.count))
            one = value.narrow(layout.axis, 0, 1)
            many = self.large[node].detach().reshape(value.shape[: layout.axis] + (3, *value.shape[layout.axis + 1 :]))
            if not (value == one).all() or not (many == one).all():
                return None
            value = one
        else:
            return None
        if layout.count == 1:
            value = value.squeeze(layout.axis + 1)
        return self.held(value.movedim(layout.axis, 0).contiguous())

    def held(self, value: Tensor) -> fx.Node:
        name = unique_target(self.gm, "held")
        self.gm.register_buffer(name, value.detach().clone())
        return self.graph.get_attr(name)

    def call(self, function: Callable, args: tuple, name: str, **kwargs: Any) -> fx.Node:
        return self.graph.create_node("call_function", function, args, kwargs, name)

    def again(self, node: fx.Node, args: tuple, kwargs: dict | None = None) -> fx.Node:
        """The same operation on other arguments, of the new graph or of the old one."""

        def same(value: fx.Node) -> fx.Node:
            return value if value.graph is self.graph else self.as_it_is(value)

        args, kwargs = fx.node.map_arg((args, dict(node.kwargs) if kwargs is None else kwargs), same)
        return self.graph.create_node(node.op, node.target, args, kwargs, node.name)

    def operand(self, value: Any, layout: Layout, axes: int) -> Any:
        """An argument that goes with a value of this layout, element by element or from behind."""
        if not isinstance(value, fx.Node) or not isinstance(self.small[value], Tensor):
            return value
        if value not in self.private:
            return self.constant(value, layout, axes)
        own = self.layout(value)
        return self.in_front(value) if own == layout and self.small[value].dim() == axes else None


Rule = Callable[[Rewriting, fx.Node], fx.Node | None]


def _rule(gm: fx.GraphModule, node: fx.Node) -> Rule | None:
    if node.op == "call_module":
        return _MODULES.get(type(module_of(gm, node)))
    if node.op == "call_method":
        return _NAMES.get(str(node.target))
    if node.op == "call_function" and (getattr(node.target, "__module__", None) or "torch").split(".")[0] in _TORCH:
        return _NAMES.get(getattr(node.target, "__name__", ""))
    return None


_TORCH = ("torch", "_operator")

#: What takes the type of a tensor, and its shape from elsewhere.
_NEW = ("new_zeros", "new_ones", "new_full", "new_tensor")


def _first(node: fx.Node) -> Any:
    return node.args[0] if node.args else node.kwargs.get("input")


def _rest(node: fx.Node) -> dict:
    return {key: value for key, value in node.kwargs.items() if node.args or key != "input"}


def _alone(r: Rewriting, node: fx.Node) -> fx.Node | None:
    """Element by element."""
    x = r.in_front(_first(node))
    return None if x is None else r.again(node, (x, *node.args[1:]), _rest(node))


def _last_axes(count: Callable[[Rewriting, fx.Node], int]) -> Rule:
    """Along the last axes, which the batch is none of."""

    def rule(r: Rewriting, node: fx.Node) -> fx.Node | None:
        layout, axes = r.layout(_first(node)), r.small[_first(node)].dim()
        return _alone(r, node) if layout is not None and layout.axis < axes - count(r, node) else None

    return rule


def _normalized(r: Rewriting, node: fx.Node) -> int:
    if node.op == "call_module":
        return len(module_of(r.gm, node).normalized_shape)
    return len(node.args[1] if len(node.args) > 1 else node.kwargs["normalized_shape"])


def _together(r: Rewriting, node: fx.Node) -> fx.Node | None:
    """Of several, element by element or from behind."""
    layout, axes = r.layout(node), r.small[node].dim()
    if layout is None:
        return None
    args = tuple(r.operand(each, layout, axes) for each in node.args)
    kwargs = {key: r.operand(each, layout, axes) for key, each in node.kwargs.items()}
    if any(new is None and old is not None for new, old in zip((*args, *kwargs.values()),
                                                              (*node.args, *node.kwargs.values()))):  # fmt: skip
        return None
    return r.again(node, args, kwargs)


def _matrices(r: Rewriting, node: fx.Node) -> fx.Node | None:
    """Products along the last two axes."""
    layout = r.layout(node)
    if layout is None or layout.axis >= r.small[node].dim() - 2:
        return None
    made = _together(r, node)
    if made is not None and getattr(node.target, "__name__", node.target) == "bmm":
        made.op, made.target = "call_function", torch.matmul
    return made


def _padded_axes(r: Rewriting, node: fx.Node) -> int:
    return len(node.args[1] if len(node.args) > 1 else node.kwargs["pad"]) // 2


def _along(position: int, *names: str) -> Rule:
    """Along axes that an argument names."""

    def rule(r: Rewriting, node: fx.Node) -> fx.Node | None:
        x, source = r.in_front(_first(node)), _first(node)
        layout, axes = r.layout(source), r.small[source].dim()
        name = next((name for name in names if name in node.kwargs), None)
        given = node.kwargs[name] if name else node.args[position] if len(node.args) > position else None
        if x is None or layout is None or given is None or isinstance(given, bool):
            return None
        new = [layout.dim(each, axes) for each in (given if isinstance(given, (tuple, list)) else (given,))]
        if None in new:
            return None
        dims = new if isinstance(given, (tuple, list)) else new[0]
        if name:
            return r.again(node, (x, *node.args[1:]), {**_rest(node), name: dims})
        return r.again(node, (x, *node.args[1:position], dims, *node.args[position + 1 :]), _rest(node))

    return rule


def _parts(position: int) -> Rule:
    def rule(r: Rewriting, node: fx.Node) -> fx.Node | None:
        if not any(name == "dim" for name in node.kwargs) and len(node.args) <= position:
            return None  # along axis 0
        made = _along(position, "dim")(r, node)
        if made is not None:
            r.parted.add(node)
        return made

    return rule


def _softmax_module(r: Rewriting, node: fx.Node) -> fx.Node | None:
    source, dim = _first(node), module_of(r.gm, node).dim
    x, layout = r.in_front(source), r.layout(source)
    new = None if dim is None or layout is None else layout.dim(dim, r.small[source].dim())
    return None if x is None or new is None else r.call(torch.softmax, (x, new), node.name)


def _reshaped(r: Rewriting, node: fx.Node) -> fx.Node | None:
    """Of a sample alone, where the same elements are before the batch as were."""
    source = _first(node)
    before, after, x = r.layout(source), r.layout(node), r.in_front(source)
    if before is None or after is None or x is None:
        return None
    shape, wanted = r.shape(source), r.shape(node)
    if math.prod(shape[: before.axis]) != math.prod(wanted[: after.axis]):
        return None
    return r.call(torch.reshape, (x, after.split(wanted)), node.name)


def _permuted(r: Rewriting, node: fx.Node) -> fx.Node | None:
    source = _first(node)
    before, after, x = r.layout(source), r.layout(node), r.in_front(source)
    if before is None or after is None or x is None:
        return None
    axes: int = r.small[source].dim()
    order: Any = getattr(torch.Tensor, node.target) if node.op == "call_method" else node.target
    moved = order(torch.empty([*range(axes)], device="meta"), *node.args[1:], **_rest(node)).shape  # sizes name axes
    taken: list[int] = [0]
    for dim in moved:
        new = before.dim(dim, axes)
        taken += [new] if new is not None else [before.axis + 1] if before.count > 1 else []
    return x if taken == sorted(taken) else r.call(torch.permute, (x, tuple(taken)), node.name)


def _expanded(r: Rewriting, node: fx.Node) -> fx.Node | None:
    source = _first(node)
    x, layout = r.in_front(source), r.layout(node)
    if x is None or layout is None or r.layout(source) != layout or r.small[source].dim() != r.small[node].dim():
        return None
    return r.graph.create_node("call_method", "expand", (x, *layout.split(r.shape(node))), {}, node.name)


def _repeated(r: Rewriting, node: fx.Node) -> fx.Node | None:
    """Each sample so many times: these are its rows."""
    source = _first(node)
    x, after = r.in_front(source), r.layout(node)
    if x is None or after is None or after.axis or r.layout(source) != Layout(0, 1):
        return None
    x = r.call(torch.unsqueeze, (x, 1), f"{node.name}_once")
    return r.graph.create_node("call_method", "expand", (x, *after.split(r.shape(node))), {}, node.name)


def _joined(r: Rewriting, node: fx.Node) -> fx.Node | None:
    parts = node.args[0] if node.args else node.kwargs["tensors"]
    dim = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
    if not isinstance(parts, (tuple, list)):
        return None
    layout = next(r.layout(part) for part in parts if part in r.private)
    axes = r.small[parts[0]].dim()
    new = None if layout is None else layout.dim(dim, axes)
    found = [] if layout is None else [r.operand(part, layout, axes) for part in parts]
    if layout is None or new is None or any(part is None for part in found):
        return None
    first = found[next(i for i, part in enumerate(parts) if part in r.private)]
    size = r.graph.create_node("call_method", "size", (first, 0), {}, f"{node.name}_size")
    rows = [
        made if part in r.private else r.graph.create_node("call_method", "expand", (made, size, *(-1,) * (
            len(layout.split(r.shape(part))) - 1)), {}, f"{node.name}_rows")
        for part, made in zip(parts, found)
    ]  # fmt: skip
    return r.call(torch.cat, (rows, new), node.name)


def _taken(r: Rewriting, node: fx.Node) -> fx.Node | None:
    source, index = node.args
    if source in r.parted:
        r.parted |= {node} if isinstance(index, slice) else set()
        return r.again(node, (r.split[source], index))
    if not isinstance(r.small[source], Tensor):
        return None
    x, layout, given = r.in_front(source), r.layout(source), index if isinstance(index, tuple) else (index,)
    taken: Any = fx.node.map_arg(given, lambda n: r.same.get(n, n))
    nodes: list[fx.Node] = []
    fx.node.map_arg(taken, nodes.append)
    if x is None or layout is None or nodes or any(isinstance(each, (list, tuple)) for each in taken):
        return None
    axes = r.small[source].dim() - sum(each is not None and each is not Ellipsis for each in taken)
    if Ellipsis not in taken:
        taken = (*taken, Ellipsis)
    whole = [each for i in taken for each in ([slice(None)] * axes if i is Ellipsis else [i])]
    at = [i for i, each in enumerate(whole) if each is not None][layout.axis]
    if whole[at] != slice(None):
        return None
    rows = [slice(None)] if layout.count > 1 else []
    return r.call(operator.getitem, (x, (slice(None), *whole[:at], *rows, *whole[at + 1 :])), node.name)


def _summed(r: Rewriting, node: fx.Node) -> fx.Node | None:
    """einsum, with a letter more."""
    equation, *operands = node.args
    operands = list(operands[0]) if len(operands) == 1 and isinstance(operands[0], (tuple, list)) else operands
    parts, arrow, result = str(equation).replace(" ", "").partition("->")
    after = r.layout(node)
    if not arrow or "." in parts or after is None:
        return None
    free = next(letter for letter in "zyxwvutsrqponmlkjihgfedcbaZYXWVU" if letter not in parts)
    batch = result[after.axis]

    def letters(own: str, layout: Layout) -> str:
        return batch + own[: layout.axis] + (free if layout.count > 1 else "") + own[layout.axis + 1 :]

    texts, given = [], []
    for own, operand in zip(parts.split(","), operands):
        if operand not in r.private:
            if batch in own:
                return None
            texts.append(own)
            given.append(r.as_it_is(operand))
            continue
        layout, made = r.layout(operand), r.in_front(operand)
        if layout is None or made is None or own[layout.axis] != batch or layout.count != after.count:
            return None
        texts.append(letters(own, layout))
        given.append(made)
    return r.call(torch.einsum, (f"{','.join(texts)}->{letters(result, after)}", *given), node.name)


def _site(r: Rewriting, node: fx.Node) -> fx.Node | None:
    """All rows of a sample are masked alike: they are positions behind the channels of the site."""
    source = _first(node)
    x, layout, site = r.in_front(source), r.layout(source), module_of(r.gm, node)
    if x is None or layout is None or layout.axis or site.shape is None:
        return None
    wide, target = copy.deepcopy(site), unique_target(r.gm, path_of(node))
    wide.keep = site.keep.unsqueeze(1).repeat_interleave(layout.count, 1)
    wide.line = None if site.line is None else site.line.unsqueeze(1).repeat_interleave(layout.count, 1)
    wide.set_keep(wide.keep)
    r.gm.add_submodule(target, wide)
    dims = (0, 2, 1, *range(3, len(wide.shape) + 1))
    x = r.call(torch.permute, (x, dims), f"{node.name}_channels")
    y = r.graph.create_node("call_module", target, (x,), {}, node.name)
    return r.call(torch.permute, (y, dims), f"{node.name}_rows")


def _by_channel(r: Rewriting, node: fx.Node) -> fx.Node | None:
    """Each channel by itself: rows are channels."""
    source = _first(node)
    x, layout, after = r.in_front(source), r.layout(source), r.layout(node)
    if x is None or layout is None or layout.axis or after != layout or r.small[source].dim() < 3:
        return None
    _, channels, *rest = r.shape(source)
    x = r.call(torch.reshape, (x, (-1, layout.count * channels, *rest)), f"{node.name}_channels")
    y = r.again(node, (x, *node.args[1:]), _rest(node))
    return r.call(torch.reshape, (y, after.split(r.shape(node))), f"{node.name}_rows")


def _batch_norm(r: Rewriting, node: fx.Node) -> fx.Node | None:
    source, norm = _first(node), module_of(r.gm, node)
    x, layout = r.in_front(source), r.layout(source)
    if x is None or layout is None or layout.axis or norm.running_var is None:
        return None
    axes = len(layout.split(r.shape(source)))
    dims = (0, 2, 1, *range(3, axes))
    x = r.call(torch.permute, (x, dims), f"{node.name}_channels")
    own = [None if each is None else r.held(each) for each in
           (norm.running_mean, norm.running_var, norm.weight, norm.bias)]  # fmt: skip
    y = r.call(F.batch_norm, (x, *own, False, 0.0, norm.eps), f"{node.name}_norm")
    return r.call(torch.permute, (y, dims), node.name)


def _convolution(r: Rewriting, node: fx.Node) -> fx.Node | None:
    """Rows are an axis that the kernel has one element of."""
    source, conv = _first(node), module_of(r.gm, node)
    options: Any = conv
    x, layout = r.in_front(source), r.layout(source)
    if x is None or layout is None or layout.axis or isinstance(conv.padding, str) or conv.padding_mode != "zeros":
        return None
    dims = (0, 2, 1, 3, 4)
    x = r.call(torch.permute, (x, dims), f"{node.name}_channels")
    bias = None if conv.bias is None else r.held(conv.bias)
    y = r.call(F.conv3d, (x, r.held(conv.weight.unsqueeze(2)), bias), f"{node.name}_conv", stride=(1, *options.stride),
               padding=(0, *options.padding), dilation=(1, *options.dilation), groups=options.groups)  # fmt: skip
    return r.call(torch.permute, (y, dims), node.name)


def _one_axis(r: Rewriting, node: fx.Node) -> int:
    return 1


_LINEAR, _NORM, _ALONG_ONE = _last_axes(_one_axis), _last_axes(_normalized), _along(1, "dim", "axis")

_MODULES: dict[type, Rule] = {
    HybridActivation: _site,
    **dict.fromkeys((nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout), _alone),
    nn.Linear: _LINEAR,
    **dict.fromkeys((nn.LayerNorm, nn.RMSNorm), _NORM),
    nn.Softmax: _softmax_module,
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.SyncBatchNorm), _batch_norm),
    nn.Conv2d: _convolution,
    **dict.fromkeys((nn.AvgPool2d, nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.ZeroPad2d), _by_channel),
    **dict.fromkeys((nn.Flatten, nn.Unflatten), _reshaped),
}

_NAMES: dict[str, Rule] = {
    **dict.fromkeys(("neg", "negative", "sqrt", "rsqrt", "reciprocal", "square", "pow", "abs", "contiguous", "clone",
                     "float", "to", "type_as", "dropout", "detach", "exp"), _alone),
    **dict.fromkeys(("add", "iadd", "add_", "sub", "isub", "sub_", "mul", "imul", "mul_", "multiply", "div", "div_",
                     "truediv", "itruediv", "true_divide", "divide", "maximum", "minimum", "masked_fill",
                     "masked_fill_", "where"), _together),
    **dict.fromkeys(("matmul", "bmm", "__matmul__", "scaled_dot_product_attention"), _matrices),
    "linear": _LINEAR,
    **dict.fromkeys(("layer_norm", "rms_norm"), _NORM),
    "pad": _last_axes(_padded_axes),
    **dict.fromkeys(("softmax", "sum", "mean", "amax", "amin", "var", "std"), _ALONG_ONE),
    "normalize": _along(2, "dim"),
    **dict.fromkeys(("roll", "narrow", "norm"), _along(2, "dims", "dim")),
    "flip": _along(1, "dims"),
    **dict.fromkeys(("chunk", "split", "tensor_split"), _parts(2)),
    "unbind": _parts(1),
    **dict.fromkeys(("view", "reshape", "flatten", "unflatten", "view_as", "reshape_as", "squeeze", "unsqueeze"),
                    _reshaped),
    **dict.fromkeys(("permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "t"), _permuted),
    **dict.fromkeys(("expand", "expand_as"), _expanded),
    "repeat_interleave": _repeated,
    **dict.fromkeys(("cat", "concat", "concatenate"), _joined),
    "getitem": _taken,
    "einsum": _summed,
    **dict.fromkeys(("avg_pool2d", "max_pool2d", "adaptive_avg_pool2d"), _by_channel),
}  # fmt: skip

#: Rules of operations whose lowering takes axis 0 as that of the batch.
_NEEDS_IT_IN_FRONT = {_alone, _together, _matrices, _reshaped, _softmax_module, _LINEAR, _NORM, _ALONG_ONE}
