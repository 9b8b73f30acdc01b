"""What each operation becomes in a graph whose batch is in front (batch_first.py).

A rule gets a node and gives its value with the batch in front; None: it has none, and what the model does stays.
"""

from __future__ import annotations

import copy
import math
import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from ...graph.scopes import unique_target
from ...graph.targets import module_of, path_of
from ...hybrid.activation import HybridActivation
from .rewriting import Layout, Rewriting

Rule = Callable[[Rewriting, fx.Node], fx.Node | None]


def rule_of(gm: fx.GraphModule, node: fx.Node) -> Rule | None:
    if node.op == "call_module":
        return _MODULES.get(type(module_of(gm, node)))
    if node.op == "call_method":
        return _NAMES.get(str(node.target))
    if node.op == "call_function" and (getattr(node.target, "__module__", None) or "torch").split(".")[0] in _TORCH:
        return _NAMES.get(getattr(node.target, "__name__", ""))
    return None


_TORCH = ("torch", "_operator")


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
NEEDS_IT_IN_FRONT = {_alone, _together, _matrices, _reshaped, _softmax_module, _LINEAR, _NORM, _ALONG_ONE}
