"""Three processes with certificates: answers, and what is asked for wrongly, which is named and holds up nobody."""

import dataclasses
import json
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from forks import said_in_a_fork
from safetensors.numpy import load_file, save_file
from services import BOUND, COMMAND, all_ended, right, until

import autorep_fx as ar
from autorep_fx.cli import main
from autorep_fx.errors import FormatError, PartyError, Refused
from autorep_fx.secure.files import load_published
from autorep_fx.secure.link import tls
from autorep_fx.secure.link.message import HEADER, LETTER, REQUEST
from autorep_fx.secure.link.stream import StreamChannel
from autorep_fx.secure.link.tls import Identity
from autorep_fx.service import client_session, gate, greeting
from autorep_fx.service.addresses import address_of
from autorep_fx.service.certificates import make_certificates
from autorep_fx.service.client import Client
from autorep_fx.service.client_session import Options
from autorep_fx.service.published import Pictures


def test_answers_of_one_client(published, service):
    x = published[2]
    with service.connect(depth=2) as client:
        assert client.wait() == 2
        for i in range(4):
            result = client.run(x[i : i + 1])
            assert right(published, result, x[i : i + 1]) and result.output.dtype == x.dtype
        assert right(published, client.run(x[:7]), x[:7]), "another size prepares its own"
        cost = ar.SecureProgram.load(published[0] / "program").cost("wan", comparison="fss")
        assert result.stats.online.rounds == cost.rounds
        assert result.stats.online.bytes_sent["client"] == cost.online["client"] + HEADER.size + 8, "and the request"
    until(lambda: all_ended(service.ledger("server")))
    assert [line[2:] for line in service.ledger("server")].count(("alice", "done")) == 5


def test_clients_and_threads_at_once(published, service):
    x, wrong = published[2], []

    def ask(name, count):
        with service.connect(name) as client:
            for i in range(count):
                if not right(published, client.run(x[i : i + 1]), x[i : i + 1]):
                    wrong.append((name, i))

    threads = [threading.Thread(target=ask, args=(name, 6)) for name in ("alice", "bob", "alice", "bob")]
    with service.connect(depth=2) as shared:
        threads += [threading.Thread(target=lambda: shared.run(x[:1])) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert not wrong and not any(thread.is_alive() for thread in threads)


def test_who_asks_with_arrays_is_answered_with_arrays(published, service):
    x = published[2][:3]
    with service.connect() as client:
        result = client.run(x.numpy())
        assert type(result.output) is np.ndarray and result.output.dtype == np.float32
        assert np.abs(result.output - published[1](x).detach().numpy()).max() <= BOUND
        assert client.run(x.double().numpy()).output.dtype == np.float64
        assert client.headroom(x.numpy()).share == client.headroom(x).share
        for wrong, message in ((x.numpy()[:, :2], "compiled for"), (x.int().numpy(), "got int32; convert it with x.as"),
                               ([1.0], "a floating-point tensor or array of shape .*, got list"),
                               (np.full_like(x.numpy(), np.nan), "NaN or infinite")):  # fmt: skip
            with pytest.raises(ValueError, match=message):
                client.run(wrong)


def test_asking_from_the_command_line_needs_no_torch(published, service, tmp_path):
    """Nor do the services, of whom torch is out of reach in all of these tests (services.py)."""
    x, public = published[2][:4], published[0] / "public"
    np.save(tmp_path / "x.npy", x.numpy())
    own = published[0] / "certificates"
    arguments = ["ask", "--program", public, "--server", service.at("server"), "--dealer", service.at("dealer"),
                 "--cert", own / "alice.pem", "--ca", own / "ca.pem", "--json", tmp_path / "x.npy"]  # fmt: skip
    done = subprocess.run([sys.executable, "-c", COMMAND, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert np.abs(np.array(answer["output"]) - published[1](x).detach().numpy()).max() <= BOUND
    assert answer["class"] == [str(i) for i in published[1](x).argmax(1).tolist()] and 0 < answer["range_used"] <= 1


def test_a_dealer_and_a_server_are_small(published, service):
    for process in service.processes.values():
        status = Path(f"/proc/{process.process.pid}/status").read_text()
        assert 1024 * int(status.split("VmHWM:")[1].split()[0]) < 150e6


def test_inputs_that_are_refused_cost_nothing(published, service):
    with service.connect() as client:
        with pytest.raises(ValueError, match="compiled for"):
            client.run(published[2][:1, :2])
        with pytest.raises(ValueError, match="range"):
            client.run(100 * published[2][:1])
        assert client.headroom(published[2]).fits and 0 < client.headroom(published[2]).share <= 1
        assert not client.headroom(100 * published[2][:1]).fits
        with pytest.raises(ValueError, match="the server takes 1 to 64"):
            client.run(torch.zeros(65, 3, 8, 8))
        assert right(published, client.run(published[2][:1]), published[2][:1])


def test_what_blinds_the_weights_is_fetched_once(published, service, tmp_path):
    with service.connect(cache=tmp_path) as client:
        client.run(published[2][:1])
    (file,) = tmp_path.iterdir()
    before = file.stat().st_mtime_ns
    with service.connect("bob", cache=tmp_path) as client:
        client.run(published[2][:1])
    assert file.stat().st_mtime_ns == before, "the same for every client"
    file.write_bytes(file.read_bytes()[:-8] + bytes(8))
    with service.connect(cache=tmp_path) as client:
        assert right(published, client.run(published[2][:1]), published[2][:1])
    assert file.stat().st_mtime_ns != before, "fetched again"


def test_certificates_decide_who_someone_is(published, service, tmp_path):
    make_certificates(tmp_path, ["alice", "server"])
    theirs = published[0] / "certificates" / "ca.pem"
    options = {"server": service.at("server"), "dealer": service.at("dealer"), "timeout": 5.0}
    with pytest.raises(
        PartyError, match="the server at 127.0.0.1:[0-9]+ cannot be trusted.*ca.pem vouches for no such"
    ):
        ar.connect(published[0] / "public", tls=(tmp_path / "alice.pem", tmp_path / "ca.pem"), **options)
    with pytest.raises(PartyError, match="server hung up .*unknown ca.* does not accept the certificate of the client"):
        ar.connect(published[0] / "public", tls=(tmp_path / "alice.pem", theirs), **options)
    with pytest.raises(PartyError, match="has a certificate of 'dealer'"):
        service.connect(server=service.at("dealer"))
    with pytest.raises(PartyError, match="'dealer' is no client's name"):
        ar.connect(published[0] / "public", tls=(published[0] / "certificates" / "dealer.pem", theirs), **options)
    with pytest.raises(FormatError, match="ca.pem cannot be used as a certificate: .* and its private key, in PEM"):
        ar.connect(published[0] / "public", tls=(theirs, theirs), **options)
    with pytest.raises(TypeError, match="program must be a folder of autorep_fx publish, .* got Linear"):
        ar.connect(torch.nn.Linear(2, 2), tls=(tmp_path / "alice.pem", theirs), **options)
    with pytest.raises(FormatError, match="nowhere.pem cannot be used as a certificate: no such file"):
        ar.connect(published[0] / "public", tls=(tmp_path / "nowhere.pem", theirs), **options)
    with pytest.raises(ValueError, match="192.0.2.1:7 is not of this machine"):
        ar.connect(published[0] / "public", **(options | {"server": "192.0.2.1:7"}))


def channel(service, published, to="server", name="alice"):
    """A connection whose owner may say anything."""
    host, port = service.at(to).split(":")
    folder = published[0] / "certificates"
    connection = tls.connect((host, int(port)), Identity(folder / f"{name}.pem", folder / "ca.pem"), to, 5.0)
    return StreamChannel(connection, name, to, timeout=5.0)


def test_another_version_or_program(published, service, monkeypatch):
    program = greeting.name_of_program(load_published(published[0] / "public").plan)
    monkeypatch.setattr(greeting, "VERSION", 99)
    older = "is out of date: it has version {} of the service, and {} version {}; install a newer autorep_fx there"
    with pytest.raises(PartyError, match="the server " + older.format(1, "'alice'", 99)):
        service.connect()
    monkeypatch.setattr(greeting, "VERSION", 0)
    with pytest.raises(PartyError, match="'alice' " + older.format(0, "the server", 1)):
        service.connect()
    monkeypatch.undo()
    for to in ("server", "dealer"):
        link = channel(service, published, to)
        link.send_letter(service=1, plan=greeting.PLAN_VERSION, program="0" * 32, wants="session", session="0" * 32)
        with pytest.raises(PartyError, match="another program is published here"):
            link.receive_letter()
    link = channel(service, published, "dealer")
    greeting.ask_for(link, "session", program, session="f" * 32)
    with pytest.raises(PartyError, match="no session of 'alice' is open here by that name"):
        link.receive_letter()
    link = channel(service, published)
    greeting.ask_for(link, "online", program, session="f" * 32)
    with pytest.raises(PartyError, match="no session of 'alice' is open"):
        link.receive_letter()


def test_a_client_without_a_certificate_is_told_at_once(published, service):
    start = time.monotonic()
    with pytest.raises(PartyError, match="the server wants a client certificate; pass --cert and --ca"):
        ar.connect(published[0] / "public", server=service.at("server"), dealer=service.at("dealer"), timeout=20.0)
    assert time.monotonic() - start < 5


def test_another_form_of_the_output_or_another_input_json_is_turned_away(published, service, tmp_path):
    """The server of these tests has no input.json."""
    public = load_published(published[0] / "public")
    folder = published[0] / "certificates"
    options = Options(service.at("server"), service.at("dealer"), Identity(folder / "alice.pem", folder / "ca.pem"))
    turned = {"tuple": [{"tensor": [0, [5], []]}]}
    for other, pictures, message in (
        (dataclasses.replace(public, form=turned), None, r"form of the output \(public.json\) is another one here"),
        (public, Pictures(1, [0.0], [0.5], []), r"what a picture becomes \(input.json\) is another one here"),
        (public, Pictures(1, [0.0], [1.0], ["a"]), "input.json.* is another one here; fetch the public part again"),
    ):
        with pytest.raises(PartyError, match=message):
            Client(other, options, pictures)
    Client(public, options, Pictures(1, [0], [1], [])).close()


def test_a_damaged_cached_e_is_fetched_again(published, service, tmp_path, caplog):
    """Also bytes that are right, of another type or shape."""
    x = published[2][:1]
    with service.connect(cache=tmp_path) as client:
        assert right(published, client.run(x), x)
    (path,) = tmp_path.iterdir()
    good, data = load_file(path), path.read_bytes()
    for arrays in (
        {k: v.view(np.uint8) for k, v in good.items()},
        {k: v.view(f"i{v.itemsize}") for k, v in good.items()},
        {k: v.reshape(v.shape[::-1]) for k, v in good.items()},
        {"0": np.concatenate([good[str(i)].ravel() for i in range(len(good))])},
        {k: v + (k == "1") for k, v in good.items()},
        {"one": good["0"]},
        None,
    ):
        if arrays is None:
            path.write_bytes(data[:-9])
        else:
            save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, path)
        caplog.clear()
        with service.connect(cache=tmp_path) as client:
            assert right(published, client.run(x), x)
        assert "is damaged, and is fetched again" in caplog.text and path.read_bytes() == data
    caplog.clear()
    service.connect(cache=tmp_path).close()
    assert not caplog.text


def test_garbage_and_silence_hold_up_nobody(published, service):
    host, port = service.at("server").split(":")
    silent = [socket.create_connection((host, int(port))) for _ in range(20)]
    for noise in (b"GET / HTTP/1.1\r\n\r\n", bytes(1000), b"\x16\x03\x01\xff\xff" + bytes(3000)):
        with socket.create_connection((host, int(port))) as link:
            link.sendall(noise)
    plain = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    plain.check_hostname, plain.verify_mode = False, ssl.CERT_NONE
    with plain.wrap_socket(socket.create_connection((host, int(port)))) as link:  # no certificate
        with pytest.raises(OSError):
            link.sendall(bytes(HEADER.size))
            while link.recv(100):
                pass
            raise ConnectionError
    for header in (HEADER.pack(LETTER, 1, 2**40, 0), HEADER.pack(7, 1, 4, 0), HEADER.pack(LETTER, 1, 4, 0) + b"[[[["):
        link = channel(service, published)
        link._socket.sendall(header)
        with pytest.raises(PartyError):
            link.receive_letter()
    start = time.monotonic()
    with service.connect() as client:
        assert right(published, client.run(published[2][:1]), published[2][:1])
    assert time.monotonic() - start < 5
    for each in silent:
        each.close()


def test_a_number_that_is_not_prepared_is_turned_away(published, service):
    with service.connect() as client:
        client.wait()
        session = client._session
        session.pool.next(1, 0.0)
        for number in (99, -1):
            with pytest.raises(PartyError, match=f"inference {number} is not prepared, or was used"):
                session._online.send(2**32 - 3, np.array([number], np.int64))
                session._online.receive(0)
            client._drop()
            client._session = session = client._open(time.monotonic() + 10)


def test_a_server_that_repeats_a_number_or_a_digest_that_is_a_path(published, service, monkeypatch):
    """What a server says decides neither which masks are used nor which file is written."""
    receive = StreamChannel.receive_letter

    def lies(self, **wanted):
        letter = receive(self, **wanted)
        return letter | ({"number": 1} if "number" in wanted else {})

    monkeypatch.setattr(StreamChannel, "receive_letter", lies)
    with service.connect(depth=1, timeout=5.0) as client:
        client.run(published[2][:1])
        with pytest.raises(PartyError, match="the server numbers an inference 1 where 2 belongs"):
            client.run(published[2][:1], timeout=0.4)
    monkeypatch.setattr(StreamChannel, "receive_letter", lambda self, **wanted: receive(self, **wanted) |
                        ({"weights": "../../somewhere"} if "weights" in wanted else {}))  # fmt: skip
    with pytest.raises(PartyError, match="a digest that there is none of"):
        service.connect()


@pytest.mark.parametrize("said, message", [
    ({"at": "somewhere"}, "says that it is at 'somewhere', which is not HOST:PORT"),
    ({"session": "../x"}, "gives a session a name that is none"),
    ({"depth": -3}, "offers -3 prepared inferences of 64 samples"),
    ({"batch": 0}, "offers 4 prepared inferences of 0 samples"),
])  # fmt: skip
def test_a_server_s_offer_is_looked_at(said, message, published, service, monkeypatch):
    receive = StreamChannel.receive_letter
    monkeypatch.setattr(StreamChannel, "receive_letter", lambda self, **wanted: receive(self, **wanted) |
                        (said if "weights" in wanted else {}))  # fmt: skip
    with pytest.raises(PartyError, match=message):
        service.connect()


def test_a_client_that_is_sent_elsewhere_connects_with_the_same_certificates(published, service, monkeypatch):
    receive, connect, asked = StreamChannel.receive_letter, tls.connect, []
    at = service.at("server").replace("127.0.0.1", "localhost")
    monkeypatch.setattr(StreamChannel, "receive_letter", lambda self, **wanted: receive(self, **wanted) |
                        ({"at": at} if "at" in wanted else {}))  # fmt: skip
    monkeypatch.setattr(client_session, "connect", lambda *args: (asked.append(args), connect(*args))[1])
    with service.connect() as client:
        assert right(published, client.run(published[2][:1]), published[2][:1])
    wanted = [service.at("server"), at, service.at("dealer")]
    assert [where for where, *_ in asked] == [address_of(each) for each in wanted]
    assert len({id(identity) for _, identity, *_ in asked}) == 1 and asked[0][1] is not None
    assert [expected for *_, expected, _ in asked] == ["server", "server", "dealer"]


def test_a_fork_may_not_use_its_parent_s_client(published, service):
    x, values = published[2], published[2][:1].double().numpy()
    with service.connect(depth=2) as client:
        assert client.wait() == 2
        session = client._session
        with client._lock:  # of a thread that a fork does not have
            *said, closed = said_in_a_fork(
                lambda: client.run(x[:1]), client.wait, lambda: session.run(values, time.monotonic() + 5),
                lambda: session.pool.take(1), session.waiting, lambda: session._preparing.prepare(1),
                lambda: session._answering.infer(session.pool._store._held[1], values), client.close,
            )  # fmt: skip
        assert all("belongs to the process that started it" in each for each in said), said
        assert said[0].startswith("PartyError: this client belongs") and closed == ""
        for i in range(2):
            assert right(published, client.run(x[i : i + 1]), x[i : i + 1]) and client._session is session


def short_lived(folder, seconds):
    """A certificate of alice's for so long, beside ``ca.pem``."""
    path = folder / "short.pem"
    authority = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
    signer = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
    (key, now), name = (ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)), x509.NameAttribute
    made = (
        x509.CertificateBuilder(authority.subject, x509.Name([name(NameOID.COMMON_NAME, "alice")]), key.public_key(),
                                x509.random_serial_number(), now - timedelta(hours=1), now + timedelta(seconds=seconds))
        .add_extension(x509.BasicConstraints(False, None), critical=True).sign(signer, hashes.SHA256())
    )  # fmt: skip
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))  # fmt: skip
    path.chmod(0o600)
    return path


def test_a_session_ends_with_its_client_s_certificate(published, service, tmp_path):
    x, folder = published[2], published[0] / "certificates"
    tls = (short_lived(folder, 3), folder / "ca.pem")

    def ended(who, session):
        return all_ended([line for line in service.ledger(who) if line[0] == session])

    with ar.connect(published[0] / "public", server=service.at("server"), dealer=service.at("dealer"), tls=tls,
                    timeout=10.0) as client:  # fmt: skip
        assert right(published, client.run(x[:1]), x[:1])
        session = client._session.name
        assert client.wait() == 1 and not ended("server", session)
        until(lambda: ended("server", session) and ended("dealer", session))
        start = time.monotonic()
        with pytest.raises(PartyError, match="certificate expired"):
            client.run(x[:1])
        assert time.monotonic() - start < 5, "asking again helps nobody"
        tls[0].write_bytes((folder / "alice.pem").read_bytes())
        assert right(published, client.run(x[:1]), x[:1]), "it reads its certificate again"


def test_a_client_asks_no_server_and_prepares_with_no_dealer_whose_certificate_has_run_out(published, service):
    x = published[2]
    for link in (-2, -1, 0):  # online, the dealer's, offline
        with service.connect(depth=1) as client:
            client.wait()
            session = client._session
            session._channels[link].expires = time.time()
            for i in range(3):
                assert right(published, client.run(x[i : i + 1]), x[i : i + 1])
            assert client._session is not session, "a new one, as another certificate may be there"


def test_a_run_that_is_interrupted_leaves_nothing_to_the_next(published, service, monkeypatch):
    from autorep_fx.secure.parties.client import Client as Party

    infer, x = Party.infer, published[2]

    def interrupted(self, prepared, values):
        monkeypatch.setattr(Party, "infer", infer)
        raise KeyboardInterrupt

    with service.connect() as client:
        client.run(x[:1])
        session = client._session.name
        monkeypatch.setattr(Party, "infer", interrupted)
        with pytest.raises(KeyboardInterrupt):
            client.run(x[:1])
        assert right(published, client.run(x[1:2]), x[1:2]) and client._session.name != session


def test_metrics_and_health(published, service):
    from urllib.error import HTTPError
    from urllib.request import urlopen

    (line,) = service.processes["server"].said("metrics")
    text = urlopen(f"http://{line['at']}/metrics").read().decode()
    assert 'autorep_fx_server_inference_seconds_count{phase="online"}' in text
    assert "autorep_fx_server_sessions" in text and "alice" not in text
    assert urlopen(f"http://{line['at']}/health").read() == b"ok\n"
    with pytest.raises(HTTPError, match="404"):
        urlopen(f"http://{line['at']}/other")


def test_logs_say_nothing_secret(service):
    for process in service.processes.values():
        assert {key for line in process.lines for key in line} <= {
            "event", "level", "timestamp", "at", "session", "client", "peer", "name", "why", "signal", "exception"
        }  # fmt: skip


def test_a_dealer_warns_of_nothing_after_sessions_that_end_as_they_should(published, provider):
    started, x = provider(), published[2]
    for i in range(6):  # in the middle of what is prepared for the next run, and after it
        with started.connect(depth=2) as client:
            client.run(x[i : i + 1])
            if i % 2:
                client.wait()
    with started.connect() as client:
        client.wait()
        assert started.processes["server"].kill(signal.SIGTERM) == 0
    dealer = started.processes["dealer"]
    until(lambda: all_ended(started.ledger("dealer")))
    dealer.kill(signal.SIGTERM)
    assert len(dealer.said("session")) == 7 and dealer.said("stopped")
    assert [line for line in dealer.lines if line["level"] != "info"] == []


def test_what_the_library_warns_of_is_a_line_like_all_others(provider, tmp_path):
    folder = tmp_path / "provider0" / "server"
    folder.mkdir(parents=True)
    folder.chmod(0o775)
    warned = [line for line in provider().processes["server"].lines if line.get("level") == "warning"]
    assert [line["event"].partition(" to ")[0] for line in warned] == ["others may write"]


def test_limits_are_refusals_that_say_when(published, provider):
    started = provider(server__client_sessions=1, server__sessions=2, server__client_rate=0.5, server__max_batch=8,
                       server__depth=2)  # fmt: skip
    x = published[2]
    with started.connect(depth=0, timeout=3.0) as client:
        with pytest.raises(Refused, match="'alice' has 1 sessions, and may not have more") as refused:
            started.connect()
        assert refused.value.retry_after == 5
        with started.connect("bob") as other:
            for i in range(5):  # a burst of ten seconds' worth
                assert right(published, client.run(x[i : i + 1]), x[i : i + 1])
            with pytest.raises(Refused, match="'alice': 0.5 inferences a second are allowed") as refused:
                for i in range(3):
                    client.run(x[i : i + 1], timeout=0.5)
            assert 0 < refused.value.retry_after <= 2
            start = time.monotonic()
            assert right(published, other.run(x[:1]), x[:1]) and time.monotonic() - start < 2, "others are not slower"
        assert right(published, client.run(x[:1], timeout=10.0), x[:1]), "it waits for its turn"
        with pytest.raises(Refused, match="more than 'alice' may ever have"):
            client.run(x[:8], timeout=1.0)
        with pytest.raises(ValueError, match="the server takes 1 to 8 at once"):
            client.run(x[:9])


def test_what_blinds_the_weights_counts_into_the_megabytes(published, provider, tmp_path):
    """Ten seconds' worth is enough for two of them; a session that has it in its cache draws nothing."""
    started = provider(server__client_megabytes=0.001)
    for cache in (tmp_path, tmp_path, None):
        started.connect(depth=0, cache=cache).close()
    with pytest.raises(Refused, match="'alice': 0.001 megabytes a second are allowed") as refused:
        for _ in range(2):
            started.connect(depth=0).close()
    assert 0 < refused.value.retry_after < 5
    started.connect("bob", depth=0).close()


def test_a_service_of_which_no_client_could_fetch_it_says_so(published, provider):
    started = provider(server__megabytes=0.0001)
    (line,) = started.processes["server"].said("no client can fetch what blinds the weights")
    megabytes = ar.SecureProgram.load(published[0] / "program").cost("wan").setup["server"] / 1e6
    assert line["why"].startswith(f"it has {megabytes:.3g} megabytes")
    with pytest.raises(Refused, match="are more than all clients may ever have"):
        started.connect(depth=0, timeout=1.0)


def test_a_session_has_so_many_inferences_waiting_whatever_its_client_asks_for(published, service):
    with service.connect(depth=9) as client:
        assert client._session.depth == 4, "as the server has said"
        client._session.depth = 9
        refusals = client._session._refused
        until(lambda: refusals)
        assert "5 prepared inferences wait, and 4 may" in str(refusals[1][0]), "and one that is asked for at once"
        assert client.wait(0.0) == 5


def test_what_a_client_makes_the_server_hold_is_counted_in_samples(published, provider):
    started, x = provider(server__client_held=8), published[2]
    with started.connect(depth=2, batch=8) as client, started.connect(depth=0) as same:
        until(lambda: client._session._refused)
        assert client.wait(0.0) == 1, "8 samples, and no second inference"
        with pytest.raises(Refused, match="correlations of 8 samples wait for 'alice', and 8 may"):
            same.run(x[:1], timeout=0.8)
        with started.connect("bob") as other:
            assert right(published, other.run(x[:8]), x[:8])
        refused = client._session._refused
        refused.clear()
        until(lambda: refused)
        refused[8] = refused[8][0], time.monotonic() + 60
        assert right(published, client.run(x[:8]), x[:8])
        until(lambda: client.wait(0.0) == 1)  # what is used makes room at once, whenever it was to come back
    with started.connect(depth=0) as client:
        for i in range(3):
            assert right(published, client.run(x[i : i + 8]), x[i : i + 8]), "sessions that are over hold nothing"


def test_what_a_client_makes_the_dealer_hold_is_counted_too(published, provider, monkeypatch):
    from autorep_fx.secure.makers.dealt.client import ClientHalf

    started, x = provider(server__client_held=1000), published[2]
    prepare, stalled, go_on = ClientHalf.prepare, threading.Event(), threading.Event()

    def stalls(self, batch):
        if batch == 64:
            stalled.set()
            go_on.wait(20)
        return prepare(self, batch)

    monkeypatch.setattr(ClientHalf, "prepare", stalls)
    with started.connect(depth=1, batch=64) as client, started.connect(depth=0) as same:
        assert stalled.wait(10)
        with pytest.raises(Refused, match="the dealer refuses: correlations of 64 samples wait for 'alice', and 64"):
            same.run(x[:1], timeout=0.8)
        go_on.set()
        assert client.wait() == 1
        assert right(published, same.run(x[:1]), x[:1])


def test_a_place_at_the_dealer_is_free_as_soon_as_its_server_gives_it_up(published, provider):
    started = provider(dealer__client_sessions=1)
    program = greeting.name_of_program(load_published(published[0] / "public").plan)
    for comes in (False, True):  # to the dealer, where it says no more
        link = channel(started, published)
        greeting.ask_for(link, "session", program)
        session = link.receive_letter(session=str)["session"]
        if comes:
            other = channel(started, published, "dealer")
            greeting.ask_for(other, "session", program, session=session)
            other.receive_letter()
        with pytest.raises(Refused, match="the dealer refuses: 'alice' has 1 sessions"):
            started.connect(timeout=0.5)
        link.close()
        until(lambda: comes_in(started), gate.PATIENCE / 2)
    other.close()


def comes_in(started) -> bool:
    try:
        started.connect(depth=0).close()
    except Refused:
        return False
    return True


def test_a_session_that_rests_ends(published, provider):
    started, x = provider(idle=0.5, grace=0.5), published[2]
    with started.connect() as client:
        client.wait()
        session = client._session.name
        until(lambda: started.ledger("server") and all_ended(started.ledger("server")), 5)
        assert right(published, client.run(x[:1]), x[:1]) and client._session.name != session, "the next run opens one"


def test_an_inference_has_so_many_seconds(published, provider):
    started = provider(server__timeout=2.0)
    with started.connect() as client:
        client.wait()
        session = client._session
        number = session.pool.next(1, 0.0)
        session._online.send(REQUEST, np.array([number], np.int64))  # and nothing more
        with pytest.raises(PartyError, match="the client sent nothing, or too little, for 2 s"):
            session._online.receive(0)
        until(lambda: (session.name, number, "alice", "burned") in started.ledger("server"), 5)


def test_gmw_and_large_messages(published, provider):
    started, x = provider(server__comparison="gmw"), published[2]
    with started.connect(batch=32, threads=2) as client:
        result = client.run(x)
        assert right(published, result, x)
        cost = ar.SecureProgram.load(published[0] / "program").cost("wan", comparison="gmw", batch=32)
        assert result.stats.online.rounds == cost.rounds
    assert right(published, result, x)


def test_prepared_inferences_on_disk(published, provider, tmp_path):
    started, x = provider(server__disk=True), published[2]
    with started.connect(depth=2, disk=True, state=tmp_path / "client") as client:
        assert client.wait() == 2
        for folder in (tmp_path / "client", started.folder / "server"):
            until(lambda folder=folder: len([*folder.glob("prepared/*/*.sealed")]) == 2)
            assert all(file.stat().st_mode & 0o777 == 0o600 for file in folder.glob("prepared/*/*"))
        assert right(published, client.run(x[:1]), x[:1])
    for folder in (tmp_path / "client", started.folder / "server"):
        until(lambda folder=folder: not [*folder.glob("prepared/*/*")])


def test_a_service_says_what_is_wrong_with_its_settings(published, tmp_path, capsys):
    folder = published[0]
    for arguments, message in (
        (["deal", "--program", folder / "public"], "listen: Field required"),
        (["deal", "--program", folder / "public", "--listen", "0.0.0.0:0"], "is not of this machine: give cert and ca"),
        (["deal", "--program", tmp_path, "--listen", "127.0.0.1:0"], "no program at"),
        (["serve", "--program", folder / "public", "--listen", "127.0.0.1:0", "--dealer", "x"], "no server's part at"),
        (["deal", "--program", folder / "public", "--listen", "127.0.0.1:0", "--timeout", "-1"], "timeout: "),
        (
            [
                "serve",
                "--program",
                folder / "program",
                "--listen",
                "127.0.0.1:0",
                "--dealer",
                "127.0.0.1:1",
                "--advertise",
                "here",
            ],
            "'here' is not HOST:PORT",
        ),
    ):
        assert main([*map(str, arguments)]) == 2
        assert message in capsys.readouterr().err
