"""What the sites put out, beside what the model returns: a student can be held to its teacher site by site."""

from __future__ import annotations

from torch import Tensor, fx, nn

from ..graph.canonicalize import site_nodes
from ..hybrid.activation import HybridActivation, sites
from ..transform import transform


def with_features(gm: fx.GraphModule) -> fx.GraphModule:
    """The same modules, another graph: returns ``(output, [output of every site, in order])``."""
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    output = graph.graph_copy(gm.graph, copies)
    graph.output((output, [copies[node] for node in site_nodes(gm, HybridActivation)]))
    return fx.GraphModule(gm, graph)


def teacher_with_features(teacher: nn.Module, student: fx.GraphModule) -> fx.GraphModule:
    """A teacher that returns the same list as ``with_features(student)``.

    Raises:
        ValueError: its activations are not those of the student; names the first that differs.
    """
    gm = teacher if isinstance(teacher, fx.GraphModule) and sites(teacher) else transform(teacher)
    theirs, mine = list(sites(gm)), list(sites(student))
    if theirs != mine:
        only = sorted(set(mine) ^ set(theirs)) or mine
        raise ValueError(
            f"feature_weight needs a teacher with the same activations as gm, and '{only[0]}' is not at the same place "
            "in both; give the model that gm was made from, or feature_weight=0"
        )
    return with_features(gm)


def feature_loss(features: list[Tensor], targets: list[Tensor]) -> Tensor:
    """Mean over the sites of ``|f - t|^2 / |t|^2``, over all elements of a site."""
    terms = [(f.float() - t.float()).square().sum() / t.float().square().sum().clamp_min(1e-9)
             for f, t in zip(features, targets)]  # fmt: skip
    return sum(terms[1:], terms[0]) / len(terms)
