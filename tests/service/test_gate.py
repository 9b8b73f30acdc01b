"""A gate that closes while somebody comes in."""

import socket
import threading
import time

from forks import said_in_a_fork

from autorep_fx.service.gate import Gate


def test_who_comes_in_while_it_closes_does_not_keep_it_from_waiting_for_the_others(monkeypatch):
    starting = threading.Event()

    class Slow(threading.Thread):
        def start(self):
            starting.set()
            time.sleep(0.3)
            super().start()

    gate = Gate("server", ("127.0.0.1", 0), None, 8, lambda channel, name: None)
    runs = threading.Thread(target=gate.run)
    runs.start()
    monkeypatch.setattr(threading, "Thread", Slow)
    with socket.create_connection(gate.address):
        assert starting.wait(5)
        gate.close(5)  # a thread cannot be joined before it is started
    runs.join(5)
    assert not runs.is_alive()


def test_a_fork_neither_listens_at_its_parent_s_gate_nor_closes_it():
    came = threading.Event()
    gate = Gate("server", ("127.0.0.1", 0), None, 8, lambda channel, name: came.set())
    ran, closed = said_in_a_fork(gate.run, gate.close)
    assert "the gate of this server belongs to the process that started it" in ran and closed == ""
    threading.Thread(target=gate.run, daemon=True).start()
    with socket.create_connection(gate.address):
        assert came.wait(5)
    gate.close(5)
