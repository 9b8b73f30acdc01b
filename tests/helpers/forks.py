"""Processes that tests start: forks of one that has imported torch, which takes two seconds of a core."""

import multiprocessing
import threading

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["autorep_fx.secure.secure_program"])  # where nobody has started it


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
