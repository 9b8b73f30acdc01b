"""The supervisor of processes: who is named, and that nobody stays."""

import contextlib
import gc
import os
import signal
import time

import pytest
import workers

from autorep_fx.errors import PartyError
from autorep_fx.secure.host import supervisor
from autorep_fx.secure.host.supervisor import Supervisor


@pytest.fixture
def parties():
    found = Supervisor()
    yield found
    found.close(patience=0)


def soon(seconds=30.0):
    return time.monotonic() + seconds


def gone(pid):
    for _ in range(200):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_reports_of_another_request_are_thrown_away(parties):
    """Those that are there already, and those that are still to come."""
    parties.start("a", workers.answer, "a", 0.2)
    for number in (1, 2, 3):
        parties.ask("a", number)
    parties.collect({("a", "done")}, soon(), 1)
    assert [r.number for r in parties.collect({("a", "done")}, soon(), 3)] == [3]


@pytest.mark.parametrize("how, said", [
    (signal.SIGSEGV, r"b failed: died with signal 11 \(SIGSEGV\)"), (signal.SIGKILL, "SIGKILL"), (3, "exit code 3"),
])  # fmt: skip
def test_who_died_is_named_before_its_echoes(parties, how, said, monkeypatch):
    """Also where it takes long to die (a large process writes its memory down): echoes alone are not believed."""
    monkeypatch.setattr(supervisor, "GRACE", 0.2)
    parties.start("a", workers.complain, "a", 0, "the peer hung up", True)
    parties.start("b", workers.die, "b", 1.0, how)
    parties.start("c", workers.complain, "c", 0.5, "the peer hung up", True)
    with pytest.raises(PartyError, match=said):
        parties.collect({(name, "done") for name in "abc"}, soon())


def test_who_complains_is_named_before_echoes_and_the_silent_with_it(parties, monkeypatch):
    monkeypatch.setattr(supervisor, "GRACE", 1.5)
    parties.start("a", workers.complain, "a", 0, "the peer hung up", True)
    parties.start("b", workers.complain, "b", 0.5, "no such number", False)
    parties.start("c", workers.answer, "c")
    pids = [process.pid for process in parties.processes.values()]
    with pytest.raises(PartyError, match="^b failed: no such number; no word from: c$"):
        parties.collect({(name, "done") for name in "abc"}, soon())
    assert all(map(gone, pids)) and parties.closed


def test_an_answer_that_is_there_counts_though_somebody_died_since(parties):
    parties.start("a", workers.answer, "a")
    parties.start("b", workers.die, "b", 0, 3)
    parties.processes["b"].join()
    parties.ask("a", 1)
    assert len(parties.collect({("a", "done")}, soon(), 1)) == 1
    with pytest.raises(PartyError, match="b failed: died with exit code 3"):
        parties.collect({("a", "done"), ("b", "done")}, soon(), 2)


def test_silence_has_an_end(parties):
    parties.start("a", workers.answer, "a")
    with pytest.raises(PartyError, match="no answer after .* s from: a"):
        parties.collect({("a", "done")}, soon(0.2))


def test_a_message_is_not_waited_for(parties):
    """A process that stopped reads nothing; its supervisor goes on, and can end it."""
    parties.start("a", workers.answer, "a")
    os.kill(parties.processes["a"].pid, signal.SIGSTOP)
    parties.ask("a", bytes(10_000_000))
    with pytest.raises(PartyError, match="no answer after"):
        parties.collect({("a", "done")}, soon(0.2))
    assert gone(parties.processes["a"].pid)


def test_who_forgets_to_close_leaves_nobody():
    forgotten = Supervisor()
    forgotten.start("a", workers.answer, "a")
    pid = forgotten.processes["a"].pid
    del forgotten
    gc.collect()
    assert gone(pid)


@pytest.mark.parametrize("at", range(3))
def test_who_is_interrupted_while_starting_leaves_nobody(at, monkeypatch):
    """Before the threads of a process are there, between them, and behind them."""
    started, parties = [], Supervisor()
    interpreter, thread = supervisor.Interpreter, supervisor.threading.Thread

    def begun(*args):
        started.append(interpreter(*args))
        return started[-1]

    class Interrupted(thread):
        left = at

        def start(self):
            if Interrupted.left == 0:
                raise KeyboardInterrupt
            Interrupted.left -= 1
            super().start()

    monkeypatch.setattr(supervisor, "Interpreter", begun)
    monkeypatch.setattr(supervisor.threading, "Thread", Interrupted)
    with pytest.raises(KeyboardInterrupt) if at < 2 else contextlib.nullcontext():
        parties.start("a", workers.answer, "a")
    monkeypatch.undo()
    parties.close(patience=0)
    pid = started.pop().pid
    assert gone(pid)
