"""The ledger: a number is prepared once, claimed once, and open ones of a process that is gone are burned."""

import contextlib
import os
import random
import sqlite3
import threading

import pytest
from forks import FORKS, said_in_a_fork

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


def test_several_begin_one_at_once(tmp_path):
    """SQLite does not wait for the other where both of two change the kind of log that a new file has."""

    def begin():
        together.wait(10)
        try:
            Ledger(path, "client", many=True).close()
        except FormatError as error:
            refused.append(str(error))

    refused: list[str] = []
    for i in range(20):
        path, together = tmp_path / f"ledger{i}", threading.Barrier(4)
        threads = [threading.Thread(target=begin) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not refused


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


def test_a_fork_opens_a_ledger_for_itself(tmp_path):
    ledger = Ledger(tmp_path / "ledger", "client", many=True)
    ledger.prepare("s", 1, "alice")
    with ledger._lock:  # of a thread that a fork does not have
        *said, closed, own = said_in_a_fork(
            lambda: ledger.claim("s", 1), lambda: ledger.burn("s"), lambda: ledger.prepare("s", 2, "alice"),
            ledger.lines, lambda: ledger.forget(1), ledger.close,
            lambda: Ledger(tmp_path / "ledger", "client", many=True).lines(),
        )  # fmt: skip
    assert all("this ledger belongs to the process that started it" in each for each in said), said
    assert closed == own == ""
    ledger.claim("s", 1)
    assert states(ledger) == {1: "claimed"}


def modes(folder):
    return {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o277])
def test_a_ledger_and_its_folders_are_its_owner_s_alone(umask, tmp_path):
    before = os.umask(umask)
    try:
        ledger = Ledger(tmp_path / "home" / "state" / "ledger", "server")
        ledger.prepare("s", 1, "alice")
        assert modes(tmp_path / "home" / "state") == {"ledger": 0o600, "ledger-wal": 0o600, "ledger-shm": 0o600}
        assert modes(tmp_path)["home"] == modes(tmp_path / "home")["state"] == 0o700
    finally:
        os.umask(before)


def test_a_ledger_of_an_earlier_version_is_closed_to_others(tmp_path, caplog, monkeypatch):
    path = tmp_path / "ledger"
    first = Ledger(path, "one")
    first.prepare("s", 1, "alice")
    for each in tmp_path.iterdir():
        each.chmod(0o644)
    Ledger(path, "two").close()
    assert {*modes(tmp_path).values()} == {0o600} and len(caplog.messages) == 3
    assert f"{path} was open to others (mode 644), who may have read it" in caplog.messages[0]
    caplog.clear()
    Ledger(path, "two").close()
    assert not caplog.messages and states(first) == {1: "prepared"}
    path.chmod(0o664)

    def chmod(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("pathlib.Path.chmod", chmod)
    with pytest.raises(FormatError, match="ledger is open to others .mode 664., and cannot be closed: Operation not"):
        Ledger(path, "three")


def test_a_folder_that_others_may_write_to_is_warned_of(tmp_path, caplog):
    for mode, told in ((0o755, 0), (0o1777, 0), (0o775, 1)):
        tmp_path.chmod(mode)
        Ledger(tmp_path / "ledger", "server").close()
        assert len(caplog.messages) == told and tmp_path.stat().st_mode & 0o1777 == mode
    assert f"others may write to {tmp_path}, and replace what lies there: chmod go-w" in caplog.messages[0]


def test_what_is_no_ledger(tmp_path):
    (tmp_path / "text").write_text("not a ledger, but long enough to be looked at as one" * 100)
    with pytest.raises(FormatError, match="text is no ledger"):
        Ledger(tmp_path / "text", "server")
    sqlite3.connect(tmp_path / "empty").close()
    assert not Ledger(tmp_path / "empty", "server").lines()


def test_a_damaged_ledger_is_the_documented_error_or_is_read(tmp_path):
    """Whatever byte of it was changed, when it is opened and when it is used."""
    path, rng = tmp_path / "ledger", random.Random(0)
    whole = Ledger(path, "server", many=True)
    for number in range(100):
        whole.prepare("s" * 40, number, "alice")
    whole.close()
    good, refused = path.read_bytes(), 0
    for i in range(150):
        damaged = bytearray(good)
        if i < 20:
            damaged = damaged[: rng.randrange(len(good))]
        else:
            at = rng.randrange(200 if i < 80 else len(good))
            damaged[at : at + 8] = rng.randbytes(8)
        for beside in tmp_path.iterdir():
            beside.unlink()
        path.write_bytes(damaged)
        try:
            ledger = Ledger(path, "server", many=True)
        except FormatError as error:
            refused += str(path) in str(error)
            continue
        with contextlib.suppress(PartyError):
            ledger.prepare("t", 1, "alice")
            ledger.claim("t", 1)
            ledger.lines()
            ledger.forget(1)
        ledger.close()
    assert refused > 30


@pytest.mark.parametrize("change, message", [
    ("alter table inferences add column more text", "its table is of another kind"),
    ("drop table inferences; create table inferences (a, b)", "its table is of another kind"),
    ("insert into inferences values ('s', 1, 'a', 'server x y', 'prepared', 0)", "an owner in it is none"),
    ("insert into inferences values ('s', 1, 'a', 'server ', 'prepared', 0)", "an owner in it is none"),
    (f"insert into inferences values ('s', 1, 'a', 'server {10**30} x', 'prepared', 0)", "an owner in it is none"),
    ("insert into inferences values ('s', 1, 'a', cast(x'ff20ff20ff' as text), 'prepared', 0)", None),
])  # fmt: skip
def test_a_ledger_that_somebody_has_written_into(tmp_path, change, message):
    Ledger(tmp_path / "ledger", "server").close()
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger")) as base:
        base.executescript(change)
    if message is None:
        assert Ledger(tmp_path / "ledger", "server", many=True)
        return
    with pytest.raises(FormatError, match=f"ledger is no ledger, or is damaged: {message}; move it away"):
        Ledger(tmp_path / "ledger", "server", many=True)


def test_a_ledger_that_cannot_be_opened_or_written(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "ledger", tmp_path / "folder"):
        with pytest.raises(FormatError, match=f"{path} cannot be used as a ledger"):
            Ledger(path, "server")
    ledger = Ledger(tmp_path / "ledger", "server")
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger")) as base:
        base.execute("drop table inferences")
    with pytest.raises(PartyError, match="ledger cannot be read or written: no such table"):
        ledger.prepare("s", 1, "alice")
