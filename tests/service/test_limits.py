"""Limits: what is beyond is refused with the time after which it is not."""

import threading
import time
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
            "client_megabytes": 100.0, "held": 12, "client_held": 8, "kept": 300.0}  # fmt: skip
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


def test_what_sessions_keep_is_counted_in_megabytes():
    found = limits(kept=300.0)
    with found.session("alice", 143.0), found.session("bob", 143.0):
        with pytest.raises(Refused, match="keep 286 megabytes, and 300 may be kept"), found.session("carol", 143.0):
            pass
        with found.session("carol"):  # that keeps nothing
            pass
    with found.session("carol", 143.0), found.session("dave", 143.0):
        pass
    assert found._kept == 0


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


def test_what_is_sent_once_a_model_counts_with_the_rest(clock):
    found = limits()
    found.inference("alice", 1, 400.0)
    found.traffic("alice", 500.0)
    with pytest.raises(Refused, match="'alice': 100 megabytes a second") as refused:
        found.traffic("alice", 500.0)
    assert refused.value.retry_after == pytest.approx(4.0)
    found.traffic("bob", 1000.0)
    assert found.ever(1000.0) and not found.ever(1001.0) and not limits(megabytes=50.0).ever(501.0)


def test_samples_that_are_held():
    found = limits()
    found.hold("alice", 7)
    found.hold("alice", 4)  # there were fewer than 8
    with pytest.raises(Refused, match="correlations of 11 samples wait for 'alice', and 8 may") as refused:
        found.hold("alice", 1)
    assert refused.value.retry_after == 1
    found.hold("bob", 1)
    with pytest.raises(Refused, match="correlations of 12 samples wait for all clients, and 12 may"):
        found.hold("carol", 1)
    found.release("alice", 4)
    found.hold("alice", 1)
    for client, samples in (("alice", 8), ("bob", 1), ("carol", 0)):
        found.release(client, samples)
    assert not found._held


def test_what_is_given_back_in_a_moment_is_waited_for():
    found = limits()
    with pytest.raises(RuntimeError), found.holding("alice", 8):
        raise RuntimeError
    found.hold("alice", 8)
    threading.Timer(0.05, found.release, ("alice", 8)).start()
    start = time.monotonic()
    found.hold("alice", 8)
    assert time.monotonic() - start >= 0.04


def test_those_who_are_gone_are_forgotten(clock):
    found = limits(rate=1e9, megabytes=1e9)
    for i in range(10_001):
        found.inference(f"client {i}", 1, 0.1)
        clock.time += 0.01
    assert len(found._of) < 1000
