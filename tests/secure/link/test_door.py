"""Who comes in at the door, and that strangers hold up nobody."""

import socket
import threading
import time

import pytest

from autorep_fx.secure.link import door

TOKEN = bytes(range(16))


def visit(listener, said=b""):
    connection = socket.create_connection(listener.getsockname(), timeout=10)
    connection.sendall(said)
    return connection


STRANGERS = {
    "silent": b"",
    "wrong token": bytes(16) + b"client\0\0",
    "false name": TOKEN + b"mallory\0",
    "no name at all": TOKEN + b"\xff" * 8,
    "half a greeting": TOKEN + b"cli",
    "web browser": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


@pytest.mark.parametrize("said", STRANGERS.values(), ids=STRANGERS)
def test_a_stranger_first_and_those_who_are_awaited_come_in(said):
    with door.listen() as listener:
        strangers = [visit(listener, said) for _ in range(3)]
        friends = {name: visit(listener) for name in ("client", "server")}
        for name, friend in friends.items():
            door.introduce(friend, name, TOKEN)
        found = door.admit(listener, {"client", "server"}, TOKEN, time.monotonic() + 20)
        assert {name: c.getpeername() for name, c in found.items()} == {n: c.getsockname() for n, c in friends.items()}
        friends["server"].sendall(b"hello")
        assert found["server"].recv(5) == b"hello"
        for stranger in strangers:
            try:
                assert stranger.recv(1) == b"", "turned away"
            except ConnectionResetError:
                pass  # the same, with something that nobody read


def test_a_name_comes_in_once():
    with door.listen() as listener:
        for _ in range(2):
            door.introduce(visit(listener), "client", TOKEN)
        with pytest.raises(TimeoutError):
            door.admit(listener, {"client", "server"}, TOKEN, time.monotonic() + 0.3)


@pytest.mark.parametrize("setting", [{"PATIENCE": 0.05}, {"_CROWD": 1}])
def test_the_silent_are_turned_away_in_time_and_when_there_are_too_many(setting, monkeypatch, caplog):
    with door.listen() as listener:
        for name, value in setting.items():
            monkeypatch.setattr(door, name, value)
        silent = visit(listener)
        others = [visit(listener) for _ in range(3)] if "_CROWD" in setting else []

        def come_later():
            assert silent.recv(1) == b""  # not before it was turned away
            door.introduce(visit(listener), "client", TOKEN)

        thread = threading.Thread(target=come_later)
        thread.start()
        assert set(door.admit(listener, {"client"}, TOKEN, time.monotonic() + 20)) == {"client"}
        thread.join()
        assert "turned away" in caplog.text
        for other in others:
            other.close()
