"""Where others are: what the other side says of it is data."""

import pytest

from autorep_fx.errors import PartyError
from autorep_fx.secure.link.tls import Identity
from autorep_fx.service.addresses import address_of, redirected

SOMEBODY = Identity("alice.pem", "ca.pem")


def test_addresses():
    assert address_of("host.example:7001") == ("host.example", 7001) and address_of("[::1]:0") == ("::1", 0)
    for wrong in (
        "",
        "host",
        "host:",
        ":1",
        "host:65536",
        "host:-1",
        "http://host:7",
        "host:²",
        "host:٣",
        "host:" + 5000 * "9",
    ):
        with pytest.raises(ValueError, match="is not HOST:PORT"):
            address_of(wrong)


@pytest.mark.parametrize("said", ["host.example:7001", "192.0.2.7:80", "[2001:db8::7]:80", "127.0.0.1:7", "a-b_c.d.:1"])
def test_a_redirect_goes_anywhere_with_certificates_or_if_the_network_is_said_to_be_protected(said):
    assert redirected(said, SOMEBODY, False) == redirected(said, None, True) == said
    if not said.startswith("127"):
        with pytest.raises(PartyError, match="which is not of this machine: give both certificates, or plain"):
            redirected(said, None, False)


@pytest.mark.parametrize("said", ["127.0.0.1:7", "[::1]:7", "localhost:7"])
def test_a_redirect_without_certificates_stays_on_this_machine(said):
    assert redirected(said, None, False) == said


@pytest.mark.parametrize("said", [
    "host", "host:", ":7", "host:0", "host:99999", "host:٣", "ho st:7", "user@host:7", "http://host:7", "a/b:7", "..:7",
    "\x1b[2J:7", "host\n:7", "fe80::1%\x1b[31m:7", "höst:7", 300 * "a" + ":7", "host:7:8",
])  # fmt: skip
def test_a_redirect_to_what_is_no_address_is_the_server_s_fault(said):
    for identity, plain in ((SOMEBODY, False), (None, True), (None, False)):
        with pytest.raises(PartyError, match="client: the server says that it is at") as found:
            redirected(said, identity, plain)
        assert str(found.value).isprintable() and len(str(found.value)) < 200
