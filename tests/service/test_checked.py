"""A checked program as a service: real processes, and clients of this process that do not follow the protocol."""

import dataclasses
import signal
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from services import Provider, all_ended, free_port, right, until
from torch import nn

import autorep_fx as ar
from autorep_fx.cli import main
from autorep_fx.errors import CheckFailed, PartyError, PeerLost, Refused
from autorep_fx.secure.files import load_published, publish
from autorep_fx.secure.link.message import CHALLENGE_BYTES, CHECK
from autorep_fx.secure.link.stream import StreamChannel
from autorep_fx.secure.link.tls import Identity
from autorep_fx.secure.parties import check
from autorep_fx.secure.parties.check import challenge
from autorep_fx.secure.plan.input_range import InputRange
from autorep_fx.service import client as clients
from autorep_fx.service import client_session
from autorep_fx.service.certificates import make_certificates
from autorep_fx.service.ledger import Ledger
from autorep_fx.service.refusals import refusals_in

FAILED = "the client's messages did not pass the check$"
REFUSED = "'{}' is refused here, for a check of its messages has failed"


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """A checked program's folder, its public part, certificates; a network in plaintext and inputs of it."""
    folder = tmp_path_factory.mktemp("checked")
    torch.manual_seed(0)
    x = torch.randn(32, 3, 8, 8)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(16, 5))
    gm = ar.transform(net.eval(), example_inputs=x[:1])
    ar.compile(gm, x, checked=True).save(folder / "program")
    publish(folder / "program", folder / "public")
    names = ("alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "kim", "leo")
    make_certificates(folder / "certificates", ["server", "dealer", *names])
    return folder, gm, x


@pytest.fixture(scope="module")
def services(checked, tmp_path_factory):
    """A dealer and a server; each test has a client's name of its own."""
    folder = checked[0]
    started = Provider(tmp_path_factory.mktemp("provider"), folder / "certificates", folder / "program",
                       folder / "public", server__metrics="127.0.0.1:0", timeout=3)  # fmt: skip
    yield started
    started.close()


def table(services, who):
    return {line.name: line for line in refusals_in(services.folder / who).lines()}


def sends(link, change):
    """What a client sends on a link goes through ``change`` first, which returns None for nothing."""
    send = link.send

    def changed(index, *arrays):
        found = change(index, *arrays)
        if found is not None:
            send(index, *found)

    link.send = changed


def adding(plan, op):
    """Changes a bit of one number in the first message of an operation."""

    def change(index, *arrays):
        if index < len(plan.steps) and plan.steps[index].op == op:
            arrays[0].reshape(-1)[3] ^= np.uint64(1 << 31)
        return arrays

    return change


def assert_refused(services, name, *, burned=True):
    """By both, with the same line, and every inference of the session is ended in their ledgers."""
    for who in ("server", "dealer"):
        until(lambda who=who: name in table(services, who))
    mine, theirs = (table(services, who)[name] for who in ("server", "dealer"))
    assert mine[:4] == theirs[:4] and len(mine.fingerprint) == 64
    until(lambda: all_ended([line for line in services.ledger("server") if line[0] == mine.session]))
    for who in ("server", "dealer"):
        assert (mine.session, mine.number, name, "burned") in services.ledger(who)
    (line,) = [line for line in services.processes["server"].lines if line.get("client") == name
               and line["event"].startswith("a check has failed")]  # fmt: skip
    assert line["level"] == "error" and line["fingerprint"] == mine.fingerprint
    return mine


def test_a_checked_program_is_answered_as_any_other(checked, services, tmp_path):
    x = checked[2]
    with services.connect("alice", state=tmp_path, disk=True, depth=2) as client:
        for n in (1, 3, 1):
            assert right(checked, client.run(x[:n]), x[:n])
        assert client.wait() == 2
        beyond = x[:1].clone()
        beyond[0, 1, 2, 2], beyond[0, 2, 3, 3] = 1e4, -3e6
        low, high = (torch.from_numpy(end).float().view(-1, 1, 1) for end in
                     InputRange.of_plan(client.public.plan).admitted)  # fmt: skip
        result = client.run(beyond, check_range=False)
        assert right(checked, result, beyond.clamp(low, high)), "it gets no answer to what lies outside"
    assert all_ended(Ledger(tmp_path / "client.sqlite", "a test").lines())
    assert "alice" not in table(services, "server")


def test_one_challenge_asks_about_all_that_is_prepared_at_once(checked, services):
    x, asked = checked[2], []
    with services.connect("alice", depth=4) as client:
        assert client.wait() == 4
        sends(client._session._offline, lambda index, *arrays: asked.append(index) or arrays)
        for i in range(6):
            assert right(checked, client.run(x[i : i + 1]), x[i : i + 1])
        assert client.wait() > 2 and 0 < asked.count(CHECK) < 6
        session = client._session.name
    of_dealer = [state for name, _, _, state in services.ledger("dealer") if name == session]
    assert {*of_dealer} == {"done"} and len(of_dealer) >= 9


def test_a_dealer_with_room_for_fewer_deals_fewer_at_once(checked, tmp_path):
    folder, x = checked[0], checked[2]
    started = Provider(tmp_path, folder / "certificates", folder / "program", folder / "public",
                       dealer__client_held=2)  # fmt: skip
    try:
        with started.connect("alice", depth=4) as client:
            assert client.wait() == 4
            for i in range(4):
                assert right(checked, client.run(x[i : i + 1]), x[i : i + 1])
        until(lambda: all_ended(started.ledger("server")))
    finally:
        started.close()


def test_a_client_that_deviates_while_it_is_answered_gets_nothing_and_is_refused(checked, services, tmp_path):
    x = checked[2]
    with services.connect("bob", state=tmp_path) as bob, services.connect("carol") as carol:
        session = bob._session
        link = session._answering.links["server"]
        assert right(checked, bob.run(x[:2]), x[:2])
        sends(link, adding(bob.public.plan, "activation"))
        with pytest.raises(PartyError, match=FAILED):
            bob.run(x[:2])
        line = assert_refused(services, "bob")
        assert (line.session, line.number, "bob", "burned") in [
            (*each[:2], "bob", each[3]) for each in Ledger(tmp_path / "client.sqlite", "a test").lines()
        ]
        with pytest.raises(PartyError, match=REFUSED.format("bob")):
            bob.run(x[:1])
        assert right(checked, carol.run(x[:1]), x[:1])
    with pytest.raises(PartyError, match=REFUSED.format("bob")):
        services.connect("bob")
    for who in ("server", "dealer"):
        assert main(["refused", "--state", str(services.folder / who), "--clear", "bob"]) == 0
    with services.connect("bob") as bob:
        assert right(checked, bob.run(x[:1]), x[:1])


@pytest.mark.parametrize("name, where", [("kim", "online"), ("leo", "offline")])
def test_who_answers_a_challenge_wrongly_is_refused(name, where, checked, services):
    x = checked[2]
    with services.connect(name, timeout=5.0) as client:
        client.wait()
        session = client._session
        link = session._offline if where == "offline" else session._answering.links["server"]

        def change(index, *arrays):
            if index == CHECK:
                arrays[0].reshape(-1)[-1] += np.uint64(1)
            return arrays

        sends(link, change)
        if where == "offline":
            assert right(checked, client.run(x[:1]), x[:1])
        else:
            with pytest.raises(PartyError, match=FAILED):
                client.run(x[:1])
        assert_refused(services, name)
        with pytest.raises(PartyError, match=REFUSED.format(name)):
            client.run(x[:1])


def test_a_client_that_deviates_while_it_prepares_is_refused_and_nothing_of_it_waits(checked, services):
    x = checked[2]
    with services.connect("dave", timeout=5.0) as dave:
        assert dave.wait() == 1
        session = dave._session
        sends(session._offline, adding(dave.public.plan, "map"))
        assert right(checked, dave.run(x[:1]), x[:1])
        assert_refused(services, "dave")
        with pytest.raises(PartyError, match=REFUSED.format("dave")):
            dave.run(x[:1])
        assert session.waiting() == 0


@pytest.mark.parametrize("name, hangs_up", [("erin", True), ("frank", False)])
def test_silence_behind_the_challenge_is_a_check_that_failed(name, hangs_up, checked, services):
    x = checked[2]
    client = services.connect(name)
    client.wait()
    link = client._session._answering.links["server"]

    def silent(index, *arrays):
        if index != CHECK:
            return arrays
        if hangs_up:
            link.close()
            raise PeerLost("it hung up")
        return None

    sends(link, silent)
    with pytest.raises(PartyError, match=FAILED if not hangs_up else REFUSED.format(name)):
        client.run(x[:1])
    assert_refused(services, name)
    client.close()


def test_a_link_that_is_lost_before_the_challenge_is_no_check_that_failed(checked, services):
    x = checked[2]
    with services.connect("grace") as client:
        client.wait()
        link, times = client._session._answering.links["server"], [2]

        def lost(index, *arrays):
            times[0] -= 1
            if not times[0]:
                link.close()
                raise PeerLost("it hung up")
            return arrays

        sends(link, lost)
        assert right(checked, client.run(x[:1]), x[:1]), "in a new session"
    assert "grace" not in table(services, "server")


@pytest.fixture
def link():
    """A server's channel to a client, and the client's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        other, _ = listener.accept()
    ends = StreamChannel(one, "server", "client", timeout=5.0), StreamChannel(other, "client", "server", timeout=5.0)
    yield ends
    for end in ends:
        end.close()


@pytest.mark.parametrize("seconds, error", [(0.0, PeerLost), (0.3, CheckFailed)])
def test_who_was_gone_before_the_challenge_has_not_failed_and_who_goes_behind_it_has(seconds, error, link):
    server, client = link
    leaves = threading.Timer(seconds, client.close)
    leaves.start()
    if not seconds:
        leaves.join()
    with pytest.raises(PartyError) as said:
        challenge(server, np.zeros(1, np.uint64))
    assert type(said.value) is error
    leaves.join()


@pytest.mark.parametrize("left", [0.1, -0.1])
def test_who_was_slow_before_the_challenge_has_all_the_time_for_its_answer(left, link):
    """Or it was the server: its own time is over before it asks."""
    server, client = link
    server.deadline = time.monotonic() + left
    late = threading.Timer(0.4, client.send, (CHECK, np.ones(1, np.uint64)))
    late.start()
    answer = np.zeros(1, np.uint64)
    assert challenge(server, answer) and answer[0] == 1
    late.join()


def test_a_challenge_that_comes_late_is_answered_all_the_same(link, monkeypatch):
    server, client = link
    client.timeout, client.deadline = 0.5, time.monotonic()
    monkeypatch.setattr(check, "sums_of", lambda *_: time.sleep(0.4) or [np.ones(1, np.uint64)])
    late = threading.Timer(0.3, server.send, (CHECK, np.zeros(CHALLENGE_BYTES, np.uint8)))
    late.start()
    check.Said().answer(client)
    answer = np.zeros(1, np.uint64)
    server.receive(CHECK, answer)
    assert answer[0] == 1
    late.join()


def test_whose_certificate_runs_out_before_the_challenge_has_not_failed(link):
    server, _ = link
    server.expires = time.time() - 1
    with pytest.raises(PeerLost):
        challenge(server, np.zeros(1, np.uint64))


@pytest.mark.parametrize("how", ["close", "at exit", "where something went wrong"])
def test_who_leaves_while_something_is_prepared_is_not_refused(how, checked, services, monkeypatch):
    """In the middle of the check, where it would be silence: by close, when the process ends without it, or for an
    error of something else, behind which nobody waits for long."""
    x, left = checked[2], []
    monkeypatch.setattr(clients.atexit, "register", left.append)
    client, asked = services.connect("heidi"), threading.Event()
    client.wait()

    def slow(index, *arrays):
        if index == CHECK:
            asked.set()
            time.sleep(0.3)
        return arrays

    session = client._session
    sends(session._offline, slow)
    assert right(checked, client.run(x[:1]), x[:1])
    assert asked.wait(5)
    leave = {"close": client.close, "at exit": left[0], "where something went wrong": lambda: session.close(0.0)}[how]
    leave()
    until(lambda: all_ended(services.ledger("server")))
    assert "heidi" not in table(services, "server")


@pytest.fixture
def interruptible():
    """What a shell starts in the background ignores SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_who_interrupts_a_run_is_not_refused(checked, services, interruptible):
    """In the middle of the check, where it would be silence."""
    x = checked[2]
    with services.connect("ivan") as client:
        client.wait()
        link, main_thread = client._session._answering.links["server"], threading.main_thread().ident

        def interrupted(index, *arrays):
            if index == CHECK:
                signal.pthread_kill(main_thread, signal.SIGINT)
            return arrays

        sends(link, interrupted)
        with pytest.raises(KeyboardInterrupt):
            client.run(x[:1])
        assert right(checked, client.run(x[:1]), x[:1]), "in a new session"
    until(lambda: all_ended(services.ledger("server")))
    assert "ivan" not in table(services, "server")


def test_a_checked_program_is_never_answered_unchecked(checked, services, monkeypatch):
    """Neither where a client takes it for another one, nor where it says that it does not."""
    x, public = checked[2], load_published(checked[0] / "public")
    unchecked = dataclasses.replace(public, plan=dataclasses.replace(public.plan, checked=False))
    tls = [checked[0] / "certificates" / name for name in ("judy.pem", "ca.pem")]
    options = clients.Options(services.at("server"), services.at("dealer"), Identity(*tls), timeout=5.0)
    with pytest.raises(PartyError, match="the program is checked here, and where this was asked it is not"):
        clients.Client(unchecked, options)
    said, asks = clients.name_of_program(public.plan), client_session.ask_for
    monkeypatch.setattr(clients, "name_of_program", lambda plan: said)
    monkeypatch.setattr(client_session, "ask_for", lambda *a, **more: asks(*a, **more | {"checked": True}))
    monkeypatch.setattr(client_session, "_check_offer", lambda *a: None)
    monkeypatch.setattr("autorep_fx.service.dealt.ask_for", lambda *a, **more: asks(*a, **more | {"checked": True}))
    with clients.Client(unchecked, options) as client, pytest.raises(PartyError):
        client.run(x[:1].numpy(), timeout=5.0)
    assert not [line for line in services.ledger("server") if line[2:] == ("judy", "done")]


def test_a_client_has_so_many_sessions_of_a_checked_program(checked, services):
    with services.connect("alice"), services.connect("alice"):
        with pytest.raises(Refused, match="'alice' has 2 sessions, and may not have more"):
            services.connect("alice")


def test_what_has_no_check_serves_no_checked_program(checked, capsys):
    folder = checked[0]
    at = ["--listen", f"127.0.0.1:{free_port()}"]
    np.save(folder / "x.npy", checked[2][:1].numpy())
    for arguments, why in (
        (["serve", "--program", folder / "program", *at], "a checked program needs a dealer"),
        (["serve", "--program", folder / "program", *at, "--dealer", "127.0.0.1:1", "--comparison", "gmw"],
         "comparison='gmw': a checked program compares by 'fss'"),
        (["ask", "--program", folder / "public", "--server", "127.0.0.1:1", folder / "x.npy"],
         "a checked program needs a dealer"),
    ):  # fmt: skip
        assert main([*map(str, arguments)]) == 2
        assert why in capsys.readouterr().err


def test_checks_that_fail_are_counted(checked, services):
    from urllib.request import urlopen

    (at,) = [line["at"] for line in services.processes["server"].said("metrics")]
    counted = urlopen(f"http://{at}/metrics").read().decode()
    failed = len([line for line in services.processes["server"].lines if line["event"].startswith("a check has")])
    assert f"autorep_fx_server_failed_checks_total {failed}.0" in counted
    assert Path(services.folder / "server" / "refused.sqlite").stat().st_mode & 0o777 == 0o600
