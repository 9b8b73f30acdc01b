"""A limit that cannot be met: what still sends, what would help, and that it does."""

import re

import pytest
import torch
from torch import nn

import autorep_fx as ar
from autorep_fx.errors import BudgetError
from autorep_fx.forms.senders import ENDS, TRUNCATION, Sender, advice

PIXELS = torch.rand(48, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def network(pool: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), pool, nn.Conv2d(4, 8, 3, padding=1), nn.ReLU(),
                         nn.Flatten(), nn.Linear(128, 10)).eval()  # fmt: skip


def refused(model: nn.Module, **limits) -> str:
    with pytest.raises(BudgetError) as error:
        ar.transform(model, calibration=PIXELS, network="wan", progress=False, **limits)
    return str(error.value)


@pytest.fixture(scope="module")
def pooled() -> str:
    return refused(network(nn.MaxPool2d(2)), latency_ms=50)


def test_what_still_sends_is_named_with_its_part(pooled):
    total = float(re.search(r"lines alone take: (\d+) ms online", pooled)[1])
    pooling, ends = re.search(
        r"What still sends: MaxPool2d \('2'\) ([\d.]+), input and output ([\d.]+) of", pooled
    ).groups()
    assert float(pooling) + float(ends) == pytest.approx(total, rel=0.02) and float(pooling) > 0.6 * total
    assert "\n" not in pooled


def test_what_would_help_does(pooled):
    assert "average pooling, or a convolution of stride 2, in place of a maximum sends nothing" in pooled
    gm = ar.transform(network(nn.AvgPool2d(2)), calibration=PIXELS, network="wan", latency_ms=50, progress=False)
    assert gm.meta["predicted"]["latency_ms"] <= 50


def test_the_least_limit_that_is_named_can_be_met(pooled):
    least = float(re.search(r"latency_ms=(\d+) can be met", pooled)[1])
    gm = ar.transform(network(nn.MaxPool2d(2)), calibration=PIXELS, network="wan", latency_ms=least, progress=False)
    assert gm.meta["predicted"]["latency_ms"] <= least and set(gm.meta["predicted"]) == {
        "latency_ms", "offline_mb", "total_ms", "dealer", "rounds", "network", "masks", "limits",
        "granularity"}  # fmt: skip


def test_two_limits_have_each_its_senders():
    text = refused(network(nn.MaxPool2d(2)), latency_ms=50, offline_mb=0.001)
    assert "ms online; MaxPool2d ('2')" in text and "MB offline" in text and text.count("in place of a maximum") == 1
    assert re.search(r"latency_ms=\d+ with offline_mb=0\.\d+ can be met", text)


def test_factors_of_private_values_are_named_by_their_node():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.gate = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(1, 4, 1)
            self.head = nn.Linear(256, 10)

        def forward(self, x):
            return self.head(torch.relu(self.body(x) * self.gate(x)).flatten(1))

    text = refused(Gated().eval(), latency_ms=50)
    assert "mul ('mul')" in text and "a factor that is a constant of the network sends nothing" in text


def test_many_senders_are_counted_by_their_kind_and_small_ones_left_out():
    found = [*(Sender("MaxPool2d", f"pool{i}", 40.0, 1.0) for i in range(3)), Sender(TRUNCATION, "", 60.0, 2.0),
             Sender("mul", "scale", 0.1, 0.0), Sender(ENDS, "", 41.0, 0.0)]  # fmt: skip
    text = advice(found, {"latency_ms": 221.1})
    assert "MaxPool2d ('pool0', 'pool1', ...) 120, truncations 60, input and output 41 of 221 ms online" in text
    assert "mul" not in text and text.endswith("As it is, latency_ms=222 can be met")
    assert advice((), {"latency_ms": 221.1}) == ""
