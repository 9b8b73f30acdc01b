"""Clients whose messages have not passed a check: refused from then on, by everyone, until they are cleared."""

import signal
import socket
import stat
import subprocess
import sys
import threading

import numpy as np
import pytest
from services import free_port, until

import autorep_fx as ar
from autorep_fx.cli import main
from autorep_fx.errors import CheckFailed, FormatError, PartyError, PeerLost
from autorep_fx.secure.files import load_published, load_served
from autorep_fx.secure.link import tls
from autorep_fx.secure.link.stream import StreamChannel
from autorep_fx.secure.makers.table import DEALT
from autorep_fx.secure.parties import server as parties
from autorep_fx.secure.parties.weights import Weights
from autorep_fx.service import greeting
from autorep_fx.service.dealer import DealerService
from autorep_fx.service.dealt import AtServer
from autorep_fx.service.ledger import Ledger
from autorep_fx.service.limits import Limits
from autorep_fx.service.metrics import Metrics
from autorep_fx.service.refusals import FILE, Refusals, refusals_in
from autorep_fx.service.server import ServerService
from autorep_fx.service.settings import Deal, Serve

#: Refuses a client and is killed.
KILLED = """
import os, signal, sys
from autorep_fx.service.refusals import Refusals
Refusals(sys.argv[1]).add(sys.argv[2], "ab" * 32, "s", 1)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_who_is_refused_is_by_name_or_by_certificate_until_cleared(tmp_path):
    found, path = Refusals(tmp_path / "home" / FILE), tmp_path / "home" / FILE
    found.add("alice", "ab" * 32, "s", 3)
    found.add("alice", "ab" * 32, "other", 9)  # the first one stays
    found.add("bob")
    assert found.has("alice") and found.has("alice", "cd" * 32) and found.has("carol", "ab" * 32) and found.has("bob")
    assert not found.has("carol") and not found.has("carol", "cd" * 32)
    assert [line[:4] for line in found.lines()] == [("alice", "ab" * 32, "s", 3), ("bob", "", "", 0)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    found.close()
    again = refusals_in(path.parent)
    with pytest.raises(ValueError, match="'carol' is not refused in .*refused.sqlite: alice, bob"):
        again.clear("carol")
    again.clear("alice")
    assert not again.has("alice", "ab" * 32) and again.has("bob")


def test_who_was_refused_stays_so_when_the_process_is_killed_in_the_next_moment(tmp_path):
    others = [subprocess.Popen([sys.executable, "-c", KILLED, tmp_path / FILE, f"client {i}"]) for i in range(3)]
    assert [each.wait(60) for each in others] == [-signal.SIGKILL] * 3
    assert {line.name for line in Refusals(tmp_path / FILE).lines()} == {f"client {i}" for i in range(3)}


def test_a_damaged_table_lets_nobody_in_by_being_damaged(tmp_path):
    (tmp_path / FILE).write_bytes(b"SQLite format 3\0" + bytes(range(200)))
    with pytest.raises(FormatError, match="is no table of refused clients.*move it away.*is not any more"):
        refusals_in(tmp_path)
    Ledger(tmp_path / "ledger", "server").close()
    (tmp_path / "ledger").rename(tmp_path / FILE)
    Refusals(tmp_path / FILE).close()  # another table beside it
    assert not refusals_in(None).has("alice")


def test_the_command_lists_clears_and_adds(tmp_path, capsys):
    assert main(["refused", "--state", str(tmp_path)]) == 2
    assert "nobody was refused yet: there is no" in capsys.readouterr().err
    found = refusals_in(tmp_path)
    found.add("alice", "ab" * 32, "f" * 32, 3)
    assert main(["refused", "--state", str(tmp_path), "--add", "bob"]) == 0
    alice, bob = capsys.readouterr().out.splitlines()
    assert alice.startswith("alice  20") and alice.endswith(
        f"inference 3 of session {'f' * 32}  certificate {'ab' * 32}"
    )
    assert bob.startswith("bob  20") and bob.endswith("added by hand  certificate none")
    assert main(["refused", "--state", str(tmp_path), "--clear", "alice"]) == 0
    assert "alice" not in capsys.readouterr().out and not found.has("alice"), "of a service that runs, too"
    assert main(["refused", "--state", str(tmp_path), "--clear", "alice"]) == 2
    assert "'alice' is not refused in" in capsys.readouterr().err
    assert main(["refused", "--state", str(tmp_path), "--list"]) == 0
    assert capsys.readouterr().out.startswith("bob")


def test_a_client_of_a_checked_program_has_fewer_sessions(tmp_path):
    settings = Serve(program=tmp_path, listen="127.0.0.1:1")
    assert Limits.of(settings).client_sessions == settings.client_sessions == 8
    assert Limits.of(settings, checked=True).client_sessions == settings.client_checked == 2
    few = Serve(program=tmp_path, listen="127.0.0.1:1", client_sessions=1)
    assert Limits.of(few, checked=True).client_sessions == 1


class Here:
    """Dealer and server in threads of this process, in which a test makes a check fail."""

    def __init__(self, folder, state, plain=False):
        self.folder, self.state, self.ports = folder, state, {name: free_port() for name in ("server", "dealer")}
        certificates = folder / "certificates"
        public, numbers = load_served(folder / "program")
        shown = {name: {} if plain else {"cert": certificates / f"{name}.pem", "ca": certificates / "ca.pem"}
                 for name in self.ports}  # fmt: skip
        deal = Deal(
            program=folder / "public", listen=self.at("dealer"), grace=5.0, state=state / "dealer", **shown["dealer"]
        )
        serve = Serve(program=folder / "program", listen=self.at("server"), grace=5.0, state=state / "server",
                      dealer=self.at("dealer"), **shown["server"])  # fmt: skip
        self.metrics = {name: Metrics(name) for name in self.ports}
        self.dealer = DealerService(load_published(folder / "public").plan, deal, self.metrics["dealer"])
        preparing = AtServer(DEALT, public.plan, "fss", numbers, serve)
        self.server = ServerService(public.plan, Weights(public.plan, numbers), preparing, serve,
                                    self.metrics["server"], {})  # fmt: skip
        self.plain = plain
        for service in (self.dealer, self.server):
            threading.Thread(target=service.run, daemon=True).start()

    def at(self, name):
        return f"127.0.0.1:{self.ports[name]}"

    def connect(self, name="alice", **options):
        shown = (self.folder / "certificates" / f"{name}.pem", self.folder / "certificates" / "ca.pem")
        given = {"name": name} if self.plain else {"tls": shown}
        options = {"server": self.at("server"), "dealer": self.at("dealer"), "timeout": 20.0, **given} | options
        return ar.connect(self.folder / "public", **options)

    def link(self, who, name):
        """A connection to the server or the dealer, as somebody."""
        certificates = self.folder / "certificates"
        identity = None if self.plain else tls.Identity(certificates / f"{name}.pem", certificates / "ca.pem")
        return StreamChannel(tls.connect(("127.0.0.1", self.ports[who]), identity, who, 5.0), name, who, timeout=5.0)

    def counted(self, who, what="failed_checks"):
        return self.metrics[who].registry.get_sample_value(f"autorep_fx_{who}_{what}_total")

    def close(self):
        for service in (self.server, self.dealer):
            service.close()


@pytest.fixture
def here(published, tmp_path):
    started = []

    def start(**options):
        started.append(Here(published[0], tmp_path, **options))
        return started[-1]

    yield start
    for each in started:
        each.close()


def failing(monkeypatch, where, name="alice"):
    """The next check fails."""
    before, left = getattr(*where), [1]

    def fails(*args, **options):
        if left:
            left.pop()
            raise CheckFailed("server: a secret of why it did")
        return before(*args, **options)

    monkeypatch.setattr(*where, fails)


ONLINE = (parties.Server, "infer")


def test_a_client_whose_check_fails_is_refused_by_server_and_dealer_and_by_no_other_name(here, published, monkeypatch):
    started, x = here(), published[2]
    with started.connect("bob") as bob, started.connect(state=started.state / "alice") as alice:
        alice.run(x[:1])
        bob.wait()
        failing(monkeypatch, ONLINE)
        with pytest.raises(
            PartyError, match="the server failed: the client's messages did not pass the check$"
        ) as said:
            alice.run(x[:1])
        assert "secret" not in str(said.value) and not isinstance(said.value, PeerLost)
        for _ in range(2):
            with pytest.raises(PartyError, match="'alice' is refused here, for a check of its messages has failed"):
                alice.run(x[:1])
        bob.run(x[:1])
    with pytest.raises(PartyError, match="'alice' is refused here.*whoever runs the server can clear it"):
        started.connect()
    until(lambda: started.counted("dealer") == started.counted("server") == 1)
    (line,) = started.server.refused.lines()
    shown = started.folder / "certificates" / "alice.pem"
    assert started.dealer.refused.lines()[0][:4] == line[:4] and line.name == "alice"
    assert len(line.fingerprint) == 64 and started.server.refused.has("another name", line.fingerprint)
    assert line.fingerprint == fingerprint(shown)
    for who in ("server", "dealer"):
        lines = {(s, n): state for s, n, _, state in getattr(started, who).ledger.lines()}
        assert lines[line.session, line.number] == "burned", who
    mine = Ledger(started.state / "alice" / "client.sqlite", "a test").lines()
    assert (line.session, line.number, "alice", "burned") in [(s, n, "alice", state) for s, n, _, state in mine]
    session = "0" * 32
    link = started.link("dealer", "alice")
    greeting.ask_for(link, "session", started.dealer.program, session=session)
    with pytest.raises(PartyError, match="'alice' is refused here.*whoever runs the dealer can clear it"):
        link.receive_letter()
    for who in ("server", "dealer"):
        assert main(["refused", "--state", str(started.state / who), "--clear", "alice"]) == 0
    with started.connect() as alice:
        alice.run(x[:1])


def fingerprint(path):
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    return x509.load_pem_x509_certificate(path.read_bytes()).fingerprint(hashes.SHA256()).hex()


def test_a_check_that_fails_while_preparing_leaves_nothing_in_the_pool_and_ends_all_sessions(
    here, published, monkeypatch
):
    started, x = here(), published[2]
    with started.connect() as first:
        first.run(x[:1])
        first.wait()
        half = DEALT.server(parties.Server(started.server.plan, started.server.weights), started.server.preparing.model)
        failing(monkeypatch, (type(half), "prepare_several"))
        second = started.connect(timeout=3.0)
        with pytest.raises(PartyError, match="'alice' is refused here"):
            second.run(x[:1])
        until(lambda: not started.server._sessions)
        (line,) = started.server.refused.lines()
        states = {(s, n): state for s, n, _, state in started.server.ledger.lines()}
        assert states[line.session, line.number] == "burned" and {*states.values()} <= {"done", "burned"}
        with pytest.raises(PartyError, match="'alice' is refused here"):
            first.run(x[:1])
        second.close()
    assert started.counted("server", "refusals") >= 2


def test_a_session_that_is_open_ends_when_its_client_is_refused_elsewhere(here, published):
    started, x = here(), published[2]
    with started.connect() as client:
        client.wait()
        refusals_in(started.state / "server").add("alice")
        client.run(x[:1])  # of an unchecked program what is prepared is answered
        with pytest.raises(PartyError, match="'alice' is refused here"):
            client.run(x[:1])


def test_a_server_that_cannot_reach_its_dealer_refuses_all_the_same(here, published, monkeypatch):
    started, x = here(), published[2]
    with started.connect() as alice:
        alice.wait()
        started.dealer.gate.close(0.0)
        failing(monkeypatch, ONLINE)
        with pytest.raises(PartyError, match="did not pass the check"):
            alice.run(x[:1])
    assert started.server.refused.has("alice") and not started.dealer.refused.has("alice")


def test_a_dealer_serves_no_session_of_a_client_that_is_refused_and_hears_of_one_from_the_server_alone(here):
    started = here()
    said = {"session": "0" * 32, "client": "bob", "number": 1, "fingerprint": "ab" * 32}
    for name, more, why in (
        ("alice", {}, "a dealer takes part in sessions"),
        ("server", {"number": "1"}, "one of an inference and of a certificate"),
        ("server", {"fingerprint": "ab"}, "one of an inference and of a certificate"),
        ("server", {"client": ""}, "'client' has to be a name"),
    ):
        link = started.link("dealer", name)
        greeting.ask_for(link, "failed", started.dealer.program, **{**said, **more})
        with pytest.raises(PartyError, match=why):
            link.receive_letter()
        assert not started.dealer.refused.lines()
    link = started.link("dealer", "server")
    greeting.ask_for(link, "failed", started.dealer.program, **said)
    link.receive_letter()
    assert started.dealer.refused.has("bob")
    with pytest.raises(PartyError, match="'bob' is refused here.*whoever runs the dealer"):
        started.connect("bob").run(np.zeros((1, 3, 8, 8), np.float32))


def test_without_certificates_a_client_is_refused_by_the_name_that_it_says(here, published, monkeypatch):
    started, x = here(plain=True), published[2]
    with started.connect("alice") as alice:
        alice.wait()
        failing(monkeypatch, ONLINE)
        with pytest.raises(PartyError, match="did not pass the check"):
            alice.run(x[:1])
    with pytest.raises(PartyError, match="'alice' is refused here"):
        started.connect("alice")
    assert started.server.refused.lines()[0].fingerprint == ""
    with started.connect("another") as other:
        other.run(x[:1])


def test_who_takes_a_program_for_a_checked_one_or_for_none_is_told(here, monkeypatch):
    started = here()
    for who in ("server", "dealer"):
        link = started.link(who, "alice")
        greeting.ask_for(link, "session", getattr(started, who).program, session="0" * 32, checked=True)
        with pytest.raises(PartyError, match="the program is not checked here, and where this was asked it is"):
            link.receive_letter()
    send = StreamChannel.send_letter

    def lies(channel, **content):
        send(channel, **content | ({"checked": True} if "depth" in content else {}))

    monkeypatch.setattr(StreamChannel, "send_letter", lies)
    with pytest.raises(PartyError, match="client: the program is not checked here, and where this was asked it is"):
        started.connect()


def test_a_fingerprint_is_of_a_certificate_alone():
    one, other = socket.socketpair()
    with one, other:
        assert tls.fingerprint_of(one) == ""
