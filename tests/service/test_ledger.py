"""The ledger: a number is prepared once, claimed once, and open ones of a process that is gone are burned."""

import sqlite3
import subprocess
import sys
import threading

import pytest

from autorep_fx.errors import FormatError, PartyError
from autorep_fx.service.ledger import Ledger


def states(ledger):
    return {number: state for _, number, _, state in ledger.lines()}


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
    script = ("import sys, os\nfrom autorep_fx.service.ledger import Ledger\n"
              "Ledger(sys.argv[1], 'client', many=True).prepare('dead', 1, 'alice')\nos._exit(9)")  # fmt: skip
    one = Ledger(path, "client", many=True)
    one.prepare("s", 1, "alice")
    assert subprocess.run([sys.executable, "-c", script, path]).returncode == 9
    other = Ledger(path, "client", many=True)
    assert [line[::3] for line in other.lines()] == [("dead", "burned"), ("s", "prepared")]
    one.claim("s", 1)


def test_threads_and_processes_claim_a_number_once(tmp_path):
    ledger, won = Ledger(tmp_path / "ledger", "server"), []
    for number in range(50):
        ledger.prepare("s", number, "alice")
    script = (
        "import sys\nfrom autorep_fx.service.ledger import Ledger\nledger, won = Ledger(sys.argv[1], sys.argv[2]), 0\n"
        "for number in range(50):\n    try:\n        ledger.claim('s', number)\n        won += 1\n"
        "    except RuntimeError:\n        pass\nprint(won)"
    )
    others = [subprocess.Popen([sys.executable, "-c", script, tmp_path / "ledger", f"replica {i}"], text=True,
                               stdout=subprocess.PIPE) for i in range(2)]  # fmt: skip

    def claim():
        for number in range(50):
            try:
                ledger.claim("s", number)
                won.append(number)
            except PartyError:
                pass

    threads = [threading.Thread(target=claim) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) + sum(int(other.communicate()[0]) for other in others) == 50


def test_what_is_no_ledger(tmp_path):
    (tmp_path / "text").write_text("not a ledger, but long enough to be looked at as one" * 100)
    with pytest.raises(FormatError, match="text is no ledger"):
        Ledger(tmp_path / "text", "server")
    sqlite3.connect(tmp_path / "empty").close()
    assert not Ledger(tmp_path / "empty", "server").lines()
