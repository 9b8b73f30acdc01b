"""Locks of files and folders (``flock``), which the system takes back from a process that ends, however it does."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import PartyError
from .private import private_folder


def hold(folder: Path) -> int:
    """Lock a folder for this process: a descriptor for :func:`let_go`.

    Raises:
        BlockingIOError: another process has it.
        OSError: it is not there, or no folder.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def let_go(descriptor: int) -> None:
    """What :func:`hold` or :func:`hold_place` gave; -1 for nothing."""
    if descriptor >= 0:
        os.close(descriptor)


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Wait until no other process is here with this folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def hold_place(state: Path, owner: str) -> int:
    """Be the only process that is this owner of a state, also where each has an address space of its own, such as
    containers with one volume: a descriptor for :func:`let_go`.

    Raises:
        PartyError: another process is; names it.
    """
    private_folder(state)
    path = state / f"{owner}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        process = os.read(descriptor, 20).decode(errors="replace")
        os.close(descriptor)
        raise PartyError(f"state: process {process} is '{owner}' with {state} already; end it, or give another "
                         "state or port") from None  # fmt: skip
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor
