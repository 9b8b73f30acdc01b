"""Fewer ReLUs that save no time: said where it is so, by what plans come to."""

import logging
import sys

import pytest
import torch
from torch import nn

import autorep_fx as ar
from autorep_fx.forms.faster import Times, has_squares, no_faster, planned_times
from autorep_fx.secure.link.network import NETWORKS, Network

PIXELS = torch.rand(48, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 8, 3, 2, padding=1), nn.ReLU(),
                         nn.Flatten(), nn.Linear(128, 10)).eval()  # fmt: skip


def test_only_the_links_where_it_is_so_are_named():
    slow, quick = Times(572.0, 571.0, 0.35, 3.15), Times(9.0, 10.0, 0.35, 3.15)
    text = no_faster(512, 8192, {"wan": slow, "lan": quick})
    assert "512 of 8,192 ReLUs, squares at the rest, are no faster online than all ReLUs" in text
    assert "572 ms in place of 571 on wan." in text and "lan" not in text
    assert "0.35 MB in place of 3.15" in text and "latency_ms=" in text
    assert no_faster(512, 8192, {"lan": quick}) is None and no_faster(512, 8192, {}) is None


def test_offline_bytes_are_named_where_they_are_saved():
    """What is quickest on a link may be another comparison for one of the two, which takes other bytes offline."""
    other, same = Times(45.0, 42.0, 42.8, 16.7), Times(1448.0, 1114.0, 42.8, 480.0)
    assert "42.8 MB in place of 480." in no_faster(512, 8192, {"lan": other, "wan": same})
    assert "offline" not in no_faster(512, 8192, {"lan": other})


def test_times_are_those_of_plans(model):
    gm = ar.transform(model, calibration=PIXELS, relu_budget=50)
    times = planned_times(gm, PIXELS, Network(10.0, 50.0))
    assert list(times) == ["10 ms, 50 Mbit/s", "wan"]
    for net, each in zip((Network(10.0, 50.0), NETWORKS["wan"]), times.values()):
        now = ar.compile(gm, PIXELS, network=net).cost(net)
        kept = ar.compile(ar.transform(model, example_inputs=PIXELS), PIXELS, network=net).cost(net)
        assert each.online_ms == pytest.approx(1e3 * now.online_seconds, rel=0.05)
        assert each.original_ms == pytest.approx(1e3 * kept.online_seconds, rel=0.05)
        assert each.original_mb == pytest.approx(sum(kept.offline.values()) / 1e6, rel=0.2) and each.offline_mb > 0


@pytest.mark.parametrize("budget, said", [(50, True), (0, True), (384, False)])
def test_a_count_that_saves_no_time_is_said_once_and_names_what_would(model, budget, said, caplog):
    with caplog.at_level(logging.INFO, "autorep_fx"):
        ar.transform(model, calibration=PIXELS, relu_budget=budget)
    found = [r for r in caplog.records if "no faster online" in r.getMessage()]
    assert len(found) == said and all(r.levelno == logging.WARNING for r in found)
    assert all(f"{budget} of 384 ReLUs" in r.getMessage() and "latency_ms=" in r.getMessage() for r in found)


def test_a_count_that_saves_time_says_nothing(model, caplog, monkeypatch):
    times = {"wan": Times(300.0, 571.0, 0.35, 3.15)}
    monkeypatch.setattr(sys.modules[ar.transform.__module__], "planned_times", lambda *args: times)
    with caplog.at_level(logging.INFO, "autorep_fx"):
        ar.transform(model, calibration=PIXELS, relu_budget=50)
    assert not [r for r in caplog.records if "no faster" in r.getMessage()]


def test_what_two_parties_cannot_run_is_transformed_without_a_word_of_it(caplog):
    class Odd(nn.Module):
        def forward(self, x):
            return torch.relu(x.cumsum(-1)).flatten(1)

    with caplog.at_level(logging.INFO, "autorep_fx"):
        gm = ar.transform(Odd().eval(), calibration=PIXELS, relu_budget=5)
    assert ar.relu_count(gm) == 5 and not caplog.messages


def test_lines_are_no_squares(model):
    gm = ar.transform(model, calibration=PIXELS, relu_budget=50)
    assert has_squares(gm)
    for site in ar.sites(gm).values():
        site.set_line(torch.ones_like(site.keep))
    assert not has_squares(gm)
