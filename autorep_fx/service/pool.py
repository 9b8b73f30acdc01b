"""Prepared inferences that wait for their input: in memory, or on disk under a key that only this process has."""

from __future__ import annotations

import os
import secrets
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from ..errors import MissingDependency, PartyError
from ..secure.correlations.prepared import Prepared
from ..secure.files import create
from ..secure.owner import Owner
from .locks import hold, let_go, one_at_a_time
from .private import private_folder

#: Bytes that are encrypted as one; AES-GCM takes no more than 2**31.
_PIECE = 2**28

#: What is added to a piece, so that a change shows.
_TAG = 16

#: Where the pools of a state are.
_FOLDER = "prepared"


class Store(Protocol):
    """Where prepared inferences lie."""

    def put(self, prepared: Prepared) -> None: ...

    def take(self, number: int) -> Prepared: ...

    def close(self) -> None: ...


class Memory:
    """In memory."""

    def __init__(self):
        self._held: dict[int, Prepared] = {}

    def put(self, prepared: Prepared) -> None:
        self._held[prepared.inference] = prepared

    def take(self, number: int) -> Prepared:
        return self._held.pop(number)

    def close(self) -> None:
        self._held.clear()


class Disk:
    """Files of one session, encrypted (AES-256-GCM) under a key that is never written down: nobody can read them when
    the process is gone, itself started again included. Taking one deletes it first.

    Args:
        folder: made, for this session alone.
        party: whose they are.
    """

    def __init__(self, folder: Path, party: str):
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError as error:
            raise MissingDependency("prepared inferences on disk need the package cryptography: "
                                    "pip install 'autorep-fx[service]'") from error  # fmt: skip
        self._folder, self._party = folder, party
        self._cipher = AESGCM(AESGCM.generate_key(256))
        private_folder(folder.parent)
        with one_at_a_time(folder.parent):  # nobody takes it for one that was left before it is locked
            folder.mkdir(mode=0o700)
            self._lock = hold(folder)

    def put(self, prepared: Prepared) -> None:
        number, batch = prepared.inference, prepared.batch
        masks, shares = prepared.take()
        arrays = {f"m/{step}": array for step, array in masks.items()}
        arrays |= {f"s/{name}/{step}": array for step, found in shares.items() for name, array in found.items()}
        data = save({key: np.ascontiguousarray(array) for key, array in arrays.items()})
        with create(self._path(number)) as file:
            for i in range(0, len(data), _PIECE):
                nonce = os.urandom(12)
                sealed = self._cipher.encrypt(nonce, data[i : i + _PIECE], self._label(number, batch, i, len(data)))
                file.write(len(data).to_bytes(8, "little") + batch.to_bytes(8, "little") + nonce + sealed)

    def take(self, number: int) -> Prepared:
        """Raises:
        PartyError: the file was changed, or is gone.
        """
        path = self._path(number)
        try:
            with path.open("rb") as file:
                path.unlink()  # gone for everyone, whatever becomes of this
                batch, data = self._opened(number, file)
            arrays = load(data)
        except FileNotFoundError:
            raise PartyError(f"{path} is gone: inference {number} was taken, or somebody deleted it") from None
        except (OSError, ValueError, SafetensorError) as error:
            raise PartyError(f"{path} was changed since it was written: {number} is spoiled") from error
        masks: dict[str, np.ndarray] = {}
        shares: dict[str, dict[str, np.ndarray]] = {}
        for key, array in arrays.items():
            if key.startswith("m/"):
                masks[key[2:]] = array
            else:
                name, step = key[2:].split("/", 1)
                shares.setdefault(step, {})[name] = array
        return Prepared(self._party, batch, number, masks, shares)

    def _opened(self, number: int, file: BinaryIO) -> tuple[int, bytes]:
        """Samples, and the bytes that were sealed.

        Raises:
            ValueError: they were changed.
        """
        from cryptography.exceptions import InvalidTag

        parts, at, size, batch = [], 0, 1, 0
        while at < size:
            head = file.read(28)
            size, batch = (int.from_bytes(head[i : i + 8], "little") for i in (0, 8))
            sealed = file.read(min(size - at, _PIECE) + _TAG)  # no more than the file has, whatever it says
            try:
                parts.append(self._cipher.decrypt(head[16:], sealed, self._label(number, batch, at, size)))
            except InvalidTag:
                raise ValueError("a piece was changed") from None
            at += len(parts[-1])
        if file.read(1):
            raise ValueError("there is more than was written")
        return batch, b"".join(parts)

    def close(self) -> None:
        for path in self._folder.iterdir():
            path.unlink()
        self._folder.rmdir()
        let_go(self._lock)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number}.sealed"

    def _label(self, number: int, batch: int, at: int, size: int) -> bytes:
        return f"{self._party} {number} {batch} {at} {size}".encode()


class Pool:
    """What one session has prepared, by number, and how many samples each is for; of the process that prepared it.

    Args:
        most: how many may wait; more is an error of whoever puts them.

    Attributes:
        used: when one was taken last, of ``time.monotonic``.
    """

    def __init__(self, store: Store, most: int):
        self._store, self.most = store, most
        self._ready: OrderedDict[int, int] = OrderedDict()
        self._owner, self._condition = Owner("what is prepared"), threading.Condition(threading.RLock())
        self._closed: PartyError | None = None
        self.used = time.monotonic()

    def __len__(self) -> int:
        return len(self._ready)

    @property
    def _changed(self) -> threading.Condition:
        """Whoever looks at what waits holds it.

        Raises:
            PartyError: this is another process; a thread that it does not have may hold the lock there.
        """
        self._owner.check()
        return self._condition

    @property
    def open(self) -> bool:
        """Whether more may come."""
        return self._closed is None

    def count(self, batch: int) -> int:
        """How many wait that are for so many samples."""
        with self._changed:
            return sum(size == batch for size in self._ready.values())

    def put(self, prepared: Prepared) -> None:
        number, batch = prepared.inference, prepared.batch
        with self._changed:
            if self._closed:
                raise self._closed
            if len(self._ready) >= self.most:
                raise PartyError(f"{self.most} prepared inferences wait already")
        self._store.put(prepared)
        with self._changed:
            self._ready[number] = batch
            self._changed.notify_all()

    def next(self, batch: int, until: float) -> int | None:
        """The number of the oldest one for so many samples, which is this caller's then; None where there is none in
        time. until: of ``time.monotonic``.

        Raises:
            PartyError: the session is over, and there is none.
        """
        with self._changed:
            while True:
                for number, size in self._ready.items():
                    if size == batch:
                        del self._ready[number]
                        self._changed.notify_all()
                        return number
                if self._closed:
                    raise self._closed
                left = until - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    return None

    def has(self, number: int, until: float) -> bool:
        """Whether it waits, or will in time; it does no more then."""
        with self._changed:
            self._changed.wait_for(lambda: number in self._ready or self._closed, max(until - time.monotonic(), 0))
            return self._ready.pop(number, None) is not None

    def take(self, number: int) -> Prepared:
        """One that :meth:`next` or :meth:`has` has given."""
        self._owner.check()  # a file would be read and deleted
        return self._store.take(number)

    def wait_for_work(self, there_is: Callable[[], Any], seconds: float | None = None) -> None:
        """Wait until something is to be done, or so long; :meth:`wake` makes it look."""
        with self._changed:
            self._changed.wait_for(there_is, seconds)

    def wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def stop(self, why: PartyError) -> None:
        """Nothing more will come, and this is why; what waits can still be taken."""
        with self._changed:
            self._closed = self._closed or why
            self._changed.notify_all()

    def close(self) -> None:
        if not self._owner.here:
            return
        self.stop(PartyError("the session is over"))
        with self._changed:
            self._ready.clear()
        self._store.close()


def prepared_pool(party: str, depth: int, state: str | os.PathLike | None, disk: bool) -> Pool:
    """A session's pool: in memory, or in a folder of its own under ``state``.

    Args:
        depth: how many may wait; and one more, which is asked for when it is needed, whatever waits.

    Raises:
        ValueError: on disk, without a folder for it.
    """
    check_store(state, disk)
    folder = Path(state or "") / _FOLDER / secrets.token_hex(16)
    return Pool(Disk(folder, party) if disk else Memory(), depth + 1)


def remove_left(state: str | os.PathLike) -> None:
    """Remove the files that processes which are gone had prepared under ``state``: nobody has their keys."""
    pools = Path(state) / _FOLDER
    if not pools.is_dir():
        return
    with one_at_a_time(pools):
        for folder in pools.iterdir():
            try:
                lock = hold(folder)
            except OSError:  # another process lives that uses it, or it is none
                continue
            try:
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                let_go(lock)


def check_store(state: str | os.PathLike | None, disk: bool) -> None:
    """Raise ValueError for files without a folder."""
    if disk and state is None:
        raise ValueError("disk needs a folder for its files: state")
