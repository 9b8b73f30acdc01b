"""Processes that tests start: forks of one that has imported torch, which takes two seconds of a core."""

import multiprocessing
import os
import signal
import threading

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["autorep_fx.secure.secure_program"])  # where nobody has started it


def said_in_a_fork(*calls):
    """What a fork of this process gets of calls, made one after the other: the text of each one's error, or ""."""
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        signal.alarm(20)  # a lock that a thread of the parent's holds is never released here
        said = []
        for call in calls:
            try:
                call()
                said.append("")
            except BaseException as error:  # noqa: BLE001  (told to the parent)
                said.append(f"{type(error).__name__}: {error}")
        os.write(write, "\0".join(said).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        said = file.read().decode().split("\0")
    assert os.waitpid(child, 0)[1] == 0, "it hung, or died"
    return said


class Fork:
    """A fork that calls a function, in place of an Interpreter of secure/host/interpreter.py."""

    def __init__(self, name, main, *arguments):
        self.pipe, theirs = FORKS.Pipe()
        self.exitcode, self._ended = None, threading.Event()
        self._process = FORKS.Process(target=main, args=(theirs, *arguments), name=str(name), daemon=True)
        self._process.start()
        theirs.close()

    @property
    def pid(self):
        return self._process.pid

    def join(self, timeout=None):
        self._ended.wait(timeout)

    def see_end(self):
        self._process.join()
        self.exitcode = self._process.exitcode
        self._ended.set()

    def kill(self):
        self._process.kill()
