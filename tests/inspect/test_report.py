"""The report: what it says about a model, in every form."""

import json
import math
import re
import struct
import sys
from html.parser import HTMLParser

import networkx as nx
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import autorep_fx as ar
from autorep_fx.errors import CalibrationError, TraceError
from autorep_fx.hybrid.activation import HybridActivation
from autorep_fx.inspect import Report, inspect
from autorep_fx.inspect.table import number

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Branches(nn.Module):
    """A residual add, a concatenation, and one ReLU module that is called three times."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.side = nn.Conv2d(4, 4, 1)
        self.act = nn.ReLU()
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x = self.act(self.stem(x))
        y = self.act(self.conv(x) + x)
        z = torch.cat([y, self.act(self.side(x))], 1)
        return self.head(F.adaptive_avg_pool2d(z, 1).flatten(1))


class Block(nn.Module):
    def __init__(self, width_in, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.short = nn.Conv2d(width_in, width, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.short(x))


def residual():
    return nn.Sequential(Block(1, 4, 2), Block(4, 4, 1), Block(4, 8, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()


@pytest.fixture(scope="module")
def masked(images):
    torch.manual_seed(0)
    return ar.transform(Branches().eval(), calibration=images, relu_budget=200, progress=False)


@pytest.fixture(
    scope="module",
    params=[
        "not calibrated",
        "shapes only",
        "fitted",
        "budget 200",
        "all replaced",
        "channels",
        "residual",
        "degree 4",
    ],
)
def stage(request, images):
    """(gm, example inputs or None): a model at every stage."""
    torch.manual_seed(0)
    model = Branches().eval()
    kwargs = {
        "not calibrated": {},
        "shapes only": {"example_inputs": images},
        "fitted": {"calibration": images},
        "budget 200": {"calibration": images, "relu_budget": 200},
        "all replaced": {"calibration": images, "relu_budget": 0},
        "channels": {"calibration": images, "relu_budget": 256, "granularity": "channel"},
        "residual": {"calibration": images, "relu_budget": 50},
        "degree 4": {"calibration": images, "relu_budget": 100, "degree": 4},
    }[request.param]
    gm = ar.transform(residual() if request.param == "residual" else model, progress=False, **kwargs)
    return gm, images if request.param in ("budget 200", "residual") else None


class Parsed(HTMLParser):
    """Elements and text of a page; an element that is not closed where it should be is an error."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.data = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        self.data.append(data)

    @property
    def text(self):
        return " ".join(self.data)


def page(report, tmp_path, **kwargs):
    return report.to_html(tmp_path / "report.html", **kwargs).read_text(encoding="utf-8")


# --- every form at every stage ----------------------------------------------------------------------------------------


def test_table_has_a_row_for_every_site_in_run_order_and_a_total(stage):
    gm, x = stage
    report = inspect(gm, x)
    lines = str(report).splitlines()
    rules = [i for i, line in enumerate(lines) if set(line) == {"-"}]
    rows = [line.split() for line in lines[rules[0] + 1 : rules[1]]]
    assert [row[0] for row in rows] == list(ar.sites(gm))
    assert all(len(line) <= 120 for line in lines)
    assert lines[rules[1] + 1].split()[0] == "total"
    if report.after is not None:
        assert lines[rules[1] + 1].split()[1:3] == [f"{report.before:,}", f"{report.after:,}"]
        assert report.after == ar.relu_count(gm)


def test_dict_survives_json(stage):
    gm, x = stage
    data = inspect(gm, x).to_dict()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert [site["name"] for site in data["sites"]] == list(ar.sites(gm))
    for entry, site in zip(data["sites"], ar.sites(gm).values(), strict=True):
        if site.shape is not None:
            assert (entry["shape"], entry["elements"], entry["kept"]) == (list(site.shape), site.total, site.kept)


def test_networkx_has_the_nodes_and_edges_of_the_fx_graph(stage):
    gm, x = stage
    graph = inspect(gm, x).to_networkx()
    assert isinstance(graph, nx.DiGraph) and nx.is_directed_acyclic_graph(graph)
    assert list(graph) == [node.name for node in gm.graph.nodes]
    assert set(graph.edges) == {(s.name, node.name) for node in gm.graph.nodes for s in node.all_input_nodes}
    for node in gm.graph.nodes:
        assert {"op", "target", "label", "parameters"} <= graph.nodes[node.name].keys()
        assert graph.nodes[node.name]["op"] == node.op
        is_site = node.op == "call_module" and isinstance(gm.get_submodule(node.target), HybridActivation)
        assert is_site == ("site" in graph.nodes[node.name])


def test_html_is_one_well_formed_file_with_every_site(stage, tmp_path):
    gm, x = stage
    text = page(inspect(gm, x), tmp_path)
    parsed = Parsed(text)
    for name in ar.sites(gm):
        assert name in parsed.text
    assert parsed.tags.count("article") == len(ar.sites(gm))
    assert not re.search(r"https?://|//[a-z]+\.[a-z]", text)
    assert "script" not in parsed.tags
    ids = [value for key, value in parsed.attributes if key == "id" and value.startswith("site-")]
    links = {value for key, value in parsed.attributes if key == "href" and value.startswith("#site-")}
    assert links == {f"#{i}" for i in ids}
    assert all(
        not value.startswith(("http", "//", "file:")) for key, value in parsed.attributes if key in ("src", "href")
    )


def test_plot_is_a_png(stage, tmp_path):
    gm, x = stage
    path = inspect(gm, x).plot(tmp_path / "picture.png")
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and data[-8:-4] == b"IEND"
    assert struct.unpack(">2I", data[16:24]) == (2400, 840)


def test_inspecting_changes_nothing(stage, images):
    gm, _ = stage
    gm.train()
    before = {name: tensor.clone() for name, tensor in gm.state_dict().items()}
    shapes = [site.shape for site in ar.sites(gm).values()]
    str(inspect(gm, images))
    assert gm.training and all(module.training for module in gm.modules())
    after = gm.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[k], after[k]) for k in before)
    assert shapes == [site.shape for site in ar.sites(gm).values()]
    gm.eval()


# --- what the numbers are ---------------------------------------------------------------------------------------------


def test_measured_numbers_are_those_of_what_arrives(masked, images):
    report = inspect(masked, images)
    seen = {}
    hooks = [
        site.register_forward_hook(lambda _, x, __, name=name: seen.update({name: x[0].double()}))
        for name, site in ar.sites(masked).items()
    ]
    masked(images)
    for hook in hooks:
        hook.remove()
    for record, site in zip(report.sites, ar.sites(masked).values(), strict=True):
        x = seen[record.name]
        assert record.source == "example_inputs" and record.samples == len(images)
        # float64 sums of shifted values: a few hundred roundings of 1e-16.
        assert record.mean == pytest.approx(x.mean().item(), abs=1e-12)
        assert record.std == pytest.approx(x.std(correction=0).item(), rel=1e-10)
        assert (record.low, record.high) == (x.min().item(), x.max().item())
        off = ~site.keep
        change = (site.polynomial(x) - x.relu())[:, off]
        assert record.error == pytest.approx(change.square().mean().sqrt().item(), rel=1e-9)
        relative = change.square().mean().sqrt() / x.relu()[:, off].square().mean().sqrt()
        assert record.relative_error == pytest.approx(relative.item(), rel=1e-9)


def test_without_inputs_the_numbers_are_those_of_calibration(masked):
    for record, site in zip(inspect(masked).sites, ar.sites(masked).values(), strict=True):
        assert record.source == "calibration"
        assert [record.low, record.high] == pytest.approx(site.input_range.tolist())
        weight = (~site.keep).flatten(1).sum(1).double()
        mse = (site.fit_error.double() * weight).sum() / weight.sum()
        assert record.error == pytest.approx(mse.sqrt().item(), rel=1e-5)  # fit_error is float32


def test_coefficients_that_were_trained_get_their_own_error(masked, images):
    import copy

    gm = copy.deepcopy(masked)
    site = next(iter(ar.sites(gm).values()))
    worse = site.coeffs.detach().clone()
    worse[0] += 1
    fitted = inspect(gm).sites[0].error
    site.set_coeffs(worse)
    # A least-squares fit with a constant term has no mean error, so a shift by 1 adds 1 to the mean square.
    assert inspect(gm).sites[0].error == pytest.approx(math.sqrt(fitted**2 + 1), rel=1e-5)


def test_a_plain_module_is_transformed_and_left_alone(images):
    model = Branches().train()
    report = inspect(model, images)
    assert isinstance(report, Report) and len(report.sites) == 3
    assert report.before == report.after == 3 * 4 * 8 * 8
    assert isinstance(model.act, nn.ReLU) and model.training
    assert report.parameters == sum(p.numel() for p in model.parameters())
    assert all(shape is not None for _, _, shape in report.to_networkx().edges(data="shape"))


def test_shapes_of_edges_are_those_of_one_sample(masked, images):
    graph = inspect(masked, images).to_networkx()
    shape = dict(graph.nodes(data="shape"))
    assert (shape["x"], shape["stem"], shape["cat"], shape["head"]) == ("1x8x8", "4x8x8", "8x8x8", "3")
    assert all(attributes["shape"] == shape[source] for source, _, attributes in graph.edges(data=True))


def test_a_saved_and_loaded_model_still_has_its_range_and_fit(masked, tmp_path):
    ar.save(masked, tmp_path / "m.safetensors")
    report = inspect(ar.load(Branches().eval(), tmp_path / "m.safetensors"))
    for record in report.sites:
        assert record.source is None and record.mean is None and record.relative_error is None
        assert record.low < record.high and record.error > 0
    Parsed(page(report, tmp_path))


def test_a_diverging_network_is_noted_and_does_not_fail(masked, images, tmp_path):
    import copy

    gm = copy.deepcopy(masked)
    first = next(iter(ar.sites(gm).values()))
    first.set_coeffs(first.coeffs.detach() * 1e3)
    report = inspect(gm, images)
    assert "diverge" in report.sites[1].note and "note: " in str(report)
    first.set_coeffs(first.coeffs.detach() * torch.inf)
    report = inspect(gm, images)
    assert "not finite" in report.sites[1].note
    json.dumps(report.to_dict(), allow_nan=False)
    assert "not finite" in Parsed(page(report, tmp_path)).text
    report.plot(tmp_path / "p.png")


def test_a_model_without_activations(tmp_path):
    report = inspect(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)))
    assert "no activations" in str(report) and report.sites == []
    assert "No activations" in Parsed(page(report, tmp_path)).text
    report.plot(tmp_path / "p.png")


def test_long_names_and_large_numbers_stay_within_the_width(images):
    model = nn.Sequential()
    inner = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Hardswish())
    for name in ("backbone", "features_of_the_first_stage", "inverted_residual_block_with_expansion"):
        outer = nn.Sequential()
        outer.add_module(name, inner)
        inner = outer
    model.add_module("network", inner)
    gm = ar.transform(model.eval(), calibration=images * 1e4, relu_budget=7, degree=3, progress=False)
    text = str(inspect(gm))
    assert max(map(len, text.splitlines())) == 120 and "…" in text
    assert "hardswish" in text and "2×6×6" in text


def test_where_some_shapes_are_unknown_there_are_no_totals(images, tmp_path):
    gm = ar.transform(Branches().eval())
    first = next(iter(ar.sites(gm).values()))
    first.set_keep(torch.arange(4 * 8 * 8).view(4, 8, 8) % 2 == 0)
    report = inspect(gm)
    assert report.before is None and report.after is None and report.factor is None
    assert [site.kept for site in report.sites] == [128, None, None]
    assert "128" in str(report)
    assert "not known yet" in Parsed(page(report, tmp_path)).text
    assert inspect(gm, images).after == 128 + 2 * 256


def test_other_kinds_and_shapes(tmp_path, images):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.slope = nn.Conv1d(1, 4, 3), nn.PReLU(4)
            self.fc, self.head = nn.Linear(4, 6), nn.Linear(6, 2)

        def forward(self, x):
            x = self.slope(self.conv(x.flatten(2))).mean(2)
            return self.head(F.silu(self.fc(x)))

    gm = ar.transform(Model().eval(), calibration=images, relu_budget=100, progress=False)
    report = inspect(gm, images)
    assert [site.kind for site in report.sites] == ["prelu", "silu"]
    assert [len(site.shape) for site in report.sites] == [2, 1]
    assert "no positions" in Parsed(page(report, tmp_path)).text
    report.plot(tmp_path / "p.png", site="slope")


# --- the page ---------------------------------------------------------------------------------------------------------


def test_what_comes_from_the_model_is_escaped(images, tmp_path):
    evil = "'><script>alert(1)</script><img src=x onerror=alert(2)>"  # torch.fx itself fails at a double quote

    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.add_module(evil, nn.ReLU())
            self.conv = nn.Conv2d(1, 2, 3)

        def forward(self, x):
            return getattr(self, evil)(self.conv(x))

    Named.__name__ = Named.__qualname__ = "<q>Model</q>"
    report = inspect(Named().eval(), images)
    assert report.sites[0].name == evil
    assert "<q>Model</q>" in Parsed(page(report, tmp_path)).data
    text = page(report, tmp_path, title="<u>title</u>", sections=[("<i>t</i>", [["<s>a</s>"], ["&amp;"]])])
    parsed = Parsed(text)
    assert not {"script", "i", "s", "u"} & set(parsed.tags)
    assert not [key for key, _ in parsed.attributes if key.startswith("on")]
    assert evil in parsed.text and "&amp;" in parsed.data  # shown as they are


def test_labels_in_figures_keep_their_digits(images, tmp_path):
    gm = ar.transform(Branches().eval(), calibration=images / 100, relu_budget=0, progress=False)
    report = inspect(gm)
    worst = max(report.sites[0].channel_error)
    assert worst < 1e-4
    assert f"rms error {number(worst**0.5)}" in Parsed(page(report, tmp_path)).text


def test_names_with_dollars_are_not_formulas(images, tmp_path):
    model = nn.Sequential()
    model.add_module("conv", nn.Conv2d(1, 2, 3))
    model.add_module("$\\frac{$", nn.ReLU())
    inspect(model.eval(), images).plot(tmp_path / "p.png", title="$\\frac{$")


def test_sections_are_tables_or_html(masked, tmp_path):
    rows = [["", "original", "hybrid"], ["accuracy", "97.3 %", 96.9]]
    parsed = Parsed(page(inspect(masked), tmp_path, sections=[("Results", rows), ("Notes", "<em>by hand</em>")]))
    assert {"Results", "97.3 %", "96.9", "by hand"} <= set(parsed.data) and "em" in parsed.tags


@pytest.mark.parametrize("sections", ["text", [("title",)], [(1, "x")], [("title", 3)], [("title", ["row"])]])
def test_sections_of_another_form_are_refused(masked, tmp_path, sections):
    with pytest.raises(TypeError, match="sections"):
        inspect(masked).to_html(tmp_path / "r.html", sections=sections)
    assert not (tmp_path / "r.html").exists()


def test_the_same_report_gives_the_same_page(masked, tmp_path):
    assert page(inspect(masked), tmp_path) == page(inspect(masked), tmp_path)


def test_drawing_leaves_no_global_state(masked, tmp_path):
    import matplotlib

    before = dict(matplotlib.rcParams)
    page(inspect(masked), tmp_path)
    inspect(masked).plot(tmp_path / "p.png")
    assert dict(matplotlib.rcParams) == before
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()


# --- what takes lines -------------------------------------------------------------------------------------------------


def lined(images, everywhere: bool):
    """The first site takes lines alone, or every other of its positions does."""
    gm = ar.transform(Branches().eval(), calibration=images, relu_budget=200, progress=False)
    site = next(iter(ar.sites(gm).values()))
    site.set_line(torch.ones_like(site.keep) if everywhere else torch.arange(256).view(4, 8, 8) % 2 == 0)
    site.set_keep(torch.zeros_like(site.keep))
    ar.refit(gm, images)
    return gm


@pytest.mark.parametrize("everywhere", [True, False])
def test_lines_are_drawn_as_lines_and_named_in_the_legends(images, tmp_path, everywhere):
    report = inspect(lined(images, everywhere), images)
    record = report.sites[0]
    assert record.lines == report.lines == (256 if everywhere else 128)
    assert [curve.kind for curve in record.curves] == (["line"] if everywhere else ["polynomial", "line"])
    assert [len(curve.coeffs) for curve in record.curves] == ([2] if everywhere else [3, 2])
    assert report.to_networkx().nodes["act"]["lines"] == record.lines
    parsed = Parsed(text := page(report, tmp_path))
    classes = [value for key, value in parsed.attributes if key == "class"]
    assert classes.count("swatch lines") == 2 and "stroke line" in classes  # legends of the graph, the bars, the fits
    assert "lined by-share" in classes and "stripe by-share" in classes and "lines" in classes
    assert "median line" in parsed.text and ("median polynomial" in text)
    assert ("lines" in parsed.data) == everywhere  # in the graph, in place of a share
    report.plot(tmp_path / "p.png", site=record.name)
    without = page(inspect(ar.transform(Branches().eval(), calibration=images, relu_budget=200)), tmp_path)
    assert "swatch lines" not in without and "stroke line" not in without and 'class="lined' not in without


def test_polynomials_of_degree_1_are_lines(images, tmp_path):
    report = inspect(ar.transform(Branches().eval(), calibration=images, relu_budget=200, degree=1), images)
    assert report.lines == 768 - 200 and all(record.lines == record.replaced for record in report.sites)
    assert str(report).splitlines()[0].endswith("times fewer") and "median line" in page(report, tmp_path)
    one = ar.transform(Branches().eval(), calibration=images, relu_budget=0, degree=1)
    assert str(inspect(one)).startswith("Branches: 768 ReLUs, all replaced by lines")


def test_squares_that_are_straight_are_lines(masked, images):
    import copy

    gm = copy.deepcopy(masked)
    site = next(iter(ar.sites(gm).values()))
    straight = site.coeffs.detach().clone()
    straight[2] = 0
    site.set_coeffs(straight)
    record = inspect(gm, images).sites[0]
    assert record.lines == record.replaced > 0 and record.curves[0].kind == "line"


def test_a_site_that_keeps_everything_has_no_fit_error(images, tmp_path):
    gm = ar.transform(Branches().eval(), calibration=images, relu_budget=256, granularity="layer", progress=False)
    report = inspect(gm, images)
    (kept,) = (record for record in report.sites if record.replaced == 0)
    assert kept.fitted and kept.error is kept.relative_error is kept.channel_error is None
    (entry,) = (entry for entry in report.to_dict()["sites"] if entry["name"] == kept.name)
    assert entry["error"] == {"rms": None, "relative": None}
    (row,) = (line for line in str(report).splitlines() if line.startswith(kept.name) and " 100% " in line)
    assert row.split()[-2:] == ["-", "-"]
    assert len(re.findall(r"fit error \S+ rms", Parsed(page(report, tmp_path)).text)) == len(report.sites) - 1
    assert "median polynomial, not used" in page(report, tmp_path)
    everything = inspect(ar.transform(Branches().eval(), calibration=images), images)
    assert all(record.error is None for record in everything.sites)


# --- the class of the model -------------------------------------------------------------------------------------------


def test_the_class_of_the_model_stays_through_copies_and_files(masked, images, tmp_path):
    import copy

    ar.save(masked, tmp_path / "m.safetensors")
    loaded = ar.load(Branches().eval(), tmp_path / "m.safetensors")
    again = ar.transform(copy.deepcopy(loaded), calibration=images, relu_budget=100)
    for gm in (masked, copy.deepcopy(masked), loaded, again, copy.deepcopy(again)):
        report = inspect(gm)
        assert report.model == "Branches" and repr(report).startswith("<Report of Branches:")
        assert "<title>Branches</title>" in page(report, tmp_path)
    text = Parsed(page(inspect(again), tmp_path, title="Digits")).text
    assert "Digits" in text and "(Branches)" in text


# --- bad input --------------------------------------------------------------------------------------------------------


def test_bad_inputs_are_named(masked, images, tmp_path):
    with pytest.raises(TraceError, match="torch.nn.Module"):
        inspect("resnet18")
    with pytest.raises(CalibrationError, match="example_inputs"):
        inspect(masked, [])
    with pytest.raises(CalibrationError, match="example_inputs.*NaN"):
        inspect(masked, images * torch.nan)
    with pytest.raises(CalibrationError, match=r"example_inputs.*\(4, 16, 16\).*\(4, 8, 8\)"):
        inspect(masked, torch.zeros(2, 1, 16, 16))
    with pytest.raises(CalibrationError, match="example_inputs.*node 'stem'"):
        inspect(masked, torch.zeros(2, 3, 8, 8))
    with pytest.raises(ValueError, match="'nothing'.*act"):
        inspect(masked).plot(tmp_path / "p.png", site="nothing")
