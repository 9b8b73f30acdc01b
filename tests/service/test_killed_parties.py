"""Whoever is killed when: every answer is right or an error that names the cause, and no number is used twice."""

import signal
import socket
import threading
import time

import numpy as np
import pytest
from services import all_ended, right, until

from autorep_fx.errors import PartyError


def test_a_dealer_that_dies_and_comes_back(published, provider):
    started, x = provider(server__depth=3), published[2]
    with started.connect(depth=3) as client:
        assert client.wait() == 3
        started.processes["dealer"].kill()
        for i in range(3):
            assert right(published, client.run(x[i : i + 1]), x[i : i + 1]), "what is prepared needs no dealer"
        with pytest.raises(PartyError, match="dealer"):
            client.run(x[:1], timeout=2.0)
        started.start("dealer")
        assert right(published, client.run(x[:1]), x[:1])
    check_ledgers(started)


def test_a_server_that_dies_and_comes_back(published, provider):
    started, x = provider(), published[2]
    with started.connect(depth=2) as client:
        client.wait()
        started.processes["server"].kill()
        again = threading.Timer(0.5, started.start, ("server",))  # until then nobody listens there
        again.start()
        assert right(published, client.run(x[:1], timeout=40.0), x[:1]), "asked again in a new session"
        again.join()
    check_ledgers(started)


def test_a_client_that_leaves_in_the_middle(published, provider):
    started, x = provider(), published[2]
    client = started.connect(depth=2)
    client.wait()
    session = client._session
    number = session.pool.next(1, 0.0)
    session._online.send(2**32 - 3, np.array([number], np.int64))  # and nothing more
    for link in session._channels:
        link.close()
    until(lambda: (session.name, number, "alice", "burned") in started.ledger("server"))
    until(lambda: all_ended(started.ledger("server")))
    with started.connect("bob") as other:
        assert right(published, other.run(x[:1]), x[:1])


def test_no_number_is_used_twice_whoever_is_killed_when(published, provider, tmp_path):
    started, x, rng = provider(), published[2], np.random.default_rng(0)
    stop, failed, answered = threading.Event(), [], []

    def ask():
        with started.connect(depth=2, timeout=60.0, state=tmp_path / "client") as client:
            while not stop.is_set():
                i = len(answered) % 32
                try:
                    result = client.run(x[i : i + 1], timeout=60.0)
                except PartyError as error:
                    failed.append(str(error))
                else:
                    answered.append(right(published, result, x[i : i + 1]))

    thread = threading.Thread(target=ask)
    thread.start()
    until(lambda: len(answered) > 3)
    for victim in ("server", "dealer"):
        time.sleep(rng.uniform(0, 0.3))
        started.processes[victim].kill()
        before = len(answered)
        time.sleep(rng.uniform(0, 0.5))
        started.start(victim)
        until(lambda before=before: len(answered) > before + 3, 60)
    stop.set()
    thread.join(60)
    assert all(answered), "every answer is right"
    from autorep_fx.service.ledger import Ledger

    lines = Ledger(tmp_path / "client" / "client.sqlite", "a test").lines()
    # A dealer that is killed between the last byte of an inference and the line that says so burns it when it returns.
    check_ledgers(started, lines, dealt=("done", "burned"))


def check_ledgers(provider, lines=None, dealt=("done",)):
    """Each party used a number at most once, and the server none that the dealer did not deal.

    dealt: states of what the dealer has dealt.
    """
    server, dealer = (provider.ledger(name) for name in ("server", "dealer"))
    for found in (server, dealer, lines or []):
        numbers = [line[:2] for line in found]
        assert len(numbers) == len({*numbers}), "the key of the table"
    done = {line[:2] for line in server if line[3] == "done"}
    assert done <= {line[:2] for line in dealer if line[3] in dealt}
    if lines is not None:
        assert {line[:2] for line in lines if line[3] == "done"} <= done | {
            line[:2] for line in server if line[3] == "burned"
        }


def test_what_a_killed_server_had_on_disk_is_removed_when_it_starts_again(published, provider):
    started = provider(server__disk=True)
    with started.connect(depth=2) as client:
        assert client.wait() == 2
        until(lambda: len([*started.folder.glob("server/prepared/*/*.sealed")]) == 2)
        started.processes["server"].kill()
        assert [*started.folder.glob("server/prepared/*/*.sealed")]
        started.start("server")
        assert not [*started.folder.glob("server/prepared/*")]


def test_sigterm_ends_what_runs_and_no_more(published, provider):
    started, x, answers, errors = provider(server__depth=3), published[2], [], []

    def ask(client):
        try:
            while True:
                answers.append(right(published, client.run(x, timeout=3.0), x))
        except PartyError as error:
            errors.append(str(error))

    with started.connect(depth=3, batch=32) as client:
        thread = threading.Thread(target=ask, args=(client,))
        thread.start()
        until(lambda: len(answers) > 2)
        host, port = started.at("server").split(":")
        silent = [socket.create_connection((host, int(port))) for _ in range(3)]
        start = time.monotonic()
        assert started.processes["server"].kill(signal.SIGTERM) == 0
        assert time.monotonic() - start < 5, "it does not wait for those who say nothing"
        for each in silent:
            each.close()
        assert started.processes["server"].said("stopped")
        thread.join(10)
    assert all(answers) and "server" in errors[0]
    assert started.processes["dealer"].kill(signal.SIGTERM) == 0
    assert all_ended(started.ledger("server"))
    states = [line[3] for line in started.ledger("server")]
    assert states.count("done") == len(answers), "what ran was finished"
