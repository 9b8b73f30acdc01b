"""Prepared inferences in memory and on disk: what was put in comes out, once."""

import os
import random
import threading
import time

import numpy as np
import pytest
from forks import FORKS, said_in_a_fork

from autorep_fx.errors import PartyError
from autorep_fx.secure.correlations.prepared import Prepared
from autorep_fx.service import pool as pool_module
from autorep_fx.service.pool import Disk, Memory, Pool, prepared_pool, remove_left


def prepared(number, batch=1):
    rng = np.random.default_rng(number)
    masks = {"conv/1": rng.integers(0, 2**64, (batch, 3, 4), np.uint64), "a": np.zeros((0, 2), np.uint32)}
    shares = {"relu.1": {"alpha": rng.integers(0, 2**32, 7, np.uint32), "key": rng.integers(0, 2**64, 9, np.uint64)}}
    return Prepared("server", batch, number, masks, shares)


def stores(tmp_path):
    return {"memory": Memory(), "disk": Disk(tmp_path / "session", "server")}


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_what_is_put_comes_out_once(kind, tmp_path):
    store = stores(tmp_path)[kind]
    pool = Pool(store, most=3)
    for number, batch in ((1, 1), (2, 4), (3, 1)):
        pool.put(prepared(number, batch))
    assert (len(pool), pool.count(1), pool.count(4), pool.count(2)) == (3, 2, 1, 0)
    with pytest.raises(PartyError, match="3 prepared inferences wait already"):
        pool.put(prepared(4))
    assert pool.next(4, 0.0) == 2 and pool.next(4, 0.0) is None and pool.has(3, 0.0) and not pool.has(3, 0.0)
    for number, batch in ((2, 4), (3, 1)):
        found, wanted = pool.take(number), prepared(number, batch)
        assert (found.inference, found.batch) == (number, batch)
        (masks, shares), (wanted_masks, wanted_shares) = found.take(), wanted.take()
        for mine, theirs in ((masks, wanted_masks), (shares["relu.1"], wanted_shares["relu.1"])):
            assert mine.keys() == theirs.keys()
            for name in mine:
                assert mine[name].dtype == theirs[name].dtype and np.array_equal(mine[name], theirs[name])
                mine[name][...] = 0  # parties compute in place
    with pytest.raises((KeyError, PartyError)):
        pool.take(2)
    pool.close()
    with pytest.raises(PartyError, match="the session is over"):
        pool.next(1, 0.0)
    assert not (tmp_path / "session").exists() or kind == "memory"


def test_files_can_be_read_by_nobody_else_and_not_be_exchanged(tmp_path):
    store = Disk(tmp_path / "session", "server")
    for number in (1, 2):
        store.put(prepared(number))
    one, two = (tmp_path / "session" / f"{number}.sealed" for number in (1, 2))
    assert one.stat().st_mode & 0o777 == 0o600 and one.parent.stat().st_mode & 0o777 == 0o700
    plain = prepared(1).take()[0]["conv/1"].tobytes()
    assert plain[:16] not in one.read_bytes()
    two.write_bytes(one.read_bytes())
    with pytest.raises(PartyError, match="2.sealed was changed since it was written"):
        store.take(2)
    with pytest.raises(PartyError, match="2.sealed is gone"):
        store.take(2)


def prepare_and_die(state):
    for number in (1, 2):
        prepared_pool("client", 1, state, True).put(prepared(number))
    os._exit(9)


def test_files_of_a_process_that_is_gone_are_removed_and_no_others(tmp_path):
    pool = prepared_pool("client", 1, tmp_path, True)
    pool.put(prepared(3))
    dead = FORKS.Process(target=prepare_and_die, args=(tmp_path,))
    dead.start()
    dead.join(60)
    (tmp_path / "prepared" / "notes.txt").write_text("of somebody else")
    assert dead.exitcode == 9 and len([*tmp_path.glob("prepared/*/*.sealed")]) == 3
    remove_left(tmp_path)
    assert [file.name for file in tmp_path.glob("prepared/*/*")] == ["3.sealed"]
    assert pool.next(3, 0.0) is None and pool.next(1, 0.0) == 3 and pool.take(3).inference == 3
    pool.close()
    assert [each.name for each in (tmp_path / "prepared").iterdir()] == ["notes.txt"]
    remove_left(tmp_path / "nowhere")


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_a_fork_takes_nothing_of_what_its_parent_has_prepared(kind, tmp_path):
    pool = Pool(stores(tmp_path)[kind], most=2)
    for number in (1, 2):
        pool.put(prepared(number))
    assert pool.next(1, 0.0) == 1
    with pool._condition:  # of a thread that a fork does not have
        *said, closed = said_in_a_fork(
            lambda: pool.take(1), lambda: pool.next(1, 0.0), lambda: pool.has(2, 0.0), lambda: pool.put(prepared(3)),
            lambda: pool.count(1), pool.wake, pool.close,
        )  # fmt: skip
    assert all("what is prepared belongs to the process that started it" in each for each in said), said
    assert closed == "" and pool.take(1).take() and pool.has(2, 0.0) and pool.take(2).take()


def test_the_folder_above_is_its_owner_s_alone_too(tmp_path):
    prepared_pool("client", 1, tmp_path / "home", True)
    for folder in (tmp_path / "home", tmp_path / "home" / "prepared", *(tmp_path / "home" / "prepared").iterdir()):
        assert folder.stat().st_mode & 0o777 == 0o700


def damages(data, first, rng):
    """What may become of a file whose first piece takes ``first`` bytes."""
    yield from (b"", data[:10], data[:27], data[:28], data[:first], data[first:], data + data[:20], data + data[:first])
    yield from (size.to_bytes(8, "little") + data[8:] for size in (0, 1, 2**40, 2**62, 2**63 + 5))
    yield data[first:] + data[:first]
    yield from (data[: rng.randrange(len(data))] for _ in range(10))
    for _ in range(40):
        at = rng.randrange(len(data))
        yield data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def test_whatever_became_of_a_file_is_the_one_error(tmp_path, monkeypatch):
    monkeypatch.setattr(pool_module, "_PIECE", 128)  # several pieces, as of an inference of hundreds of megabytes
    store, path = Disk(tmp_path / "session", "server"), tmp_path / "session" / "1.sealed"
    store.put(prepared(1))
    data = path.read_bytes()
    assert len(data) > 4 * 128 and store.take(1).inference == 1
    for damaged in damages(data, 28 + 128 + 16, random.Random(0)):
        path.write_bytes(damaged)
        with pytest.raises(PartyError, match="1.sealed was changed since it was written: 1 is spoiled"):
            store.take(1)
        assert not path.exists()


def test_waiting_for_what_is_being_prepared():
    pool = Pool(Memory(), most=2)
    threading.Timer(0.1, lambda: pool.put(prepared(1))).start()
    assert pool.next(1, time.monotonic() + 5) == 1
    threading.Timer(0.1, lambda: pool.put(prepared(2))).start()
    assert pool.has(2, time.monotonic() + 5)
    threading.Timer(0.1, lambda: pool.stop(PartyError("the dealer is gone"))).start()
    with pytest.raises(PartyError, match="the dealer is gone"):
        pool.next(1, time.monotonic() + 5)
