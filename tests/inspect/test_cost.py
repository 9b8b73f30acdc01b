"""What each layer costs, and what other budgets would: beside what the plan says of the whole."""

import json
import sys
from dataclasses import replace

import pytest
import torch

import autorep_fx as ar
from autorep_fx import progress
from autorep_fx.errors import BudgetError
from autorep_fx.hybrid.activation import masks_digest
from autorep_fx.inspect.cost import Total
from autorep_fx.inspect.html import _agreeing
from autorep_fx.inspect.table import megabytes, milliseconds
from autorep_fx.inspect.words import difference
from autorep_fx.models import resnet_cifar

PIXELS = torch.randn(32, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return resnet_cifar(8, in_channels=1).eval()


@pytest.fixture(scope="module")
def hybrid(model):
    return ar.transform(model, calibration=PIXELS, relu_budget=500)


@pytest.fixture(scope="module")
def program(hybrid):
    return ar.compile(hybrid, PIXELS)


@pytest.fixture(scope="module")
def report(hybrid, program):
    return ar.inspect(hybrid, PIXELS, program=program, network="wan")


@pytest.fixture(scope="module")
def plan(model):
    return ar.plan_budgets(model, PIXELS, shares=(1, 0.1, 0), progress=False)


def test_layers_add_up_to_the_plan(report, program):
    assert [cost.label for cost in report.costs] == ["wan", "loopback", "lan"]
    for cost in report.costs:
        whole = program.cost(cost.network)
        assert cost.comparison == whole.comparison
        assert sum(layer.rounds for layer in cost.layers) == cost.total.rounds == whole.rounds
        assert sum(layer.online for layer in cost.layers) == sum(whole.online.values())
        assert sum(layer.seconds for layer in cost.layers) == pytest.approx(whole.online_seconds)
        rest = sum(whole.offline.values()) - sum(layer.offline for layer in cost.layers)
        assert 0 <= rest < 100  # headers


def test_every_site_and_layer_has_a_row(report, hybrid):
    layers = report.costs[0].layers
    assert [layer.name for layer in layers if layer.is_site] == list(ar.sites(hybrid))
    convolutions = [name for name, module in hybrid.named_modules() if isinstance(module, torch.nn.Conv2d)]
    assert {layer.name for layer in layers if layer.form.startswith("conv")} == set(convolutions)
    for layer in layers:
        assert (layer.rounds > 0) == (layer.travels > 0) == (layer.online > 0)
        assert ("squares" in layer.form) == layer.is_site


def test_a_site_of_lines_sends_nothing_but_to_truncate(model):
    hybrid = ar.transform(model, calibration=PIXELS)
    for site in ar.sites(hybrid).values():
        site.set_line(torch.ones_like(site.keep))
        site.set_keep(torch.zeros_like(site.keep))
    found = ar.inspect(hybrid, PIXELS, network="lan").costs[0]
    at_sites = [layer for layer in found.layers if layer.is_site]
    assert all(layer.form.startswith("lines") for layer in at_sites)
    assert all((layer.rounds > 0) == ("truncated" in layer.form) for layer in at_sites)
    assert found.total.rounds < found.original.rounds


def test_the_original_stands_beside_it(report, model):
    kept = ar.compile(ar.transform(model, example_inputs=PIXELS), PIXELS)
    for cost in report.costs:
        whole = kept.cost(cost.network)
        assert cost.original.rounds == whole.rounds
        assert cost.original.seconds == pytest.approx(whole.online_seconds, rel=0.2)  # a draft


def test_what_a_dealer_saves_stands_beside_it(report, program, tmp_path):
    for cost in report.costs:
        with_one, without = program.cost(cost.network), program.cost(cost.network, dealer=False)
        assert cost.dealer and [name for name, _ in cost.by_maker] == ["with a dealer", "without one"]
        for (_, total), whole in zip(cost.by_maker, (with_one, without)):
            assert total.offline == sum(whole.offline.values()) and total.offline_rounds == whole.offline_rounds
            assert total.all_seconds == pytest.approx(whole.total_seconds) and total.rounds == whole.rounds
        assert cost.by_maker[1][1].offline_rounds > cost.by_maker[0][1].offline_rounds
    first = report.costs[0]
    text = str(report)
    (row,) = [line for line in text.splitlines() if line.startswith("wan") and "without one" in line]
    assert row.split()[3:5] == [str(first.other.offline_rounds), megabytes(first.other.offline)]
    page = report.to_html(tmp_path / "page.html").read_text()
    assert page.count("by who makes the correlations") == len(report.costs)
    assert f'<td class="n">{megabytes(first.other.offline)}</td>' in page


def test_a_report_of_a_plan_for_two_is_about_two(hybrid):
    program = ar.compile(hybrid, PIXELS, network="wan", dealer=False)
    report = ar.inspect(hybrid, program=program, network="wan")
    first = report.costs[0]
    whole = program.cost("wan", dealer=False)
    assert not first.dealer and first.total.offline == sum(whole.offline.values()) and first.comparison == "gmw"
    assert sum(layer.offline for layer in first.layers) == pytest.approx(first.total.offline, rel=0.02)
    assert "without a dealer" in str(report)


def test_table_and_json(report):
    text = str(report)
    assert "private inference of one sample" in text and "all kept" in text
    assert max(map(len, text.splitlines())) <= 120
    found = json.loads(json.dumps(report.to_dict()))["costs"]
    assert [cost["label"] for cost in found] == ["wan", "loopback", "lan"]


def test_the_difference_and_the_dearest_layers_are_said_first(report, tmp_path):
    cost = report.costs[0]
    difference, dearest = report.words
    assert f"takes {milliseconds(cost.total.seconds)} ms and {cost.total.rounds} rounds on wan" in difference
    assert (
        f"every activation kept ({milliseconds(cost.original.seconds)} ms, {cost.original.rounds} rounds)" in difference
    )
    assert (
        f"{megabytes(cost.total.offline)} MB are sent, in place of {megabytes(cost.original.offline)} MB" in difference
    )
    slowest = sorted(cost.layers, key=lambda layer: -layer.seconds)[:3]
    assert all(f"{layer.name} ({milliseconds(layer.seconds)} ms)" in dearest for layer in slowest)
    assert " ".join(str(report).split()).startswith(" ".join([str(report).splitlines()[0], difference, dearest]))
    page = report.to_html(tmp_path / "page.html").read_text()
    assert page.index(difference) < page.index(dearest) < page.index("<section")


@pytest.mark.parametrize("seconds, said", [
    (0.5, "takes 500 ms and 9 rounds on wan, as long as with every activation kept (501 ms, 20 rounds)."),
    (0.1, "takes 100 ms and 9 rounds on wan, 5.0 times faster than with every activation kept (501 ms, 20 rounds)."),
    (0.6, "takes 600 ms and 9 rounds on wan, longer than with every activation kept (501 ms, 20 rounds)."),
])  # fmt: skip
def test_faster_or_not_is_said_as_it_is(report, seconds, said):
    now, original = Total(9, 0, 2_000_000, seconds, 0.0, 0.0), Total(20, 0, 8_000_000, 0.501, 0.0, 0.0)
    text = difference(replace(report.costs[0], total=now, original=original))
    assert text == f"A private inference {said} Offline 2.00 MB are sent, in place of 8.00 MB."
    alone = difference(replace(report.costs[0], total=now, original=None))
    assert (
        alone
        == f"A private inference takes {milliseconds(seconds)} ms and 9 rounds on wan, and 2.00 MB are sent offline."
    )


def test_one_thing_has_one_number_on_a_page(model, tmp_path, monkeypatch):
    """Limits are met by a plan of the calibration, budgets are drafts, the report's plan is of its own examples."""
    monkeypatch.setattr(sys.modules[ar.plan_budgets.__module__], "_LIMITS", 2)
    limited = ar.transform(model, calibration=PIXELS, latency_ms=150, network="wan", progress=False)
    x = 1.5 * torch.randn(32, 1, 8, 8, generator=torch.Generator().manual_seed(7))
    plan = ar.plan_budgets(model, PIXELS, shares=(1, 0), progress=False)
    plan.reach("all", ar.transform(model, example_inputs=PIXELS), 0.98)
    plan.reach("limited", limited, 0.97)
    plan.points.append(replace(plan.points[-1], masks=masks_digest(limited)))  # a budget that comes to the same masks
    report = ar.inspect(limited, x, network="wan")
    assert report.predicted["offline_mb"] != report.costs[0].total.offline / 1e6
    costs, shown = _agreeing(report, plan)
    for cost in costs:
        if cost.label in plan.networks:
            for found, total in ((shown.points[0], cost.original), (shown.reached[0], cost.original),
                                 (shown.reached[1], cost.total), (shown.points[-1], cost.total)):  # fmt: skip
                price = found.prices[cost.label]
                assert (price.seconds, price.rounds, price.online, price.offline) == (
                    total.seconds, total.rounds, total.online, total.offline
                )  # fmt: skip
    assert [cost.total for cost in costs] == [cost.total for cost in report.costs]
    assert costs[0].original != report.costs[0].original and costs[1] == report.costs[1]  # loopback is not planned
    assert shown.points[:-1] == plan.points[:-1] and plan.reached[1].prices != shown.reached[1].prices
    assert _agreeing(report, None) == (report.costs, None)
    page = report.to_html(tmp_path / "page.html", plan=plan).read_text()
    assert difference(costs[0]) in page and difference(report.costs[0]) not in page
    assert "planned:" not in page + str(report)
    assert "planned:" in str(ar.inspect(limited))


def test_without_a_program_there_is_no_cost(hybrid):
    report = ar.inspect(hybrid, PIXELS)
    assert report.costs == [] and report.to_dict()["costs"] == [] and "private inference" not in str(report)


def test_what_is_refused(model, hybrid, program):
    with pytest.raises(ValueError, match="other masks: at site 'relu'"):
        ar.inspect(ar.transform(model, calibration=PIXELS, relu_budget=0), program=program)
    other = ar.transform(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 4), torch.nn.ReLU()))
    with pytest.raises(ValueError, match="another model: it has a step"):
        ar.inspect(other, program=program)
    with pytest.raises(ValueError, match="network needs a program"):
        ar.inspect(hybrid, network="wan")
    with pytest.raises(ValueError, match="got 'moon'"):
        ar.inspect(hybrid, PIXELS, program=program, network="moon")


def test_budgets_cost_what_their_plans_say(plan, model):
    squares = [point for point in plan.points if point.forms == "squares"]
    assert [point.relus for point in squares] == [plan.total, round(0.1 * plan.total), 0]
    assert [point.loss for point in squares] == sorted(point.loss for point in squares)
    kept = ar.compile(ar.transform(model, example_inputs=PIXELS), PIXELS, network="wan")
    for name, price in squares[0].prices.items():
        cost = kept.cost(name)
        assert price.rounds == cost.rounds
        assert price.seconds == pytest.approx(cost.online_seconds, rel=0.2)
        assert price.offline == pytest.approx(sum(cost.offline.values()), rel=0.2)


def test_budgets_have_a_price_without_a_dealer_by_plans_for_that(plan, model):
    kept = ar.compile(ar.transform(model, example_inputs=PIXELS), PIXELS, network="wan", dealer=False)
    assert plan.points[0].alone.keys() == plan.points[0].prices.keys()
    for name, price in plan.points[0].alone.items():
        cost = kept.cost(name, dealer=False)
        assert price.rounds == cost.rounds
        assert price.offline == pytest.approx(sum(cost.offline.values()), rel=0.2)
        assert price.all_seconds == pytest.approx(cost.total_seconds, rel=0.2)
    first = plan.points[0].alone["wan"]
    row = next(line for line in str(plan).splitlines() if line.startswith("squares"))
    assert row.split()[-2:] == [megabytes(first.offline), milliseconds(first.all_seconds)]


def test_lines_take_time_away(plan):
    lined = [point for point in plan.points if point.lines]
    times = [point.prices["wan"].seconds for point in lined]
    assert len(lined) > 3 and lined[-1].relus == 0 and lined[-1].lines == plan.total
    assert times[-1] < 0.5 * times[0]
    assert [point.loss for point in lined] == sorted(point.loss for point in lined)


def test_plan_as_text_and_json(plan):
    table = str(plan).partition("\n\n0 of ")[0]
    assert len(table.splitlines()) == len(plan.points) + 4 and max(map(len, str(plan).splitlines())) <= 120
    assert len(json.loads(json.dumps(plan.to_dict()))["points"]) == len(plan.points)


def test_squares_that_save_no_time_are_said_to(plan, report, model, hybrid, tmp_path):
    slow = "0 of 4,608 ReLUs, squares at the rest, are no faster online than all ReLUs: "
    assert slow in str(plan).replace("\n", " ") and "latency_ms=" in str(plan)
    kept, none = (point.prices["wan"] for point in plan.points[:3:2])
    assert f"{1e3 * none.seconds:.0f} ms in place of {1e3 * kept.seconds:.0f} on wan" in str(plan).replace("\n", " ")
    text = str(report).replace("\n", " ")
    assert f"note: {slow.replace('0', '500', 1)}" in text and "on wan, " in text
    page = report.to_html(tmp_path / "report.html", plan=plan).read_text()
    assert page.count("are no faster online than all ReLUs") == 2
    quick = replace(plan.points[2], prices={label: replace(price, seconds=0.5 * price.seconds)
                                            for label, price in plan.points[0].prices.items()})  # fmt: skip
    assert replace(plan, points=[*plan.points[:2], quick]).no_faster is None
    assert replace(plan, points=plan.points[:1]).no_faster is None and replace(plan, points=[]).no_faster is None
    assert "no faster" not in str(ar.inspect(ar.transform(model), PIXELS, network="wan"))


def test_a_long_plan_of_budgets_prints_a_line_a_budget_and_can_be_stopped(model, capsys, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0.0)
    ar.plan_budgets(model, PIXELS, shares=(1, 0))
    assert "budgets, budget 2 of 12\n" in capsys.readouterr().err

    def stopped(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules[ar.plan_budgets.__module__], "costs_on", stopped)
    with pytest.raises(KeyboardInterrupt, match="^plan_budgets was stopped; .* begins anew$"):
        ar.plan_budgets(model, PIXELS, shares=(1, 0), progress=False)


def test_what_was_reached_stands_beside_it(plan, hybrid):
    found = plan.reach("2 %", hybrid, 0.9)
    assert plan.reached == [found] and found.relus == 500
    assert found.masks == ar.inspect(hybrid).masks
    with pytest.raises(ValueError, match="fraction"):
        plan.reach("90 %", hybrid, 90)


@pytest.mark.parametrize("wrong", [{"networks": ()}, {"shares": (2,)}])
def test_a_plan_of_nothing(model, wrong):
    with pytest.raises(BudgetError):
        ar.plan_budgets(model, PIXELS, **wrong)
    with pytest.raises(BudgetError, match="no activation"):
        ar.plan_budgets(torch.nn.Linear(4, 2), torch.randn(4, 4))
