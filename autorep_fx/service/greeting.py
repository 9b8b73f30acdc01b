"""What is said before a session: which version, which program, who asks for what."""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Mapping
from typing import Any, NoReturn

from ..errors import PartyError
from ..secure.link.channel import Channel
from ..secure.plan.plan import VERSION as PLAN_VERSION
from ..secure.plan.plan import Plan
from ..text import elide

#: Of what the three services say to one another.
VERSION = 1

_SESSION, _FINGERPRINT = re.compile("[0-9a-f]{32}"), re.compile("([0-9a-f]{64})?")

#: Characters of what somebody is called where no certificate says it, and of why somebody is turned away.
_NAME, _WHY = 255, 500

#: What else a client may say that it has, and where it has it from.
_TERMS = {"form": "the form of the output (public.json)", "pictures": "what a picture becomes (input.json)"}

#: How a server and a client are set up that have a dealer, and that have none.
_SETTINGS = {
    True: ("a dealer (serve --dealer)", "one (ask --dealer, connect(dealer=...))"),
    False: ("no dealer (serve without --dealer)", "none (ask without --dealer, connect(dealer=None))"),
}


class TurnedAway(PartyError):
    """A peer asked for what it will not get, and was told."""


def new_session() -> str:
    """The name of a session, which nobody guesses."""
    return secrets.token_hex(16)


def names_session(said: object) -> bool:
    """Whether it can be the name of a session."""
    return type(said) is str and _SESSION.fullmatch(said) is not None


def names_certificate(said: object) -> bool:
    """Whether it can be the fingerprint of a certificate, or of none."""
    return type(said) is str and _FINGERPRINT.fullmatch(said) is not None


def name_in(channel: Channel, letter: dict[str, Any], entry: str, default: str | None = None) -> str:
    """Whom a letter names; a peer that names nobody, or at length, is turned away."""
    name = letter.get(entry, default)
    if type(name) is not str or not 0 < len(name) <= _NAME or not name.isprintable():
        refuse(channel, f"'{entry}' has to be a name, of 1 to {_NAME} printable characters")
    return name


def name_of_program(plan: Plan) -> str:
    """What a program is called in a greeting: the digest of its plan as it was published."""
    return plan.digest().hex()


def ask_for(channel: Channel, what: str, program: str, **more: Any) -> None:
    """The first letter of a connection."""
    channel.send_letter(service=VERSION, plan=PLAN_VERSION, program=program, wants=what, **more)


def asked(channel: Channel, name: str) -> dict[str, Any]:
    """The first letter of a connection. name: whom its certificate names; "" where there is none.

    Raises:
        TurnedAway: it is of another version; says who is out of date.
    """
    letter = channel.receive_letter(service=int, plan=int, program=str, wants=str)
    for part, mine in (("service", VERSION), ("plan", PLAN_VERSION)):
        if letter[part] != mine:
            them = f"'{who}'" if (who := name or str(letter.get("name", ""))[:60]) else "whoever asks"
            both = (f"the {channel.me}", mine), (them, letter[part])
            (older, less), (newer, more) = sorted(both, key=lambda party: party[1])
            refuse(channel, f"{older} is out of date: it has version {less} of the {part}, and {newer} version {more}; "
                            "install a newer autorep_fx there")  # fmt: skip
    return letter


def check_terms(channel: Channel, letter: dict[str, Any], terms: Mapping[str, str]) -> None:
    """Turn a client away that says that it has other ``terms`` (published.py)."""
    for name, mine in terms.items():
        if letter.get(name, mine) != mine:
            refuse(channel, f"{_TERMS[name]} is another one here; fetch the public part again")


def one_without_dealer(server: bool, client: bool) -> str:
    """Why a server and a client cannot prepare together, of whom one has a dealer and the other none."""
    has, have = _SETTINGS[server][0], _SETTINGS[client][1]
    return f"the server has {has}, and the client {have}; both have to name the same dealer, or neither one"


def check_dealer(channel: Channel, letter: dict[str, Any], mine: bool) -> None:
    """Turn a client away that has a dealer where this server has none, or the other way round. One that does not say
    is of a version that always has one."""
    theirs = letter.get("dealer", True) is not False
    if theirs != mine:
        refuse(channel, one_without_dealer(mine, theirs))


def check_checked(channel: Channel, letter: dict[str, Any], mine: bool) -> None:
    """Turn a peer away that takes a checked program for one that is not, or the other way round. One that does not say
    is of a version that has none."""
    if (letter.get("checked", False) is True) != mine:
        refuse(channel, one_checked(mine))


def one_checked(mine: bool) -> str:
    """Why two do not run a program together that one of them takes for a checked one, the other not. mine: whether it
    is this party."""
    here, there = ("is checked", "it is not") if mine else ("is not checked", "it is")
    return f"the program {here} here, and where this was asked {there}; fetch its public part again"


def check_program(channel: Channel, letter: dict[str, Any], program: str) -> None:
    """Turn a peer away that has another program."""
    if letter["program"] != program:
        refuse(channel, "another program is published here; fetch its public part again")


def refuse(channel: Channel, why: str) -> NoReturn:
    """Tell the peer, and end.

    Raises:
        TurnedAway: always.
    """
    why = elide(why, _WHY)
    tell(channel, why)
    raise TurnedAway(f"{channel.me}: turned {channel.peer} away: {why}")


def tell(channel: Channel, why: str, retry_after: float | None = None) -> None:
    """Tell the peer, if it is still there."""
    with contextlib.suppress(PartyError):
        channel.send_fault(why, retry_after)
