"""What is said before a session is data, too."""

import pytest

from autorep_fx.errors import PartyError
from autorep_fx.secure.link.local import local_pair
from autorep_fx.service.greeting import TurnedAway, name_in, names_session, new_session, refuse


def test_names_of_sessions():
    assert names_session(new_session())
    for wrong in (None, 7, "", "f" * 31, "f" * 33, "F" * 32, "../" + "f" * 29, "f" * 31 + "\n"):
        assert not names_session(wrong)


def test_who_is_named_without_a_certificate_is_named_in_short():
    mine, theirs = local_pair("server", "client", timeout=5)
    assert name_in(mine, {"name": "alice"}, "name") == "alice" and name_in(mine, {}, "name", "client") == "client"
    for wrong in ({}, {"name": 7}, {"name": ""}, {"name": "a" * 256}, {"name": "a\n"}, {"name": ["alice"]}):
        with pytest.raises(TurnedAway, match="'name' has to be a name, of 1 to 255 printable characters"):
            name_in(mine, wrong, "name")
        with pytest.raises(PartyError, match="the server failed: 'name' has to be a name"):
            theirs.receive(1)


def test_what_a_peer_is_told_and_a_log_is_not_as_long_as_the_peer_likes():
    mine, _ = local_pair("server", "client", timeout=5)
    with pytest.raises(TurnedAway) as found:
        refuse(mine, f"nothing here is called {'x' * 60_000}")
    assert len(str(found.value)) < 600
