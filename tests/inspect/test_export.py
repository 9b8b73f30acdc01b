"""Models in other people's tools: the graph in files that they read, and the network itself."""

import json
import warnings

import networkx as nx
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import autorep_fx as ar
from autorep_fx.inspect import inspect


class Model(nn.Module):
    """A residual add, an activation called as a function, a parameter of its own, and one number a sample."""

    def __init__(self):
        super().__init__()
        self.stem, self.conv = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.act, self.head = nn.ReLU(), nn.Linear(4, 3)
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        x = self.act(self.stem(x))
        x = F.silu(self.conv(x) + x) * self.scale
        x = F.adaptive_avg_pool2d(x, 1).flatten(1)
        return self.head(x) + x.sum(1)[:, None]


@pytest.fixture(scope="module")
def squares(images):
    torch.manual_seed(0)
    return ar.transform(Model().eval(), calibration=images, relu_budget=100, progress=False)


@pytest.fixture(scope="module")
def lines(squares):
    """Kept positions, squares and lines side by side."""
    gm = ar.transform(squares)
    for site in ar.sites(gm).values():
        site.set_line(torch.arange(site.total).view(site.shape) % 3 == 0)
        site.set_line_coeffs(torch.tensor([[0.5], [0.25]]).expand(2, site.shape[0]))
    return gm


@pytest.fixture(scope="module", params=["not calibrated", "squares", "lines", "with inputs"])
def graph(request, images, squares, lines):
    if request.param == "not calibrated":
        return inspect(Model().eval()).to_networkx()
    if request.param == "lines":
        return inspect(lines).to_networkx()
    return inspect(squares, images if request.param == "with inputs" else None).to_networkx()


def same(one: nx.DiGraph, other: nx.DiGraph) -> bool:
    """Nodes, edges and all their attributes, types included, in the same order."""
    return repr(list(one.nodes.items())) == repr(list(other.nodes.items())) and dict(one.edges) == dict(other.edges)


def test_attributes_are_text_and_numbers_and_what_is_unknown_is_absent(graph):
    values = [value for part in (*graph.nodes.values(), *graph.edges.values()) for value in part.values()]
    assert {type(value) for value in values} == {str, int}


def test_shapes_are_text_and_absent_where_they_are_unknown(squares, images):
    nodes = inspect(squares, images).to_networkx().nodes
    assert [nodes[name]["shape"] for name in ("x", "stem", "head", "sum_1")] == ["1x8x8", "4x8x8", "3", "scalar"]
    nodes = inspect(squares).to_networkx().nodes  # nothing was run
    assert "shape" not in nodes["conv"] and nodes["act"]["shape"] == "4x8x8"


def test_changing_it_leaves_the_report_alone(squares):
    report = inspect(squares)
    before = report.to_dict()
    exported = report.to_networkx()
    exported.nodes["stem"]["label"] = "another"
    exported.remove_node("x")
    assert report.to_dict() == before


def test_graphml(graph, tmp_path):
    nx.write_graphml(graph, tmp_path / "g.graphml")
    assert same(nx.read_graphml(tmp_path / "g.graphml"), graph)


def test_json(graph):
    text = json.dumps(nx.node_link_data(graph, edges="edges"), allow_nan=False)
    assert same(nx.node_link_graph(json.loads(text), edges="edges"), graph)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # pydot's, of its parser
def test_dot(graph, tmp_path):
    """DOT knows text alone, and quotes it."""
    nx.nx_pydot.write_dot(graph, tmp_path / "g.dot")
    read = nx.nx_pydot.read_dot(tmp_path / "g.dot")
    as_text = nx.DiGraph()
    for node, attributes in graph.nodes.items():
        as_text.add_node(node, **{k: str(v) for k, v in attributes.items()})
    for a, b, attributes in graph.edges(data=True):
        as_text.add_edge(a, b, **{k: str(v) for k, v in attributes.items()})
    for part in (*read.nodes.values(), *read.edges.values()):
        part.update({k: v.strip('"') for k, v in part.items()})
    assert same(read, as_text)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_tensorboard_shows_the_network(squares, images, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(tmp_path) as writer:
        writer.add_graph(squares, images)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    names = [node.name for node in events.Graph().node]
    for name in ("stem", "act", "head"):
        assert any(f"[{name}]" in found for found in names), names


@pytest.mark.parametrize("form", ["squares", "lines"])
def test_onnx_computes_the_same(form, images, tmp_path, request):
    from onnx.reference import ReferenceEvaluator

    gm = request.getfixturevalue(form)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(gm, (images,), tmp_path / "m.onnx", dynamic_shapes={"x": {0: torch.export.Dim("batch")}})
    runs = ReferenceEvaluator(str(tmp_path / "m.onnx"))
    for x in (images, images[:3]):
        (found,) = runs.run(None, {"x": x.numpy()})
        # float32 sums of at most 36 terms, in another order, through three layers: 1e-5 leaves room for ten times it.
        torch.testing.assert_close(torch.from_numpy(found), gm(x).detach(), rtol=1e-5, atol=1e-5)
