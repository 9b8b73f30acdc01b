"""The graph of a model as a networkx graph."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from torch import fx, nn

from ..graph.targets import module_of, path_of
from .measure import SiteRecord

if TYPE_CHECKING:
    import networkx as nx

_SHORT = {
    "adaptive_avg_pool2d": "global avg pool", "add": "+", "iadd": "+", "cat": "concat", "concat": "concat",
    "mul": "×", "imul": "×", "sub": "−", "isub": "−", "truediv": "÷", "batch_norm": "bn",
}  # fmt: skip


def to_networkx(gm: fx.GraphModule, records: list[SiteRecord], shapes: dict) -> nx.DiGraph:
    """One node for each fx node (by its name, in run order) and one edge for each pair of nodes that a tensor joins.

    Node attributes: ``op``, ``target`` (text), ``label`` (a few words), ``shape`` (of one sample; None where unknown),
    ``parameters`` (of the module that the node calls, or the parameter that it reads; one that several nodes share
    counts at each). A site has ``site``, ``kind``, ``kept``, ``lines`` and ``total`` too. Edge attribute: ``shape``.
    """
    import networkx as nx  # slow, and a party has no graph to show

    sites = {record.name: record for record in records}
    graph = nx.DiGraph()
    for node in gm.graph.nodes:
        record = sites.get(node.target) if node.op == "call_module" else None
        graph.add_node(
            node.name,
            op=node.op,
            target=_target(node),
            label=record.kind if record else _label(gm, node),
            shape=record.shape if record else shapes.get(node.name),
            parameters=_parameters(gm, node),
        )
        if record:
            graph.nodes[node.name].update(site=record.name, kind=record.kind, kept=record.kept, lines=record.lines,
                                          total=record.total)  # fmt: skip
    for node in gm.graph.nodes:
        for source in node.all_input_nodes:
            graph.add_edge(source.name, node.name, shape=graph.nodes[source.name]["shape"])
    return graph


def plain(graph: nx.DiGraph) -> nx.DiGraph:
    """A copy for other tools: attributes are text, int, float or bool, and those that are unknown are left out.

    A shape is text, "16x28x28", and "scalar" for one number a sample.
    """
    result = graph.__class__()
    for node, attributes in graph.nodes.items():
        result.add_node(node, **_plain(attributes))
    for (source, reader), attributes in graph.edges.items():
        result.add_edge(source, reader, **_plain(attributes))
    return result


def _plain(attributes: dict) -> dict[str, str | int | float | bool]:
    found: dict[str, str | int | float | bool] = {}
    for name, value in attributes.items():
        if isinstance(value, tuple):
            found[name] = "x".join(map(str, value)) or "scalar"
        elif value is not None and not (isinstance(value, float) and not math.isfinite(value)):
            found[name] = value
    return found


def _target(node: fx.Node) -> str:
    if isinstance(node.target, str):
        return node.target
    name = getattr(node.target, "__name__", None) or str(node.target)
    module = (getattr(node.target, "__module__", None) or "").lstrip("_")
    return f"{module}.{name}" if module else name


def _parameters(gm: fx.GraphModule, node: fx.Node) -> int:
    if node.op == "call_module":
        return sum(p.numel() for p in module_of(gm, node).parameters())
    if node.op == "get_attr":
        value: Any = gm
        for part in path_of(node).split("."):
            value = getattr(value, part)
        return value.numel() if isinstance(value, nn.Parameter) else 0
    return 0


def _label(gm: fx.GraphModule, node: fx.Node) -> str:
    if node.op == "placeholder":
        return "input" if node.name in ("x", "input") else node.name
    if node.op == "output":
        return "output"
    if node.op == "get_attr":
        return path_of(node).rpartition(".")[2]
    if node.op == "call_module":
        return _module_label(module_of(gm, node))
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
    name = name.strip("_")
    return _SHORT.get(name, name.replace("_", " "))


def _module_label(module: nn.Module) -> str:
    if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        kernel = "×".join(map(str, module.kernel_size))
        depthwise = module.groups > 1 and module.groups == module.in_channels
        kind = "depthwise" if depthwise else "conv" if module.groups == 1 else f"conv/{module.groups} groups"
        stride = "" if set(module.stride) == {1} else f" ↓{'×'.join(map(str, dict.fromkeys(module.stride)))}"
        return f"{kind} {kernel}, {module.out_channels}{stride}"
    if isinstance(module, nn.Linear):
        return f"linear {module.in_features} → {module.out_features}"
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return "bn"
    if isinstance(module, (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)):
        size = module.output_size if isinstance(module.output_size, tuple) else (module.output_size,)
        return "global avg pool" if set(size) == {1} else f"avg pool to {'×'.join(map(str, size))}"
    if isinstance(module, (nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d)):
        sides = module.kernel_size if isinstance(module.kernel_size, tuple) else (module.kernel_size,) * 2
        kind = "max" if isinstance(module, (nn.MaxPool1d, nn.MaxPool2d)) else "avg"
        return f"{kind} pool {'×'.join(map(str, sides))}"
    return type(module).__name__.lower() if type(module).__module__.startswith("torch.nn") else type(module).__name__
