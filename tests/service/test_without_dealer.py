"""A server and its clients without a dealer: as with one, and no third process."""

import json
import re
import signal
import subprocess
import sys
import threading
from urllib.request import urlopen

import numpy as np
import pytest
import torch
from services import BOUND, COMMAND, Provider, all_ended, right, until
from torch import nn

import autorep_fx as ar
from autorep_fx.cli import main
from autorep_fx.errors import PartyError, Refused
from autorep_fx.secure.files import load_published, publish
from autorep_fx.secure.link.message import CORRELATIONS, HEADER, REQUEST
from autorep_fx.secure.link.stream import StreamChannel
from autorep_fx.secure.makers.paired import maps
from autorep_fx.secure.makers.table import PAIRED, PAIRED_SMALL
from autorep_fx.service.traffic import Load

#: On which bytes cost little; what services go by if nothing is said has few (WAN).
FAST = {"dealer": False, "server__network": "loopback"}


@pytest.fixture(scope="module")
def alone(published, tmp_path_factory):
    """A server for tests that leave it as it is."""
    folder = published[0]
    started = Provider(tmp_path_factory.mktemp("alone"), folder / "certificates", folder / "program",
                       folder / "public", server__metrics="127.0.0.1:0", **FAST)  # fmt: skip
    yield started
    started.close()


@pytest.fixture(scope="module")
def cost(published):
    return ar.SecureProgram.load(published[0] / "program").cost("loopback", dealer=False)


def sent(service, phase):
    """Bytes, by the server's own count."""
    (line,) = service.processes["server"].said("metrics")
    text = urlopen(f"http://{line['at']}/metrics").read().decode()
    found = re.search(rf'sent_bytes_total{{phase="{phase}"}} (\S+)', text)
    return float(found[1]) if found else 0.0


def spoiled(client) -> str:
    """Why a session prepares no more, when it does not."""
    pool = client._session.pool
    until(lambda: not pool.open)
    return str(pool._closed)


def test_two_processes_answer_over_tls(published, alone, tmp_path):
    x, own = published[2][:2], published[0] / "certificates"
    np.save(tmp_path / "x.npy", x.numpy())
    arguments = ["ask", "--program", published[0] / "public", "--server", alone.at("server"), "--cert",
                 own / "alice.pem", "--ca", own / "ca.pem", "--json", tmp_path / "x.npy"]  # fmt: skip
    done = subprocess.run([sys.executable, "-c", COMMAND, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert np.abs(np.array(json.loads(done.stdout)["output"]) - published[1](x).detach().numpy()).max() <= BOUND


def test_the_bytes_that_are_counted_are_those_that_are_declared(published, alone, cost):
    x, before = published[2][:1], {phase: sent(alone, phase) for phase in ("offline", "online")}
    with alone.connect(depth=0) as client:
        result = client.run(x)
    assert right(published, result, x)
    assert result.stats.offline.bytes_sent["client"] == cost.offline["client"]
    assert result.stats.online.bytes_sent["client"] == cost.online["client"] + HEADER.size + 8, "and the request"
    assert result.stats.online.rounds == cost.rounds and cost.comparison == "gmw"
    for phase, declared in (("offline", cost.offline), ("online", cost.online)):
        until(lambda phase=phase, size=declared["server"]: sent(alone, phase) - before[phase] == size)
    load = Load(load_published(published[0] / "public").plan.with_comparison("gmw"), PAIRED)
    assert load.all(1) == pytest.approx(sum([*cost.offline.values(), *cost.online.values()]) / 1e6)


def test_clients_at_once_prepare_beside_one_another(published, alone):
    x, answers = published[2], []

    def ask(name):
        with alone.connect(name, depth=2, timeout=40.0) as client:
            answers.extend(right(published, client.run(x[i : i + 1]), x[i : i + 1]) for i in range(4))

    threads = [threading.Thread(target=ask, args=(name,)) for name in ("alice", "bob", "alice")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == [True] * 12


@pytest.mark.parametrize("said, message", [
    ({"count": 3}, "the server prepares other than 1 to 2 inferences at once"),
    ({"count": 0}, "the server prepares other than 1 to 2 inferences at once"),
    ({"count": "2"}, "the server prepares other than 1 to 2 inferences at once"),
    ({"number": 2}, "the server numbers an inference 2 where 1 belongs"),
])  # fmt: skip
def test_what_a_server_says_it_prepares_is_looked_at(said, message, alone, monkeypatch):
    receive = StreamChannel.receive_letter
    monkeypatch.setattr(StreamChannel, "receive_letter", lambda self, **wanted: receive(self, **wanted) |
                        (said if "number" in wanted else {}))  # fmt: skip
    with alone.connect(depth=2) as client:
        assert message in spoiled(client)


@pytest.mark.parametrize("maker", ["another", ["paired"], 7])
def test_a_maker_that_there_is_none_of_is_an_error(maker, alone, monkeypatch):
    receive = StreamChannel.receive_letter
    monkeypatch.setattr(StreamChannel, "receive_letter", lambda self, **wanted: receive(self, **wanted) |
                        {"maker": maker})  # fmt: skip
    with pytest.raises(PartyError, match="the server names a maker of correlations that there is none of here"):
        alone.connect()


def test_a_server_on_a_slow_network_has_its_clients_prepare_with_fewer_bytes(published, provider):
    started, x = provider(dealer=False), published[2][:1]
    program = ar.SecureProgram.load(published[0] / "program")
    with started.connect(depth=0) as client:
        result = client.run(x)
        assert right(published, result, x) and client._session._maker is PAIRED_SMALL
    declared = program.cost("wan", dealer=False).offline["client"]
    assert result.stats.offline.bytes_sent["client"] == declared
    assert started.processes["server"].kill(signal.SIGTERM) == 0


def test_a_session_of_transfers_counts_what_it_keeps(provider):
    each = PAIRED_SMALL.kept_bytes / 1e6
    started = provider(dealer=False, server__kept=1.5 * each)
    with started.connect(depth=0):
        why = f"open sessions keep {each:.0f} megabytes, and {1.5 * each:g} may be kept"
        with pytest.raises(Refused, match=why):
            started.connect(depth=0, timeout=0.5)
    started.connect(depth=0).close()


def test_what_is_missing_is_prepared_at_once_when_half_of_it_is_used(published, alone, cost, monkeypatch):
    asked, send, x = [], StreamChannel.send_letter, published[2]
    monkeypatch.setattr(StreamChannel, "send_letter", lambda self, **said: (asked.append(said), send(self, **said))[1])
    with alone.connect(depth=4) as client:
        assert client.wait() == 4
        results = [client.run(x[:1])]
        assert client.wait() == 3, "more than half wait still"
        results.append(client.run(x[1:2]))
        assert client.wait() == 4
        results += [client.run(x[i : i + 1]) for i in range(2, 5)]
        assert all(right(published, result, x[i : i + 1]) for i, result in enumerate(results))
        assert right(published, client.run(x[:7]), x[:7]), "another size prepares its own"
    wanted = [(said["prepare"], said["count"]) for said in asked if "prepare" in said]
    assert wanted[:2] == [(1, 4), (1, 2)] and (7, 1) in wanted
    assert results[0].stats.offline.bytes_sent["client"] < cost.offline["client"], "an equal part of what costs less"


def test_a_server_and_a_client_that_are_set_up_differently_name_both_settings(published, alone, service, monkeypatch):
    without = r"no dealer \(serve without --dealer\), and the client one \(ask --dealer, connect\(dealer=...\)\)"
    with pytest.raises(PartyError, match=f"the server has {without}; both have to name the same dealer, or neither"):
        alone.connect(dealer="127.0.0.1:1")
    with_one = r"a dealer \(serve --dealer\), and the client none \(ask without --dealer, connect\(dealer=None\)\)"
    with pytest.raises(PartyError, match=f"the server failed: the server has {with_one}"):
        service.connect(dealer=None)
    receive = StreamChannel.receive_letter
    monkeypatch.setattr(StreamChannel, "receive_letter", lambda self, **wanted: {
        name: said for name, said in receive(self, **wanted).items() if name != "maker"})  # fmt: skip
    with pytest.raises(PartyError, match=f"^client: the server has {with_one}"):  # of a version that knows no other
        alone.connect()


def test_a_comparison_that_needs_a_dealer_is_an_error_that_says_why(published, capsys):
    arguments = ["serve", "--program", published[0] / "program", "--listen", "127.0.0.1:0", "--comparison", "fss"]
    assert main([*map(str, arguments)]) == 2
    assert "comparison='fss' needs a dealer: its keys are made by somebody who knows" in capsys.readouterr().err


def longer(encrypt):
    return lambda *args: [np.concatenate([words, words[:1]]) for words in encrypt(*args)]


def flips(exchange):
    """A bit of every word: one alone is of no use to the other side, and of no harm, once in 16. Not of the seed by
    which the client checks the server."""

    def changed(self, step, out, into):
        lies = step == CORRELATIONS and self.me == "client" and out.size > 2
        exchange(self, step, out ^ np.uint64(1) if lies else out, into)

    return changed


@pytest.mark.parametrize("where, name, change, message", [
    (maps, "encrypt", longer, "the client sent [0-9]+ bytes where [0-9]+ belong"),
    (StreamChannel, "exchange", flips, "the client does not follow the protocol: its choices in oblivious transfers"),
])  # fmt: skip
def test_a_changed_ciphertext_or_transfer_spoils_its_inference_and_no_more(
    where, name, change, message, published, alone, monkeypatch
):
    x = published[2][:1]
    with alone.connect(depth=0) as client:
        session = client._session
        monkeypatch.setattr(where, name, change(getattr(where, name)))
        session.depth = 1
        session.pool.wake()
        assert re.search(message, spoiled(client))
        monkeypatch.undo()
        assert right(published, client.run(x), x) and client._session is not session
    until(lambda: [line[1:] for line in alone.ledger("server") if line[0] == session.name] == [(1, "alice", "burned")])


def test_a_link_that_is_torn_while_something_is_prepared(published, alone, monkeypatch):
    from autorep_fx.secure.makers.paired.client import ClientHalf

    x, correlate = published[2][:1], ClientHalf.correlate

    def torn(self, *args):
        self.party.links["server"].close()
        return correlate(self, *args)

    with alone.connect(depth=0, timeout=30.0) as client:
        session = client._session.name
        monkeypatch.setattr(ClientHalf, "correlate", torn)
        threading.Timer(0.5, monkeypatch.undo).start()
        assert right(published, client.run(x), x), "asked again in a new session"
    until(lambda: ("burned",) == tuple(line[3] for line in alone.ledger("server") if line[0] == session))


def test_an_inference_is_used_once(published, alone):
    x = published[2][:1]
    with alone.connect(depth=1) as client:
        assert client.wait() == 1
        session = client._session
        (number,) = session.pool._ready
        prepared = session.pool._store._held[number]
        assert right(published, client.run(x), x)
        with pytest.raises(PartyError, match=f"what the client prepared for inference {number} was used already"):
            session._answering.infer(prepared, x.double().numpy())
        session._online.send(REQUEST, np.array([number], np.int64))
        with pytest.raises(PartyError, match=f"inference {number} is not prepared, or was used"):
            session._online.receive(0)


def test_a_server_that_is_killed_a_client_that_leaves_and_an_end_that_waits(published, provider, tmp_path):
    started, x = provider(server__disk=True, **FAST), published[2][:1]
    with started.connect(depth=2, disk=True, state=tmp_path / "client") as client:
        assert client.wait() == 2
        for folder in (tmp_path / "client", started.folder / "server"):
            until(lambda folder=folder: len([*folder.glob("prepared/*/*.sealed")]) == 2)
        assert right(published, client.run(x), x)
        session = client._session.name
        until(lambda: "done" in {line[3] for line in started.ledger("server")})
        started.processes["server"].kill()
        again = threading.Timer(0.2, started.start, ("server",))
        again.start()
        assert right(published, client.run(x, timeout=40.0), x), "asked again in a new session"
        again.join()
        states = {line[3] for line in started.ledger("server") if line[0] == session}
        assert states == {"done", "burned"}, "what waited is of nobody's use"
    left = started.connect(depth=1)
    left.wait()
    number = left._session.pool.next(1, 0.0)
    left._session._online.send(REQUEST, np.array([number], np.int64))  # and nothing more
    for link in left._session._channels:
        link.close()
    until(lambda: all_ended(started.ledger("server")))
    assert started.processes["server"].kill(signal.SIGTERM) == 0 and started.processes["server"].said("stopped")
    lines = started.ledger("server")
    assert len({line[:2] for line in lines}) == len(lines)


def again_and_again(ask):
    """Until it is refused. Sooner than there is as much again; what a busy machine has not answered by then has taken
    of the limit, too."""
    for _ in range(20):
        try:
            ask()
        except Refused:
            raise
        except PartyError:
            continue


def test_limits_are_those_with_a_dealer(published, provider, cost):
    megabytes = sum([*cost.offline.values(), *cost.online.values()]) / 1e6
    started, x = provider(server__client_held=2, server__client_megabytes=megabytes / 3, **FAST), published[2]
    with started.connect(depth=4) as client:
        until(lambda: client.wait(0.0) == 2)
        assert right(published, client.run(x[:1]), x[:1])
    refused = f"'alice': {megabytes / 3:g} megabytes a second are allowed"
    with pytest.raises(Refused, match=refused), started.connect(depth=0) as client:
        again_and_again(lambda: client.run(x[:1], timeout=1.0))
    with pytest.raises(Refused, match=refused):  # a session begins with keys
        again_and_again(lambda: started.connect(depth=0, timeout=1.0).close())


def test_a_network_of_one_layer(published, provider, tmp_path):
    """Its online phase has two messages, and what comes before has more."""
    torch.manual_seed(0)
    x, network = torch.randn(16, 6), nn.Linear(6, 3).eval()
    with pytest.warns(ar.TransformWarning, match="no activation was found"):
        gm = ar.transform(network, example_inputs=x)
    ar.compile(gm, x).save(tmp_path / "program")
    publish(tmp_path / "program", tmp_path / "public")
    started = Provider(tmp_path, published[0] / "certificates", tmp_path / "program", tmp_path / "public", dealer=False)
    try:
        with started.connect(depth=2) as client:
            assert client.wait() == 2
            for batch in (1, 1, 3):
                assert (client.run(x[:batch]).output - network(x[:batch])).abs().max() <= BOUND
    finally:
        started.close()
