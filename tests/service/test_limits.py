"""Limits: what is beyond is refused with the time after which it is not."""

from types import SimpleNamespace

import pytest

from autorep_fx.errors import Refused
from autorep_fx.service import limits as module
from autorep_fx.service.limits import Limits


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(time=100.0)
    monkeypatch.setattr(module.time, "monotonic", lambda: now.time)
    return now


def limits(**given):
    most = {"sessions": 3, "client_sessions": 2, "rate": 10.0, "client_rate": 2.0, "megabytes": 1000.0,
            "client_megabytes": 100.0}  # fmt: skip
    return Limits(**(most | given))


def test_sessions():
    found = limits()
    with found.session("alice"), found.session("alice"):
        with pytest.raises(Refused, match="'alice' has 2 sessions"), found.session("alice"):
            pass
        with found.session("bob"), pytest.raises(Refused, match="all 3 sessions are taken"), found.session("carol"):
            pass
        with pytest.raises(RuntimeError), found.session("bob"):
            raise RuntimeError
    with found.session("carol"), found.session("alice"):
        assert dict(found._open) == {"carol": 1, "alice": 1}


def test_rates(clock):
    found = limits()
    for _ in range(20):
        found.inference("alice", 1, 1.0)
    with pytest.raises(Refused, match="'alice': 2 inferences a second are allowed") as refused:
        found.inference("alice", 1, 1.0)
    assert refused.value.retry_after == pytest.approx(0.5)
    clock.time += refused.value.retry_after
    found.inference("alice", 1, 1.0)
    for _ in range(4):
        for name in ("bob", "carol", "dave", "erin"):
            found.inference(name, 4, 1.0)
    found.inference("erin", 4, 1.0)
    with pytest.raises(Refused, match="all clients: 10 inferences a second"):
        found.inference("frank", 20, 1.0)
    with pytest.raises(Refused, match="21 inferences at once are more than 'frank' may ever have"):
        found.inference("frank", 21, 1.0)


def test_megabytes(clock):
    found = limits()
    found.inference("alice", 1, 900.0)
    with pytest.raises(Refused, match="100 megabytes a second") as refused:
        found.inference("alice", 1, 300.0)
    assert refused.value.retry_after == pytest.approx(2.0)
    clock.time += 2.0
    found.inference("alice", 1, 300.0)


def test_a_refusal_takes_nothing(clock):
    found = limits()
    with pytest.raises(Refused):
        found.inference("alice", 1, 2000.0)
    found.inference("alice", 20, 1000.0)


def test_those_who_are_gone_are_forgotten(clock):
    found = limits(rate=1e9, megabytes=1e9)
    for i in range(10_001):
        found.inference(f"client {i}", 1, 0.1)
        clock.time += 0.01
    assert len(found._of) < 1000
