"""Channels: what goes wrong between two parties ends the run, in time, with the step's name."""

import fcntl
import functools
import gc
import math
import resource
import socket
import ssl
import struct
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from cryptography import x509
from forks import said_in_a_fork

from autorep_fx import Network
from autorep_fx.errors import PartyError, PeerLost, Refused
from autorep_fx.secure.link import shaped, tls
from autorep_fx.secure.link.channel import Clock
from autorep_fx.secure.link.local import local_pair
from autorep_fx.secure.link.message import HEADER, HEADER_BYTES, LETTER
from autorep_fx.secure.link.shaped import Shaped
from autorep_fx.secure.link.stream import StreamChannel
from autorep_fx.secure.link.tcp import TcpChannel
from autorep_fx.secure.link.tls import Identity
from autorep_fx.service.certificates import make_certificates


def tcp_pair(timeout=5.0, **options):
    listener = socket.create_server(("127.0.0.1", 0))
    one = socket.create_connection(listener.getsockname())
    other, _ = listener.accept()
    listener.close()
    options.setdefault("steps", ("input", "conv1"))
    return (TcpChannel(one, "client", "server", timeout=timeout, **options),
            TcpChannel(other, "server", "client", timeout=timeout, **options))  # fmt: skip


@functools.cache
def identities():
    folder = Path(tempfile.mkdtemp())
    paths = make_certificates(folder, ["client", "server"])
    return [Identity(path, folder / "ca.pem") for path in paths]


def stream_pair(secured, timeout=5.0, **options):
    """Over a socket as it is, or TLS."""
    mine, theirs = identities() if secured else (None, None)
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        one = pool.submit(tls.connect, listener.getsockname(), mine, "server", 5.0)
        other, _ = listener.accept()
        if secured:
            context = theirs.context(listens=True)
            other = context.wrap_socket(other, server_side=True, do_handshake_on_connect=False)
            tls.shake_hands(other)
        options.setdefault("steps", ("input", "conv1"))
        return (StreamChannel(one.result(), "client", "server", timeout=timeout, **options),
                StreamChannel(other, "server", "client", timeout=timeout, **options))  # fmt: skip


def pair(kind, timeout=5.0, **options):
    if kind == "tcp":
        return tcp_pair(timeout, **options)
    if kind in ("stream", "tls"):
        return stream_pair(kind == "tls", timeout, **options)
    return local_pair("client", "server", timeout=timeout, steps=("input", "conv1"), **options)


KINDS = pytest.mark.parametrize("kind", ["tcp", "local", "stream", "tls"])


@KINDS
def test_messages_arrive_and_are_counted(kind):
    a, b = pair(kind)
    parts = [np.arange(1000, dtype=np.uint64), np.arange(7, dtype=np.uint8)]
    a.send(1, *parts)
    a.send(1)
    into = [np.empty_like(p) for p in parts]
    b.receive(1, *into)
    b.receive(1)
    assert all(np.array_equal(p, q) for p, q in zip(parts, into))
    assert (a.bytes_sent, a.messages_sent) == (8007 + 2 * HEADER_BYTES, 2)
    assert (a.clock.depth, b.clock.depth) == (0, 1), "two messages the same way are one round"
    b.send(0)
    a.receive(0)
    assert a.clock.depth == 2


@KINDS
@pytest.mark.parametrize("size", [100, 3_000_000])
def test_exchange_sends_both_ways_at_once(kind, size):
    a, b = pair(kind)
    mine, theirs = np.full(size, 1, np.uint64), np.full(size, 2, np.uint64)
    got = np.empty_like(mine)
    thread = threading.Thread(target=b.exchange, args=(1, theirs, np.empty_like(mine)))
    thread.start()
    a.exchange(1, mine, got)
    thread.join(5)
    assert (got == 2).all() and a.clock.depth == b.clock.depth == 1


@KINDS
@pytest.mark.parametrize("size", [100, 3_000_000])
def test_an_exchange_in_which_one_side_says_nothing(kind, size):
    a, b = pair(kind)
    mine, nothing = np.full(size, 1, np.uint64), np.empty(0, np.uint64)
    got = np.empty_like(mine)
    thread = threading.Thread(target=b.exchange, args=(1, nothing, got))
    thread.start()
    a.exchange(1, mine, np.empty(0, np.uint64))
    thread.join(5)
    assert (got == 1).all() and a.clock.depth == b.clock.depth == 1


@KINDS
def test_wrong_length_and_wrong_step(kind):
    a, b = pair(kind)
    a.send(1, np.zeros(3, np.uint64))
    with pytest.raises(PartyError, match="server, at step 'conv1': the client sent 24 bytes where 32 belong"):
        b.receive(1, np.zeros(4, np.uint64))
    a, b = pair(kind)
    a.send(0)
    with pytest.raises(PartyError, match="server, at step 'conv1': the client sent a message for step 'input'"):
        b.receive(1)


@KINDS
def test_other_version_and_other_program(kind):
    a, b = pair(kind)
    a.send(2**32 - 1, np.frombuffer(struct.pack("<8sI4x16s", b"afx-2pc\0", 99, b"d" * 16), np.uint8))
    with pytest.raises(PartyError, match="server, at hello: the client speaks version 99, this is version 1; the "
                                         "server is out of date"):  # fmt: skip
        b.check_greeting(1, b"d" * 16)
    a, b = pair(kind)
    a.send(2**32 - 1, np.frombuffer(struct.pack("<8sI4x16s", b"afx-2pc\0", 1, b"e" * 16), np.uint8))
    with pytest.raises(PartyError, match="has another program"):
        b.check_greeting(1, b"d" * 16)


@KINDS
def test_a_peer_that_hangs_up_or_says_nothing(kind):
    a, b = pair(kind, timeout=0.3)
    start = time.monotonic()
    with pytest.raises(PartyError, match="client, at step 'conv1': the server sent nothing.* for 0.3 s"):
        a.receive(1, np.zeros(4, np.uint64))
    b.close()
    with pytest.raises(PartyError, match="client, at step 'conv1': the server hung up"):
        a.receive(1, np.zeros(4, np.uint64))
    assert time.monotonic() - start < 2


def test_a_message_that_stops_half_way():
    a, b = tcp_pair(timeout=0.4)
    a._socket.sendall(struct.pack("<IIQd", 1, 1, 800, 0.0) + b"x" * 100)
    with pytest.raises(PartyError, match="step 'conv1'"):
        b.receive(1, np.zeros(100, np.uint64))


def test_garbage_instead_of_a_greeting():
    a, b = tcp_pair()
    a._socket.sendall(b"GET / HTTP/1.1\r\nHost: a-name-that-is-long-enough\r\n\r\n")
    with pytest.raises(PartyError, match="server, at hello: the client sent"):
        b.check_greeting(1, b"d" * 16)


@KINDS
def test_a_slow_link(kind):
    a, b = (Shaped(end, Network(rtt_ms=100, mbps=8)) for end in pair(kind))
    start = time.monotonic()
    a.send(1, np.zeros(12_500, np.uint64))  # 100 kB take 0.1 s, and half a round trip
    b.receive(1, np.zeros(12_500, np.uint64))
    assert 0.15 <= time.monotonic() - start < 0.3


@KINDS
def test_a_lost_peer_has_a_class_of_its_own(kind):
    a, b = pair(kind)
    b.close()
    with pytest.raises(PeerLost):
        a.receive(1, np.zeros(4, np.uint64))
    a, b = pair("tcp")
    b.close()
    with pytest.raises(PeerLost):
        a.exchange(1, np.zeros(2**20, np.uint64), np.zeros(2**20, np.uint64))


@KINDS
@pytest.mark.parametrize("depth", [0, 9, 2**32 - 1])
def test_a_depth_that_cannot_be_does_not_spoil_the_clock(kind, depth):
    a, b = pair(kind)
    b.clock = Clock(limit=8)
    a._write(1, [HEADER.pack(1, depth, 0, 0.0)])
    with pytest.raises(PartyError, match=f"sent a message of depth {depth}, and there are at most 8"):
        b.receive(1)
    assert b.clock.depth == 0


@pytest.mark.parametrize("lie", [1e6, math.inf, -math.inf, math.nan])
def test_a_stamp_never_makes_a_message_later_than_the_network_does(lie, monkeypatch):
    network, slept = Network(rtt_ms=100, mbps=8), []
    monkeypatch.setattr(shaped.time, "sleep", slept.append)
    a, b = pair("local")
    b = Shaped(b, network)
    for _ in range(5):
        a._write(1, [HEADER.pack(1, 1, 800, time.monotonic() + lie), bytes(800)])
        b.receive(1, np.zeros(100, np.uint64))
        # Nobody slept in truth, so the link is as busy as the messages before have made it.
        assert all(wait <= network.delay + 5 * network.seconds(800 + HEADER_BYTES) for wait in slept)


@KINDS
def test_a_message_says_when_it_was_sent_only_where_the_network_is_shaped(kind):
    for wrap in (lambda end: end, lambda end: Shaped(end, Network(rtt_ms=0))):
        a, b = pair(kind)
        wrap(a).send(1)
        b.receive(1)
        size, stamp = b.arrived
        assert size == HEADER_BYTES and (stamp > 0) == (wrap(a) is not a)


def test_descriptors_beyond_what_select_takes():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2000:
        pytest.skip("this system lets a process open few files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2000), hard))
    try:
        ends = []
        for end in tcp_pair():
            high = fcntl.fcntl(end._socket.fileno(), fcntl.F_DUPFD, 1500)
            end._socket.close()
            ends.append(TcpChannel(socket.socket(fileno=high), end.me, end.peer, timeout=5))
        (a, b), size = ends, 100_000
        thread = threading.Thread(target=b.exchange, args=(1, np.ones(size, np.uint64), np.empty(size, np.uint64)))
        thread.start()
        a.exchange(1, np.ones(size, np.uint64), got := np.empty(size, np.uint64))
        thread.join(5)
        assert got.all()
        b.send(1)
        a.wait()
        a.close(), b.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_timeout_below_the_clock_s_unit_is_not_for_ever():
    a, _ = tcp_pair(timeout=1e-8)
    with pytest.raises(PartyError, match="sent nothing"):
        a.receive(1)


@pytest.mark.parametrize("kind", ["tcp", "stream", "tls"])
def test_a_fork_does_not_touch_a_link_of_its_parent_s(kind):
    (a, b), big = pair(kind), np.zeros(100_000, np.uint64)
    a.send(1)
    b.receive(1)
    *said, closed = said_in_a_fork(
        lambda: a.send(1), lambda: b.receive(1), lambda: a.exchange(1, big[:1], big[:1]),
        lambda: a.exchange(1, big, big), lambda: a.send_letter(x=1), lambda: b.receive_letter(),
        lambda: a.send_fault("no"), a.wait, lambda: (a.close(), b.close(), gc.collect()),
    )  # fmt: skip
    assert all("a link between two parties belongs to the process that started it" in each for each in said), said
    assert closed == ""
    b.send(1, np.arange(9))
    a.receive(1, got := np.empty(9, np.int64))  # the next record of TLS, and nobody hung up
    assert got[8] == 8


def test_a_certificate_that_runs_out_ends_a_connection(tmp_path):
    a, b = stream_pair(True)
    certificate = x509.load_pem_x509_certificate(Path(identities()[1].certificate).read_bytes())
    assert a.expires == certificate.not_valid_after_utc.timestamp() and stream_pair(False)[0].expires == math.inf
    big = np.zeros(100_000, np.uint64)
    a.send(1)
    b.expires = time.time() - 1
    for call in (lambda: b.receive(1), lambda: b.send(1), lambda: b.exchange(1, big, big), lambda: b.wait(5.0)):
        with pytest.raises(PeerLost, match="server: the certificate of the client has run out"):
            call()
    a.expires = time.time() + 0.2
    a.send(1)
    time.sleep(0.3)
    with pytest.raises(PeerLost, match="client: the certificate of the server has run out"):
        a.send(1)


def test_an_authority_that_runs_out_ends_a_connection():
    a, _ = stream_pair(True)
    leaf = {"notAfter": "Jan  1 00:00:00 2031 GMT", "issuer": "us"}
    authorities = [{"notAfter": f"Jan  1 00:00:00 {year} GMT", "subject": who}
                   for year, who in ((2029, "us"), (2030, "us"), (2020, "others"))]  # fmt: skip
    for found, year in ((authorities, 2030), (authorities[2:], 2031), ([], 2031)):
        connection = SimpleNamespace(getpeercert=lambda: leaf,
                                     context=SimpleNamespace(get_ca_certs=lambda found=found: found))  # fmt: skip
        assert tls.runs_out(connection) == datetime(year, 1, 1, tzinfo=UTC).timestamp()
    assert a.socket.context.get_ca_certs()[0]["subject"] == a.socket.getpeercert()["issuer"], "they look like that"


def test_no_handshake_is_spared_by_an_earlier_one():
    """Where one is resumed, nobody looks at certificates and their dates."""
    mine, theirs = identities()
    listening, connecting = theirs.context(listens=True), mine.context(listens=False)

    def shake(session):
        with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
            raw = socket.create_connection(listener.getsockname())
            one = pool.submit(connecting.wrap_socket, raw, session=session)
            other = listening.wrap_socket(listener.accept()[0], server_side=True)
            other.sendall(b"x")  # tickets come before it
            assert one.result().recv(1) == b"x"
            return one.result()

    first = shake(None)
    assert not first.session.has_ticket
    assert not shake(first.session).session_reused


def test_who_is_not_believed_is_told_and_does_not_ask_again():
    def refuse(reason):
        a, b = stream_pair(True)
        a._connection = SimpleNamespace(settimeout=lambda _: None, recv_into=lambda _: (_ for _ in ()).throw(reason))
        with pytest.raises(PartyError, match="the server hung up") as found:
            a.receive(1)
        return found.type

    def error(reason):
        found = ssl.SSLError(1, f"[SSL: {reason}]")
        found.reason = reason
        return found

    for name in ("SSLV3_ALERT_CERTIFICATE_EXPIRED", "TLSV1_ALERT_UNKNOWN_CA", "SSLV3_ALERT_BAD_CERTIFICATE"):
        assert refuse(error(name)) is PartyError
    assert refuse(error("UNEXPECTED_EOF_WHILE_READING")) is refuse(ConnectionResetError()) is PeerLost


def test_a_key_that_others_may_read_is_warned_of(tmp_path, caplog):
    (path,) = make_certificates(tmp_path / "made", ["alice"])
    identity = Identity(path, tmp_path / "made" / "ca.pem")
    identity.context(listens=False)
    assert not caplog.records
    copy = tmp_path / "copy.pem"
    copy.write_bytes(path.read_bytes())
    copy.chmod(0o644)
    for _ in range(2):
        Identity(copy, tmp_path / "made" / "ca.pem").context(listens=False)
    (line,) = caplog.messages
    assert line == f"{copy} has a private key that others may read (mode 644): chmod 600 {copy}"


@KINDS
def test_letters(kind):
    a, b = pair(kind)
    a.send_letter(number=3, name="alice")
    assert b.receive_letter(number=int, name=str) == {"number": 3, "name": "alice"}
    a.send_letter(number=True)
    with pytest.raises(PartyError, match="server, at letter: the client sent a letter without 'number'"):
        b.receive_letter(number=int)
    a, b = pair(kind)
    a._write(0, [HEADER.pack(LETTER, 1, 2**30, 0.0)])
    with pytest.raises(PartyError, match="sent a letter of 1073741824 bytes, and 65536 are allowed"):
        b.receive_letter()


@KINDS
def test_a_fault_comes_in_place_of_anything(kind):
    a, b = pair(kind)
    a.send_fault("the disk is full")
    with pytest.raises(PartyError, match="server, at step 'conv1': the client failed: the disk is full"):
        b.receive(1, np.zeros(4))
    a.send_fault("too many at once", 2.5)
    with pytest.raises(Refused, match="server: the client refuses: too many at once") as refused:
        b.receive_letter(number=int)
    assert refused.value.retry_after == 2.5
    a.send(1)
    b.receive(1)


@pytest.mark.parametrize("retry, pause", [(0, 0.05), (1e-9, 0.05), (86400, 86400.0), (-1, None), (1e300, None),
                                          pytest.param(10**400, None, id="huge"), (math.inf, None), (math.nan, None),
                                          (True, None), ("1", None), ([], None)])  # fmt: skip
def test_a_time_to_ask_again_is_checked(retry, pause):
    a, b = pair("local")
    a.send_fault("later", retry)
    with pytest.raises(PartyError, match="later") as found:
        b.receive(1)
    assert getattr(found.value, "retry_after", None) == pause


def test_a_fault_s_text_does_nothing_to_a_terminal():
    a, b = pair("local")
    a.send_fault("a\x1b[2Jb\r\nc\u202ed")
    with pytest.raises(PartyError) as found:
        b.receive(1)
    assert str(found.value).endswith("failed: a [2Jb  c d")


@pytest.mark.parametrize("secured", [False, True])
def test_a_deadline_counts_before_the_timeout(secured):
    a, b = stream_pair(secured)
    a.deadline = time.monotonic() + 0.2
    start = time.monotonic()
    with pytest.raises(PartyError, match="sent nothing"):
        a.receive(1)
    with pytest.raises(PartyError, match="did not exchange its message"):
        a.exchange(1, np.zeros(10**6), np.zeros(10**6))
    assert time.monotonic() - start < 1
    assert b.wait(0.0) and not a.wait(0.1)
