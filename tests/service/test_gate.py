"""A gate: who says nothing, and who comes in while it closes, keeps nobody else out."""

import contextlib
import socket
import threading
import time

import pytest
from forks import said_in_a_fork

from autorep_fx.errors import PartyError
from autorep_fx.secure.link.message import HEADER, LETTER
from autorep_fx.secure.link.stream import StreamChannel
from autorep_fx.service import gate as module
from autorep_fx.service.gate import Gate, counted
from autorep_fx.service.greeting import ask_for

#: Two machines.
ONE, OTHER = "127.0.0.2", "127.0.0.3"


@pytest.fixture
def opened():
    """A gate behind which those who have said what they want are answered."""
    gates, threads = [], []

    def start(most, strangers):
        def answer(channel, name):
            channel.receive_letter(wants=str)
            gates[-1].welcome(channel)
            channel.send_letter()
            channel.receive_letter()

        gates.append(Gate("server", ("127.0.0.1", 0), None, most, strangers, answer))
        threads.append(threading.Thread(target=gates[-1].run))
        threads[-1].start()
        return gates[-1]

    with contextlib.ExitStack() as connections:
        yield (
            start,
            lambda gate, source: connections.enter_context(
                socket.create_connection(gate.address, timeout=5, source_address=(source, 0))
            ),
        )
    for gate, thread in zip(gates, threads):
        gate.close(5)
        thread.join(5)
        assert not thread.is_alive()


def answered(connection):
    channel = StreamChannel(connection, "client", "server", timeout=5)
    ask_for(channel, "session", "0" * 64)
    channel.receive_letter()
    return True


def hung_up(connection):
    connection.settimeout(5)
    return connection.recv(1) == b""


def test_who_comes_in_while_it_closes_does_not_keep_it_from_waiting_for_the_others(monkeypatch):
    starting = threading.Event()

    class Slow(threading.Thread):
        def start(self):
            starting.set()
            time.sleep(0.3)
            super().start()

    gate = Gate("server", ("127.0.0.1", 0), None, 8, 8, lambda channel, name: None)
    runs = threading.Thread(target=gate.run)
    runs.start()
    monkeypatch.setattr(threading, "Thread", Slow)
    with socket.create_connection(gate.address):
        assert starting.wait(5)
        gate.close(5)  # a thread cannot be joined before it is started
    runs.join(5)
    assert not runs.is_alive()


def test_one_address_has_so_many_strangers_and_not_more(opened):
    start, connect = opened
    gate = start(most=8, strangers=2)
    silent = [connect(gate, ONE) for _ in range(2)]
    assert hung_up(connect(gate, ONE)), "the others have had no time to speak yet"
    assert answered(connect(gate, OTHER)) and answered(silent[0]), "who has spoken is no stranger any more"
    for _ in range(2):
        assert answered(connect(gate, ONE))


def test_who_was_silent_longest_makes_room_for_its_neighbour(opened, monkeypatch):
    monkeypatch.setattr(module, "_A_MOMENT", 0.0)
    start, connect = opened
    gate = start(most=8, strangers=2)
    first, second = connect(gate, ONE), connect(gate, ONE)
    assert answered(connect(gate, ONE)) and hung_up(first) and answered(second)


def test_where_all_connections_are_taken_the_address_with_most_strangers_gives_one(opened, monkeypatch):
    monkeypatch.setattr(module, "_A_MOMENT", 0.0)
    start, connect = opened
    gate = start(most=5, strangers=5)
    waits = connect(gate, OTHER)
    silent = [connect(gate, ONE) for _ in range(4)]
    assert answered(connect(gate, "127.0.0.4")) and hung_up(silent[0]), "not the oldest of all, who is alone"
    spoken = [waits, *silent[1:]]
    assert all(answered(each) for each in spoken)
    assert hung_up(connect(gate, "127.0.0.5")), "no stranger is there that could make room"


def test_who_says_what_it_wants_letter_by_letter_has_no_more_time(opened, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 1.0)
    start, connect = opened
    slow, began = connect(start(most=8, strangers=8), ONE), time.monotonic()
    with contextlib.suppress(OSError):
        slow.sendall(HEADER.pack(LETTER, 1, 100, 0)[:-1])
        time.sleep(0.8)
        while time.monotonic() - began < 5:
            slow.sendall(b"\0")
            time.sleep(0.05)
    assert 0.8 < time.monotonic() - began < 1.6


def test_what_an_address_is_counted_as():
    assert counted("192.0.2.7") == counted("::ffff:192.0.2.7") == "192.0.2.7"
    assert counted("2001:db8::1") == counted("2001:db8::ffff:2") == "2001:db8::/64" != counted("2001:db8:0:1::1")
    assert counted("fe80::1%eth0") == "fe80::/64"


def test_a_port_that_is_taken_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PartyError, match=f"listen: cannot listen on 127.0.0.1:{port}: another process has it"):
            Gate("server", ("127.0.0.1", port), None, 8, 8, lambda channel, name: None)
    with pytest.raises(PartyError, match="192.0.2.1:7: this machine has no such address"):
        Gate("server", ("192.0.2.1", 7), None, 8, 8, lambda channel, name: None)


def test_a_fork_neither_listens_at_its_parent_s_gate_nor_closes_it():
    came = threading.Event()
    gate = Gate("server", ("127.0.0.1", 0), None, 8, 8, lambda channel, name: came.set())
    ran, closed = said_in_a_fork(gate.run, gate.close)
    assert "the gate of this server belongs to the process that started it" in ran and closed == ""
    threading.Thread(target=gate.run, daemon=True).start()
    with socket.create_connection(gate.address):
        assert came.wait(5)
    gate.close(5)
