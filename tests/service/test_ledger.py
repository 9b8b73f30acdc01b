"""The ledger: a number is prepared once, claimed once, and open ones of a process that is gone are burned."""

import os
import sqlite3
import threading

import pytest
from forks import FORKS

from autorep_fx.errors import FormatError, PartyError
from autorep_fx.service.ledger import Ledger


def states(ledger):
    return {number: state for _, number, _, state in ledger.lines()}


def prepare_and_die(path):
    Ledger(path, "client", many=True).prepare("dead", 1, "alice")
    os._exit(9)


def claim(ledger, start):
    """How many of 50 numbers it got."""
    start.wait(60)
    won = 0
    for number in range(50):
        try:
            ledger.claim("s", number)
            won += 1
        except PartyError:
            pass
    return won


def replica(path, name, start, found):
    found.put(claim(Ledger(path, name), start))


@pytest.mark.parametrize("kept", [False, True])
def test_a_number_is_used_once(kept, tmp_path):
    ledger = Ledger(tmp_path / "ledger" if kept else None, "server")
    ledger.prepare("s", 1, "alice")
    with pytest.raises(PartyError, match="inference 1 of session s is in the ledger already"):
        ledger.prepare("s", 1, "alice")
    ledger.claim("s", 1)
    ledger.prepare("other", 1, "alice")
    for number in (1, 2):
        with pytest.raises(PartyError, match=f"inference {number} of session s may not be used"):
            ledger.claim("s", number)
    ledger.done("s", 1)
    with pytest.raises(PartyError):
        ledger.claim("s", 1)
    ledger.burn("s", 1)
    assert states(ledger)[1] in ("done", "prepared") and ledger.lines()[1][3] == "done", "what is done stays done"


def test_what_is_open_is_burned(tmp_path):
    ledger = Ledger(tmp_path / "ledger", "server")
    for number in (1, 2, 3, 4):
        ledger.prepare("s", number, "alice")
    for number in (1, 2, 3):
        ledger.claim("s", number)
    ledger.done("s", 1)
    ledger.burn("s", 2)
    another = Ledger(tmp_path / "ledger", "server of another port")
    assert states(another) == {1: "done", 2: "burned", 3: "claimed", 4: "prepared"}
    again = Ledger(tmp_path / "ledger", "server")
    assert states(again) == {1: "done", 2: "burned", 3: "burned", 4: "burned"}
    with pytest.raises(PartyError):
        ledger.claim("s", 4)
    again.forget(days=-1)
    assert not again.lines()


def test_several_of_a_name_do_not_burn_one_another_s(tmp_path):
    path = tmp_path / "ledger"
    one = Ledger(path, "client", many=True)
    one.prepare("s", 1, "alice")
    dead = FORKS.Process(target=prepare_and_die, args=(path,))
    dead.start()
    dead.join(60)
    assert dead.exitcode == 9
    other = Ledger(path, "client", many=True)
    assert [line[::3] for line in other.lines()] == [("dead", "burned"), ("s", "prepared")]
    one.claim("s", 1)


def test_threads_and_processes_claim_a_number_once(tmp_path):
    ledger, won = Ledger(tmp_path / "ledger", "server"), []
    for number in range(50):
        ledger.prepare("s", number, "alice")
    start, found = FORKS.Barrier(5), FORKS.SimpleQueue()
    others = [FORKS.Process(target=replica, args=(tmp_path / "ledger", f"replica {i}", start, found)) for i in range(2)]
    threads = [threading.Thread(target=lambda: won.append(claim(ledger, start))) for _ in range(3)]
    for each in others + threads:
        each.start()
    for each in others + threads:
        each.join(60)
    assert len(won) == 3 and sum(won) + found.get() + found.get() == 50


def test_what_is_no_ledger(tmp_path):
    (tmp_path / "text").write_text("not a ledger, but long enough to be looked at as one" * 100)
    with pytest.raises(FormatError, match="text is no ledger"):
        Ledger(tmp_path / "text", "server")
    sqlite3.connect(tmp_path / "empty").close()
    assert not Ledger(tmp_path / "empty", "server").lines()
