"""Channels and processes: what goes wrong between parties ends the run, in time, with the step's name."""

import os
import signal
import socket
import struct
import threading
import time

import numpy as np
import pytest
from native_runs import compiled
from networks import images, replace
from torch import nn

from autorep_fx import Network
from autorep_fx.errors import PartyError
from autorep_fx.secure.host.threads import connect, run
from autorep_fx.secure.link.local import local_pair
from autorep_fx.secure.link.message import HEADER_BYTES
from autorep_fx.secure.link.shaped import Shaped
from autorep_fx.secure.link.tcp import TcpChannel
from autorep_fx.secure.parties.model import expected


def tcp_pair(timeout=5.0, **options):
    listener = socket.create_server(("127.0.0.1", 0))
    one = socket.create_connection(listener.getsockname())
    other, _ = listener.accept()
    listener.close()
    options.setdefault("steps", ("input", "conv1"))
    return (TcpChannel(one, "client", "server", timeout=timeout, **options),
            TcpChannel(other, "server", "client", timeout=timeout, **options))  # fmt: skip


def pair(kind, timeout=5.0, **options):
    if kind == "tcp":
        return tcp_pair(timeout, **options)
    return local_pair("client", "server", timeout=timeout, steps=("input", "conv1"), **options)


KINDS = pytest.mark.parametrize("kind", ["tcp", "local"])


@KINDS
def test_messages_arrive_and_are_counted(kind):
    a, b = pair(kind)
    parts = [np.arange(1000, dtype=np.uint64), np.arange(7, dtype=np.uint8)]
    a.send(1, *parts)
    a.send(1)
    into = [np.empty_like(p) for p in parts]
    b.receive(1, *into)
    b.receive(1)
    assert all(np.array_equal(p, q) for p, q in zip(parts, into))
    assert (a.bytes_sent, a.messages_sent) == (8007 + 2 * HEADER_BYTES, 2)
    assert (a.clock.depth, b.clock.depth) == (0, 1), "two messages the same way are one round"
    b.send(0)
    a.receive(0)
    assert a.clock.depth == 2


@KINDS
@pytest.mark.parametrize("size", [100, 3_000_000])
def test_exchange_sends_both_ways_at_once(kind, size):
    a, b = pair(kind)
    mine, theirs = np.full(size, 1, np.uint64), np.full(size, 2, np.uint64)
    got = np.empty_like(mine)
    thread = threading.Thread(target=b.exchange, args=(1, theirs, np.empty_like(mine)))
    thread.start()
    a.exchange(1, mine, got)
    thread.join(5)
    assert (got == 2).all() and a.clock.depth == b.clock.depth == 1


@KINDS
def test_wrong_length_and_wrong_step(kind):
    a, b = pair(kind)
    a.send(1, np.zeros(3, np.uint64))
    with pytest.raises(PartyError, match="server, at step 'conv1': the client sent 24 bytes where 32 belong"):
        b.receive(1, np.zeros(4, np.uint64))
    a, b = pair(kind)
    a.send(0)
    with pytest.raises(PartyError, match="server, at step 'conv1': the client sent a message for step 'input'"):
        b.receive(1)


@KINDS
def test_other_version_and_other_program(kind):
    a, b = pair(kind)
    a.send(2**32 - 1, np.frombuffer(struct.pack("<8sI4x16s", b"afx-2pc\0", 99, b"d" * 16), np.uint8))
    with pytest.raises(PartyError, match="server, at hello: the client speaks version 99, this is version 1"):
        b.check_greeting(1, b"d" * 16)
    a, b = pair(kind)
    a.send(2**32 - 1, np.frombuffer(struct.pack("<8sI4x16s", b"afx-2pc\0", 1, b"e" * 16), np.uint8))
    with pytest.raises(PartyError, match="has another program"):
        b.check_greeting(1, b"d" * 16)


@KINDS
def test_a_peer_that_hangs_up_or_says_nothing(kind):
    a, b = pair(kind, timeout=0.3)
    start = time.monotonic()
    with pytest.raises(PartyError, match="client, at step 'conv1': the server sent nothing for 0.3 s"):
        a.receive(1, np.zeros(4, np.uint64))
    b.close()
    with pytest.raises(PartyError, match="client, at step 'conv1': the server hung up"):
        a.receive(1, np.zeros(4, np.uint64))
    assert time.monotonic() - start < 2


def test_a_message_that_stops_half_way():
    a, b = tcp_pair(timeout=0.4)
    a._socket.sendall(struct.pack("<IIQd", 1, 1, 800, 0.0) + b"x" * 100)
    with pytest.raises(PartyError, match="step 'conv1'"):
        b.receive(1, np.zeros(100, np.uint64))


def test_garbage_instead_of_a_greeting():
    a, b = tcp_pair()
    a._socket.sendall(b"GET / HTTP/1.1\r\nHost: a-name-that-is-long-enough\r\n\r\n")
    with pytest.raises(PartyError, match="server, at hello: the client sent"):
        b.check_greeting(1, b"d" * 16)


@KINDS
def test_a_slow_link(kind):
    a, b = (Shaped(end, Network(rtt_ms=100, mbps=8)) for end in pair(kind))
    start = time.monotonic()
    a.send(1, np.zeros(12_500, np.uint64))  # 100 kB take 0.1 s, and half a round trip
    b.receive(1, np.zeros(12_500, np.uint64))
    assert 0.15 <= time.monotonic() - start < 0.3


def test_greetings_in_any_order():
    """Whoever the dealer's listener lets in first, nobody waits in a circle."""
    program, x = small()
    plan, numbers = program.native
    for order in (("client", "server"), ("server", "client")):
        trio = connect(plan, numbers, timeout=3)
        trio.dealer.links = {name: trio.dealer.links[name] for name in order}
        trio.server.links = {name: trio.server.links[name] for name in ("dealer", "client")}
        assert len(run(plan, numbers, x.double().numpy(), trio=trio)) == 1


def small(fraction=0.5):
    x = images(2)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    return compiled(model, x, lambda gm: replace(gm, fraction)), x


@pytest.mark.parametrize("who", ["client", "server", "dealer"])
@pytest.mark.parametrize("when", ["offline", "online"])
def test_a_party_that_fails_ends_the_run(who, when, monkeypatch):
    program, x = small()
    plan, numbers = program.native
    trio = connect(plan, numbers, timeout=5)
    party = getattr(trio, who)
    if when == "online" and who == "dealer":
        pytest.skip("the dealer is offline only")

    def fail(*_):
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr(party, {"client": {"offline": "_shares", "online": "infer"},
                                "server": {"offline": "_shares", "online": "infer"},
                                "dealer": {"offline": "serve"}}[who][when], fail)  # fmt: skip
    start = time.monotonic()
    with pytest.raises(RuntimeError, match="broken on purpose"):
        run(plan, numbers, x.double().numpy(), trio=trio)
    assert time.monotonic() - start < 4, "the others saw it at once"


def test_processes_answer_and_say_what_it_cost():
    program, x = small()
    with program.session(comparison="fss", timeout=60) as session:
        first, second = session.run(x), session.run(x[:1])
    plan = program.plan(comparison="fss")
    model = expected(plan, program.native[1], x.double().numpy())
    assert first.output.dtype == x.dtype
    for result, n in ((first, 2), (second, 1)):
        assert np.all(np.abs(result.output.double().numpy() - model.output[:n]) <= model.bound[:n] + 1e-6)
        cost = program.cost("lan", comparison="fss", batch=n)
        assert result.stats.online.rounds == cost.rounds == 6
        assert result.stats.online.bytes_sent == cost.online
        assert result.stats.offline.bytes_sent == {"client": 0, "server": 0, "dealer": 0} | cost.offline
        assert result.stats.setup.bytes_sent == cost.setup
        assert 0 < result.stats.online.seconds < 5 and 0 < result.stats.offline.seconds < 10


def test_run_is_one_call_on_a_shaped_network():
    program, x = small()
    result = program.run(x, backend="native", comparison="gmw", network=Network(rtt_ms=20, mbps=1000), timeout=60)
    assert result.output.shape == (2, 3)
    assert result.stats.online.seconds >= result.stats.online.rounds * 0.010


@pytest.mark.parametrize("role, how, message", [
    ("server", signal.SIGKILL, "server"), ("client", signal.SIGKILL, "client"), ("dealer", signal.SIGSTOP, "dealer"),
])  # fmt: skip
def test_a_process_that_dies_or_hangs(role, how, message):
    program, x = small()
    session = program.session(comparison="fss", timeout=2)
    try:
        processes = [p.pid for p in session._session.processes.values()]
        os.kill(session._session.processes[role].pid, how)
        start = time.monotonic()
        with pytest.raises(PartyError, match=message):
            session.run(x)
        assert time.monotonic() - start < 9
    finally:
        session.close()
    for pid in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    with pytest.raises(PartyError, match="this session is over"):
        session.run(x)


@pytest.mark.parametrize("options, message", [
    ({"timeout": 0}, "timeout must be above 0"), ({"threads": 0}, "threads at least 1"),
    ({"comparison": "ot"}, "comparison must be one of"), ({"network": "moon"}, "network must be"),
])  # fmt: skip
def test_bad_options(options, message):
    program, x = small()
    with pytest.raises(ValueError, match=message):
        program.run(x, backend="native", **options)


def test_the_client_process_gets_no_private_number():
    """What is pickled for client and dealer holds the plan alone."""
    import pickle

    program, _ = small()
    plan, numbers = program.native
    sent = pickle.dumps(plan)
    for found in numbers.values():
        for array in (found.weight, found.constant):
            if array is not None and array.size > 1 and np.ptp(array):
                assert array.tobytes() not in sent
