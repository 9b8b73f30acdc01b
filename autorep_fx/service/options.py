"""What a client is told."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ..secure.link.tls import Identity
from .addresses import address_of
from .pool import check_store


@dataclass(frozen=True)
class Options:
    """See :func:`autorep_fx.connect`."""

    server: str
    dealer: str | None
    identity: Identity | None
    name: str = "client"
    depth: int = 1
    batch: int = 1
    timeout: float = 30.0
    threads: int = 1
    state: str | os.PathLike | None = None
    disk: bool = False
    cache: str | os.PathLike | None = None
    server_name: str = "server"
    dealer_name: str = "dealer"
    plain: bool = False

    def __post_init__(self):
        for name, least in (("depth", 0), ("batch", 1), ("threads", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)!r}")
        if not 0 < self.timeout < 1e9:
            raise ValueError(f"timeout must be above 0 and below 1e9, got {self.timeout!r}")
        check_store(self.state, self.disk)
        for address in (self.server, self.dealer):
            if address is not None:
                address_of(address)
