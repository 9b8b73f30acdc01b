"""What belongs to a process knows it: a fork is told, however it came about."""

import os

import pytest
from forks import said_in_a_fork

from autorep_fx.errors import PartyError
from autorep_fx.secure.owner import Owner


def test_a_fork_is_another_process():
    owner = Owner("this thing")
    owner.check()
    assert owner.here
    (said,) = said_in_a_fork(owner.check)
    assert said.startswith(f"PartyError: this thing belongs to the process that started it ({os.getpid()}), and this")


def test_a_fork_of_a_fork_is_another_process_than_both():
    owner, made = Owner("this thing"), []

    def passed_on(owner):
        raise PartyError(said_in_a_fork(owner.check)[0])

    first, _, second = said_in_a_fork(lambda: passed_on(owner), lambda: made.append(Owner("that of the first fork")),
                                      lambda: passed_on(made[0]))  # fmt: skip
    assert "this thing belongs to" in first and "that of the first fork belongs to" in second


def test_the_number_of_a_process_may_come_twice(monkeypatch):
    """As in containers, where the first process of each one is number 1."""
    owner, number = Owner("this thing"), os.getpid()
    assert "belongs to" in said_in_a_fork(lambda: setattr(os, "getpid", lambda: number), owner.check)[1]
    monkeypatch.setattr(os, "getpid", lambda: number + 1)  # a fork that Python was not told of
    with pytest.raises(PartyError, match="belongs to the process that started it"):
        owner.check()


def test_what_a_fork_makes_is_its_own():
    made = []
    assert said_in_a_fork(lambda: made.append(Owner("its own")), lambda: made[0].check()) == ["", ""]
