"""The client of a service: prepares inferences in the background, so that an answer costs the online phase alone."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import kernels
from ..errors import PartyError, PeerLost, Refused
from ..secure.files import Published, load_published
from ..secure.link.network import network_of
from ..secure.link.tls import Identity
from ..secure.makers.table import maker_of
from ..secure.owner import Owner
from ..secure.plan.input_headroom import InputHeadroom, input_headroom
from ..secure.plan.input_ranges import range_of
from ..secure.plan.plan import node_of
from ..secure.program.checks import is_tensor
from ..secure.program.inputs import packed
from ..secure.program.outputs import assemble
from ..secure.result import Result, Stats
from .addresses import identity_of
from .client_session import ClientSession
from .greeting import name_of_program
from .ledger import Ledger
from .options import Options
from .pool import remove_left
from .published import Pictures, terms

if TYPE_CHECKING:
    from torch import Tensor

    from ..secure.secure_program import SecureProgram

#: Seconds between two attempts to open a session.
_PAUSE = 0.5

log = logging.getLogger(__name__)


def connect(
    program: str | os.PathLike | SecureProgram,
    *,
    server: str,
    dealer: str | None = None,
    tls: Identity | tuple[str | os.PathLike, str | os.PathLike] | None = None,
    plain: bool = False,
    name: str = "client",
    depth: int = 1,
    batch: int = 1,
    timeout: float = 30.0,
    threads: int = 1,
    state: str | os.PathLike | None = None,
    disk: bool = False,
    cache: str | os.PathLike | None = None,
    server_name: str = "server",
    dealer_name: str = "dealer",
) -> Client:
    """A client of a server on another machine, and of its dealer (``python -m autorep_fx serve``, ``deal``)::

        with ar.connect("public", server="host:7001", dealer="other:7002", tls=("alice.pem", "ca.pem")) as client:
            result = client.run(x)

    Args:
        program: folder of the public part, or a program.
        server, dealer: HOST:PORT. Without a dealer client and server do its work; the server has to have none either
            (``serve`` without ``--dealer``).
        tls: PEM files: this client's certificate and key, and the authorities that may vouch for the others. None
            speaks plain TCP, with this machine only, or, with ``plain``, over a network that is protected otherwise.
        name: of this client, where there is no certificate that says it.
        depth: prepared inferences to have waiting, at most as many as the server allows. Without a dealer several are
            prepared at once, which costs less each: those that are missing, once half are used.
        batch: samples that they are for; a run of another size prepares its own.
        timeout: seconds that a run may take, what it waits for included.
        threads: of the kernels.
        state: folder for the ledger of used inferences; in memory if not given.
        disk: keep prepared inferences in files under ``state``, encrypted, instead of in memory.
        cache: folder for what the server sends once per model, up to the size of the weights.
        server_name, dealer_name: whom their certificates name.

    Raises:
        FormatError: no program, a damaged one, or a certificate that cannot be used.
        ValueError: an address or a number out of range; or a checked program, and no dealer.
        PartyError: server or dealer cannot be reached or trusted, or have another version or program, or the server
            another ``input.json``.
        Refused: too many sessions or megabytes; says when to come back.
    """
    cert, ca = (None, None) if not tls or isinstance(tls, Identity) else tls
    identity = tls if isinstance(tls, Identity) else identity_of(cert, ca, plain, server, dealer)
    options = Options(server, dealer, identity, name=name, depth=depth, batch=batch, timeout=timeout, threads=threads,
                      state=state, disk=disk, cache=cache, server_name=server_name,
                      dealer_name=dealer_name, plain=plain)  # fmt: skip
    if not isinstance(program, str | os.PathLike) and not hasattr(program, "native"):
        raise TypeError(
            f"program must be a folder of autorep_fx publish, or what autorep_fx.compile returns, got "
            f"{type(program).__name__}"
        )
    if isinstance(program, str | os.PathLike):
        return Client(load_published(program), options, Pictures.load(program))
    return Client(Published(program.native[0], program.public.input_shape, program.public.form), options)


class Client:
    """See :func:`connect`. Threads may share it: they take turns. Processes may not: a fork connects for itself.

    A run whose connection breaks is repeated in a new session, with other masks, while there is time; what was prepared
    for it is never used again.

    Args:
        pictures: of the program's folder, where there is one; the server must have the same.
    """

    def __init__(self, public: Published, options: Options, pictures: Pictures | None = None):
        maker_of(options.dealer is not None, network_of("loopback")).comparisons_of(public.plan)  # has some for it
        self.public, self.options, self._owner = public, options, Owner("this client")
        self._range, self._program = range_of(public.plan), name_of_program(public.plan)
        self._inputs = {node_of(step.name): step.shape for step in public.plan.inputs}
        self._terms = terms(public.form, pictures)
        path = None
        if options.state is not None:
            path = Path(options.state) / "client.sqlite"
            remove_left(options.state)
        self._ledger = Ledger(path, "client", many=True)
        self._lock, self._closed = threading.Lock(), False
        self._session: ClientSession | None = None
        if kernels.available():
            kernels.set_num_threads(options.threads)
        try:
            self._session = self._open(time.monotonic() + options.timeout)
        except BaseException:
            self._ledger.close()
            raise
        if public.plan.checked:
            atexit.register(self.close)  # who leaves behind a challenge is refused from then on

    def __repr__(self) -> str:
        return f"Client({self.public.plan!r}, server={self.options.server!r}, dealer={self.options.dealer!r})"

    def run(self, x: Tensor | np.ndarray, *more: Tensor | np.ndarray, check_range: bool = True,
            timeout: float | None = None) -> Result:  # fmt: skip
        """Answer a batch (N, ...), of a program of several inputs one of each: with tensors, or, if it is an array of
        NumPy, with arrays, for which nobody needs torch.

        Raises:
            ValueError: no batch for this program, or beyond its range.
            Refused: the service is asked for too much; says when to come back.
            PartyError: no answer in time, or none that can be trusted; names the cause. Or another process connected.
        """
        self._owner.check()  # before any lock, which a thread that a fork has not may hold
        values = packed((x, *more), self._inputs, arrays=True)
        if check_range:
            self._range.check(values)
        until = time.monotonic() + (self.options.timeout if timeout is None else timeout)
        if not self._lock.acquire(timeout=max(until - time.monotonic(), 0)):
            raise PartyError("client: the runs of other threads took all the time")
        try:
            if self._closed:
                raise PartyError("this client is closed")
            output, stats = self._answered(values, until)
        finally:
            self._lock.release()
        found: Any = output
        if is_tensor(x):
            import torch

            found = torch.from_numpy(output)
        return Result(assemble(self.public.form, found, x.dtype), stats)

    def headroom(self, x: Tensor | np.ndarray, *more: Tensor | np.ndarray) -> InputHeadroom:
        """How near a batch comes to what the program answers: its range and statistics, as they were published.

        Computed here, nothing is sent. It is what a client can watch over time: inputs that come nearer than those of
        last month have moved. What happens inside the network nobody sees.

        Raises:
            ValueError: no batch for this program.
        """
        return input_headroom(self.public.plan, packed((x, *more), self._inputs, arrays=True))

    def wait(self, timeout: float = 30.0) -> int:
        """Wait until no more inferences are to be prepared, or the time is over; returns how many are."""
        self._owner.check()
        session, until = self._session, time.monotonic() + timeout
        while session is not None and session.pool.open and session.missing():
            if time.monotonic() > until:
                break
            time.sleep(0.01)
        return 0 if session is None else session.waiting()

    def close(self) -> None:
        if not self._owner.here:
            return
        atexit.unregister(self.close)
        with self._lock:
            self._closed = True
            self._drop(self.options.timeout)
            self._ledger.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _answered(self, values: np.ndarray, until: float) -> tuple[np.ndarray, Stats]:
        while True:
            try:
                if self._session is None:
                    self._session = self._open(until)
                return self._session.run(values, until)
            except PartyError as error:
                pause = error.retry_after if isinstance(error, Refused) else _PAUSE
                if not isinstance(error, Refused):
                    self._drop()
                if not isinstance(error, PeerLost | Refused) or time.monotonic() + pause > until:
                    raise
                log.warning("%s; asking again", error)
                time.sleep(pause)
            except BaseException:
                if self._session is not None and self._session.torn:
                    self._drop()  # its peer is in the middle of something
                raise

    def _open(self, until: float) -> ClientSession:
        return ClientSession(self.public.plan, self._program, self._terms, self.options, self._ledger, until)

    def _drop(self, *patience: float) -> None:
        if self._session is not None:
            self._session.close(*patience)
            self._session = None
