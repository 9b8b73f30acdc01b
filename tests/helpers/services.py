"""Real processes of the services, for the tests here: started, asked, killed."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

#: What `python -m autorep_fx` does, where there is no torch.
COMMAND = """
import sys
sys.modules["torch"] = None
from autorep_fx.cli import main
raise SystemExit(main())
"""


class Process:
    """One command in a process of its own; what it logs is kept."""

    def __init__(self, *arguments: object):
        self.lines: list[dict] = []
        command = [sys.executable, "-W", "ignore", "-c", COMMAND, *map(str, arguments)]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self._listening = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._listening.wait(60) or not self.said("listening"):
            raise AssertionError(f"{arguments[0]} does not listen: {self.lines}")

    @property
    def address(self) -> str:
        return next(line["at"] for line in self.lines if line.get("event") == "listening")

    def said(self, event: str) -> list[dict]:
        return [line for line in self.lines if line.get("event") == event]

    def kill(self, number: int = signal.SIGKILL) -> int:
        """The exit code; that of a process that has ended already, too."""
        self.process.send_signal(number)
        self.process.wait(30)
        self._reader.join(30)
        return self.process.returncode

    def _read(self) -> None:
        with self.process.stderr as texts:
            for text in texts:
                try:
                    line = json.loads(text)
                except ValueError:
                    line = {"event": text.rstrip()}
                self.lines.append(line)
                if line.get("event") == "listening":
                    self._listening.set()
        self._listening.set()


class Provider:
    """Dealer and server of a program, or a server without one, with certificates; each may be killed and started again
    at its address."""

    def __init__(
        self, folder: Path, certificates: Path, program: Path, public: Path, *, dealer: bool = True, **options: object
    ):
        self.folder, self.certificates, self.program, self.public = folder, certificates, program, public
        self.ports = {name: free_port() for name in (["dealer", "server"] if dealer else ["server"])}
        self.options = options
        self.processes: dict[str, Process] = {}
        for name in self.ports:
            self.start(name)

    def start(self, name: str) -> Process:
        self.processes[name] = Process(*self.arguments(name))
        return self.processes[name]

    def arguments(self, name: str) -> list[str]:
        own = self.program if name == "server" else self.public
        arguments = ["serve" if name == "server" else "deal", "--program", own, "--listen", self.at(name), "--cert",
                     self.certificates / f"{name}.pem", "--ca", self.certificates / "ca.pem", "--state",
                     self.folder / name]  # fmt: skip
        if name == "server" and "dealer" in self.ports:
            arguments += ["--dealer", self.at("dealer")]
        for option, value in self.options.items():
            who, _, option = option.rpartition("__")
            if who in ("", name):
                arguments += [f"--{option.replace('_', '-')}", *([] if value is True else [value])]
        return [*map(str, arguments)]

    def at(self, name: str) -> str:
        return f"127.0.0.1:{self.ports[name]}"

    def connect(self, name: str = "alice", **options):
        import autorep_fx as ar

        tls = (self.certificates / f"{name}.pem", self.certificates / "ca.pem")
        dealer = self.at("dealer") if "dealer" in self.ports else None
        options = {"server": self.at("server"), "dealer": dealer, "timeout": 20.0} | options
        return ar.connect(self.public, tls=tls, **options)

    def ledger(self, name: str) -> list[tuple]:
        from autorep_fx.service.ledger import Ledger

        return Ledger(self.folder / name / f"{name}.sqlite", "a test").lines()

    def close(self) -> None:
        for process in self.processes.values():
            process.kill()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def until(true, seconds: float = 20.0, log: Path | None = None) -> None:
    """Wait until it is true. log: what to show if it does not become so."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen" if log is None else log.read_text()
        time.sleep(0.02)


#: What the fixed-point network may be off by.
BOUND = 2e-3


def all_ended(lines) -> bool:
    return all(state in ("done", "burned") for *_, state in lines)


def right(published, result, x) -> bool:
    return bool((result.output - published[1](x)).abs().max() <= BOUND)
