"""Locks that end with their process, however it ends."""

import os

import pytest
from forks import FORKS

from autorep_fx.errors import PartyError
from autorep_fx.service.locks import hold, hold_place, let_go


def take_and_die(folder):
    hold(folder)
    hold_place(folder, "server here")
    os._exit(9)


def test_a_folder_is_locked_until_its_process_ends(tmp_path):
    dead = FORKS.Process(target=take_and_die, args=(tmp_path,))
    dead.start()
    dead.join(60)
    assert dead.exitcode == 9
    mine = hold(tmp_path)
    with pytest.raises(BlockingIOError):
        hold(tmp_path)
    let_go(mine)
    let_go(hold(tmp_path))
    let_go(hold_place(tmp_path, "server here"))


def test_a_place_that_is_taken_names_who_has_it(tmp_path):
    place = hold_place(tmp_path / "state", "server 0.0.0.0:7001")
    let_go(hold_place(tmp_path / "state", "server 0.0.0.0:7002"))
    with pytest.raises(PartyError, match=f"state: process {os.getpid()} is 'server 0.0.0.0:7001' with .*state already"):
        hold_place(tmp_path / "state", "server 0.0.0.0:7001")
    let_go(place)
    (file,) = (tmp_path / "state").glob("*7001.lock")
    assert file.stat().st_mode & 0o777 == 0o600
