"""Every spelling of an activation becomes one module, and every place where it is called a site of its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize

from ..errors import TraceError
from .activations import Activation
from .expressions import Found, find
from .finish import finishes
from .functions import KeptFunction
from .inplace import memory_owners, refuse_live_views, writes_in_place
from .modes import drop_unused
from .passes import Pass
from .scopes import scope_of, unique_target
from .tail import tail
from .targets import module_of, path_of
from .unwrap import described, refuse_attached


class Canonicalize(Pass):
    """Give every activation of the graph one form::

        before:  relu = call_module[act](conv1)                after:  act   = call_module[act](conv1)
                 clamp = conv2.clamp(min=0)                            relu  = call_module[relu](conv2)
                 relu_1 = call_module[act](conv3)                      act_1 = call_module[act_1](conv3)
                 relu_ = conv4.relu_(); add = conv4 + act              relu_1 = ...; add = relu_1 + act

    In-place activations become out-of-place; later readers of the overwritten tensor read the site instead. One that
    writes through a view that is read later cannot be rewritten so and is refused. An activation of something that does
    not depend on the input (``F.relu(self.weight)``) is no site and stays what it is.
    """

    def run(self, gm: fx.GraphModule) -> None:
        nodes = list(gm.graph.nodes)
        order = {node: i for i, node in enumerate(nodes)}
        owner = memory_owners(gm)
        matches = _matches(gm)
        taken = {node.target for node in nodes if node.op == "call_module" and node not in matches}
        for node, match in matches.items():
            source = match.source
            if match.inplace:
                refuse_live_views(node, source, owner, order)
            target = self._target(gm, node, match, taken)
            taken.add(target)
            _drop(gm, target)
            gm.add_submodule(target, match.activation)
            match.activation.train(gm.training)
            operands = node.all_input_nodes
            # The node itself becomes the site: it keeps its name, its place and its readers.
            node.op, node.target, node.args, node.kwargs = "call_module", target, (source,), {}
            owner[node] = node
            if match.inplace:
                for user in list(source.users):
                    if order[user] > order[node]:
                        user.replace_input_with(source, node)
            for inner in match.inner:
                gm.graph.erase_node(inner)
            _erase_unused_constants(gm.graph, [n for n in operands if n not in match.inner])
        drop_unused(gm)

    def ensures(self, gm: fx.GraphModule) -> None:
        for node in _matches(gm):
            raise TraceError(f"node '{node.name}' is an activation that was not made a site; please report the model")

    @staticmethod
    def _target(gm: fx.GraphModule, node: fx.Node, match: Found, taken: set[str]) -> str:
        if node.op == "call_module" and not isinstance(module_of(gm, node), KeptFunction):
            return path_of(node) if node.target not in taken else unique_target(gm, path_of(node))
        scope = scope_of(node)
        return unique_target(gm, f"{scope}.{match.activation.kind}" if scope else match.activation.kind)


def site_nodes(gm: fx.GraphModule, kind: type[nn.Module] = Activation) -> list[fx.Node]:
    """The nodes that call a module of this type, in the order in which they run."""
    return [n for n in gm.graph.nodes if n.op == "call_module" and isinstance(gm.get_submodule(n.target), kind)]


def _is_site(gm: fx.GraphModule, node: fx.Node) -> bool:
    # Anything that holds an Activation is a site already: an Activation itself or the hybrid node made from it.
    if node.op != "call_module":
        return False
    return any(isinstance(m, Activation) for m in module_of(gm, node).modules())


def _drop(gm: fx.GraphModule, target: str) -> None:
    parent, _, name = target.rpartition(".")
    try:
        owner = gm.get_submodule(parent)
    except AttributeError:  # a module of the model's own that held nothing but functions
        return
    owner._modules.pop(name, None)


# --- spellings -------------------------------------------------------------------------------------------------------


class _Call:
    """Arguments of a call by position or by name, the input first."""

    def __init__(self, gm: fx.GraphModule, node: fx.Node):
        self.gm, self.args, self.kwargs = gm, node.args, dict(node.kwargs)
        for name in ("input", "self"):
            if name in self.kwargs:
                self.args = (self.kwargs.pop(name), *self.args)

    def get(self, position: int, name: str, default: Any = None) -> Any:
        return self.args[position] if position < len(self.args) else self.kwargs.get(name, default)


def _relu(call: _Call) -> Activation | None:
    return Activation("relu")


def _clamp(call: _Call) -> Activation | None:
    low, high = call.get(1, "min"), call.get(2, "max")
    if _is_number(low, 0) and high is None:
        return Activation("relu", "clamp")
    if _is_number(low, 0) and _is_number(high, 6):
        return Activation("relu6", "clamp")
    return _between(low, high, "clamp")


def _clamp_min(call: _Call) -> Activation | None:
    return Activation("relu", "clamp") if _is_number(call.get(1, "min"), 0) else None


def _maximum(call: _Call) -> Activation | None:
    other = call.get(1, "other")
    return Activation("relu", "maximum") if _is_zero(call.gm, other) else None


def _hardtanh(call: _Call) -> Activation | None:
    return _hardtanh_of(call.get(1, "min_val", -1.0), call.get(2, "max_val", 1.0))


def _hardtanh_of(low: Any, high: Any) -> Activation | None:
    if _is_number(low, 0) and _is_number(high, 6):
        return Activation("relu6", "hardtanh")
    if _is_number(low, 0) and _is_number(high, math.inf):
        return Activation("relu", "hardtanh")
    return _between(low, high, "hardtanh")


def _between(low: Any, high: Any, spelling: str) -> Activation | None:
    finite = all(isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v) for v in (low, high))
    return Activation("hardtanh", spelling, low=low, high=high) if finite and low < high else None


def _elu(call: _Call) -> Activation | None:
    plain = _is_number(call.get(2, "scale", 1.0), 1) and _is_number(call.get(3, "input_scale", 1.0), 1)
    return Activation("elu", alpha=call.get(1, "alpha", 1.0)) if plain else None


def _celu(call: _Call) -> Activation | None:
    return Activation("celu", alpha=call.get(1, "alpha", 1.0))


def _softplus(call: _Call) -> Activation | None:
    return Activation("softplus", beta=call.get(1, "beta", 1.0), threshold=call.get(2, "threshold", 20.0))


def _threshold(call: _Call) -> Activation | None:
    low, value = call.get(1, "threshold"), call.get(2, "value")
    return Activation("relu", "threshold") if _is_number(low, 0) and _is_number(value, 0) else None


def _leaky_relu(call: _Call) -> Activation | None:
    return Activation("leaky_relu", negative_slope=call.get(1, "negative_slope", 0.01))


def _prelu(call: _Call) -> Activation | None:
    weight = call.get(1, "weight")
    if not (isinstance(weight, fx.Node) and weight.op == "get_attr"):
        return None
    return Activation("prelu", weight=_attribute(call.gm, path_of(weight)))


def _gelu(call: _Call) -> Activation | None:
    return Activation("gelu", approximate=call.get(1, "approximate", "none"))


def _plain(kind: str) -> Callable[[_Call], Activation | None]:
    return lambda call: Activation(kind)


_FUNCTION_SPELLINGS: dict[Any, Callable[[_Call], Activation | None]] = {
    **dict.fromkeys((F.relu, F.relu_, torch.relu, torch.relu_), _relu),
    F.relu6: _plain("relu6"),
    **dict.fromkeys((torch.clamp, torch.clamp_, torch.clip, torch.clip_), _clamp),
    **dict.fromkeys((torch.clamp_min, torch.clamp_min_), _clamp_min),
    **dict.fromkeys((torch.maximum, torch.max), _maximum),
    **dict.fromkeys((F.hardtanh, F.hardtanh_), _hardtanh),
    # The stubs of torch.nn.functional lack threshold_.
    **dict.fromkeys((F.threshold, vars(F)["threshold_"], torch.threshold, torch.threshold_), _threshold),
    **dict.fromkeys((F.leaky_relu, F.leaky_relu_), _leaky_relu),
    **dict.fromkeys((F.prelu, torch.prelu), _prelu),
    F.silu: _plain("silu"),
    F.gelu: _gelu,
    F.hardswish: _plain("hardswish"),
    **dict.fromkeys((torch.sigmoid, torch.sigmoid_, F.sigmoid, torch.special.expit), _plain("sigmoid")),
    F.hardsigmoid: _plain("hardsigmoid"),
    **dict.fromkeys((torch.tanh, torch.tanh_, F.tanh), _plain("tanh")),
    **dict.fromkeys((F.elu, F.elu_), _elu),
    **dict.fromkeys((F.celu, F.celu_, torch.celu, torch.celu_), _celu),
    **dict.fromkeys((F.selu, F.selu_, torch.selu, torch.selu_), _plain("selu")),
    F.mish: _plain("mish"),
    F.softplus: _softplus,
}

_METHOD_SPELLINGS: dict[str, Callable[[_Call], Activation | None]] = {
    **dict.fromkeys(("relu", "relu_"), _relu),
    **dict.fromkeys(("clamp", "clamp_", "clip", "clip_"), _clamp),
    **dict.fromkeys(("clamp_min", "clamp_min_"), _clamp_min),
    **dict.fromkeys(("maximum", "max"), _maximum),
    "prelu": _prelu,
    **dict.fromkeys(("sigmoid", "sigmoid_"), _plain("sigmoid")),
    **dict.fromkeys(("tanh", "tanh_"), _plain("tanh")),
}

_MODULE_SPELLINGS: dict[type[nn.Module], Callable[[Any], Activation | None]] = {
    nn.ReLU: lambda m: Activation("relu"),
    nn.ReLU6: lambda m: Activation("relu6"),
    nn.Hardtanh: lambda m: _hardtanh_of(m.min_val, m.max_val),
    nn.Threshold: lambda m: Activation("relu", "threshold") if (m.threshold, m.value) == (0, 0) else None,
    nn.LeakyReLU: lambda m: Activation("leaky_relu", negative_slope=m.negative_slope),
    nn.PReLU: lambda m: Activation("prelu", weight=m.weight),
    nn.SiLU: lambda m: Activation("silu"),
    nn.GELU: lambda m: Activation("gelu", approximate=m.approximate),
    nn.Hardswish: lambda m: Activation("hardswish"),
    nn.Sigmoid: lambda m: Activation("sigmoid"),
    nn.Hardsigmoid: lambda m: Activation("hardsigmoid"),
    nn.Tanh: lambda m: Activation("tanh"),
    nn.ELU: lambda m: Activation("elu", alpha=m.alpha),
    nn.CELU: lambda m: Activation("celu", alpha=m.alpha),
    nn.SELU: lambda m: Activation("selu"),
    nn.Mish: lambda m: Activation("mish"),
    nn.Softplus: lambda m: Activation("softplus", beta=m.beta, threshold=m.threshold),
}


def _matches(gm: fx.GraphModule) -> dict[fx.Node, Found]:
    """The activations that are to become sites, in the order in which they run."""
    matches: dict[fx.Node, Found] = {}
    depends: set[fx.Node] = set()  # on the input
    for node in gm.graph.nodes:
        if node.op == "placeholder" or not depends.isdisjoint(node.all_input_nodes):
            depends.add(node)
    free = {node for node in depends if not _is_site(gm, node)} - {*finishes(gm)}
    plain = {node: match for node in free if (match := _match(gm, node))}
    ends = free - {*plain}
    found = find(gm, ends, depends)
    inner = {node for expression in found.values() for node in expression.inner}
    last = tail(gm, {*found, *inner})
    for node in gm.graph.nodes:
        if node in found:
            matches[node] = found[node]
        elif node in plain and node not in inner and node not in last:
            matches[node] = plain[node]
    return matches


def is_activation(gm: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a node is one of the spellings that become sites (expressions aside)."""
    return _match(gm, node) is not None


def _match(gm: fx.GraphModule, node: fx.Node) -> Found | None:
    if node.op == "call_module":
        module = module_of(gm, node)
        spelling = _MODULE_SPELLINGS.get(parametrize.type_before_parametrizations(module))
        activation = spelling(module) if spelling else None
        if activation is not None:
            _refuse_more_than_an_activation(module, path_of(node))
        call = _Call(gm, node)
    elif node.op in ("call_function", "call_method"):
        named: Any = node.target
        spelling = (_FUNCTION_SPELLINGS if node.op == "call_function" else _METHOD_SPELLINGS).get(named)
        call = _Call(gm, node)
        activation = spelling(call) if spelling else None
    else:
        return None
    if activation is None or not isinstance(call.get(0, "x"), fx.Node):
        return None
    return Found(activation, writes_in_place(gm, node), call.get(0, "x"))


def _refuse_more_than_an_activation(module: nn.Module, name: str) -> None:
    refuse_attached(module, name)
    if parametrize.is_parametrized(module):
        raise TraceError(
            f"the activation {described(module, name)} has a parametrization; take it off with "
            "torch.nn.utils.parametrize.remove_parametrizations"
        )


def _is_number(value: Any, number: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == number


def _attribute(gm: fx.GraphModule, target: str) -> Any:
    value: Any = gm
    for part in target.split("."):
        value = getattr(value, part)
    return value


def _is_zero(gm: fx.GraphModule, value: Any) -> bool:
    """A tensor that is zero and cannot enlarge what it is compared with."""
    if not isinstance(value, fx.Node):
        return False
    if value.op == "get_attr":
        tensor = _attribute(gm, path_of(value))
        if not isinstance(tensor, Tensor) or isinstance(tensor, nn.Parameter) or tensor.numel() != 1:
            return False
        promotes = tensor.dim() > 0 and tensor.dtype != torch.get_default_dtype()
        return tensor.dim() <= 1 and not promotes and tensor.item() == 0
    if value.target in (torch.zeros_like,):
        return True
    if value.target == "new_zeros":
        return value.args[1:] in (((),), ([],), (1,), ((1,),), ([1],))
    if value.target is torch.full_like:
        return _is_number(value.args[1] if len(value.args) > 1 else value.kwargs.get("fill_value"), 0)
    return False


def _erase_unused_constants(graph: fx.Graph, nodes: list[fx.Node]) -> None:
    # Only what an erased activation alone was reading: the zeros of maximum(x, 0), the weight of F.prelu.
    makers = {torch.zeros_like, torch.full_like, "new_zeros"}
    for node in nodes:
        if not node.users and (node.op == "get_attr" or node.target in makers):
            graph.erase_node(node)
