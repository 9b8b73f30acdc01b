"""A link between two threads of one process."""

from __future__ import annotations

import queue

from .channel import Channel


class LocalChannel(Channel):
    """Two threads of one process; messages are copied, as a network would."""

    def __init__(self, outbox: queue.Queue, inbox: queue.Queue, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._outbox, self._inbox, self._rest, self._closed = outbox, inbox, memoryview(b""), False

    def _write(self, step: int, parts: list) -> None:
        self._outbox.put(b"".join(parts))

    def _read(self, step: int, parts: list[memoryview]) -> None:
        for part in parts:
            if not len(self._rest):
                try:
                    data = self._inbox.get(timeout=self.timeout)
                except queue.Empty:
                    raise self._error(step, f"sent nothing for {self.timeout:g} s") from None
                if data is None:
                    self._inbox.put(None)
                    raise self._lost(step)
                self._rest = memoryview(data)
            part[:] = self._rest[: len(part)]
            self._rest = self._rest[len(part) :]

    def wait(self) -> None:
        if not len(self._rest):
            data = self._inbox.get()
            if data is None:
                self._inbox.put(None)
            else:
                self._rest = memoryview(data)

    def close(self) -> None:
        self._outbox.put(None)


def local_pair(one: str, other: str, **options) -> tuple[LocalChannel, LocalChannel]:
    """Both ends of an in-process link. ``options`` as for :class:`Channel`, less the clock."""
    there: queue.Queue[bytes | None] = queue.Queue()
    back: queue.Queue[bytes | None] = queue.Queue()
    return LocalChannel(there, back, one, other, **options), LocalChannel(back, there, other, one, **options)
