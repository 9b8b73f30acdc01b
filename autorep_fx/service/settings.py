"""What the commands are told: options, environment (``AUTOREP_FX_...``), one TOML file with a table for each command.

What is said on the command line counts before the environment, and that before the file.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, SettingsConfigDict

from ..errors import FormatError
from ..secure.link.tls import Identity
from .addresses import identity_of

S = TypeVar("S", bound="Party")


class Party(BaseSettings):
    """What every party is told."""

    model_config = SettingsConfigDict(env_prefix="AUTOREP_FX_", extra="forbid")

    program: Path = Field(description="folder of the program; its public part is enough for dealer and client")
    cert: Path | None = Field(None, description="PEM file with this party's certificate and key")
    ca: Path | None = Field(None, description="PEM file with the authorities that may vouch for the others")
    plain: bool = Field(False, description="speak plain TCP beyond this machine, too")
    state: Path | None = Field(None, description="folder for the ledger and what is kept; in memory if not given")
    server_name: str = Field("server", description="whom the server's certificate names")
    dealer_name: str = Field("dealer", description="whom the dealer's certificate names")
    timeout: float = Field(30.0, gt=0, description="seconds that an inference, and any message, may take")
    threads: int = Field(1, ge=1, description="threads of each inference's kernels")

    def identity(self, *addresses: str | None) -> Identity | None:
        """Certificate and authorities; None for plain TCP.

        Raises:
            ValueError: half of it, or none where an address is of another machine.
        """
        return identity_of(self.cert, self.ca, self.plain, *addresses)


class Listening(Party):
    """What dealer and server are told."""

    listen: str = Field(description="HOST:PORT to listen on")
    metrics: str | None = Field(None, description="HOST:PORT for /metrics (Prometheus) and /health")
    idle: float = Field(600.0, gt=0, description="seconds that a session may rest")
    grace: float = Field(30.0, ge=0, description="seconds that running inferences get to end on SIGTERM")
    connections: int = Field(512, ge=1, description="connections at once, strangers included")
    strangers: int = Field(64, ge=1, description="connections at once of one address that have not said who they are")
    sessions: int = Field(64, ge=1, description="sessions at once")
    client_sessions: int = Field(8, ge=1, description="sessions at once of one client")
    client_checked: int = Field(2, ge=1, description="sessions at once of one client, where its messages are checked")
    rate: float = Field(100.0, gt=0, description="samples a second, of all clients")
    client_rate: float = Field(20.0, gt=0, description="samples a second, of one client")
    megabytes: float = Field(2000.0, gt=0, description="megabytes a second, offline and online, of all clients")
    client_megabytes: float = Field(500.0, gt=0, description="megabytes a second, of one client")
    held: int = Field(256, ge=1, description="samples whose correlations are held at once, of all clients")
    client_held: int = Field(64, ge=1, description="samples whose correlations are held at once, of one client")
    kept: float = Field(4000.0, gt=0, description="megabytes that open sessions keep for their next inference")
    max_batch: int = Field(64, ge=1, description="samples of one inference")
    keep_days: float = Field(30.0, gt=0, description="days that the ledger remembers what ended")


class Deal(Listening):
    """What the dealer is told."""

    ray: str | None = Field(None, description="address of a Ray cluster that deals (extra: ray); 'local' starts one")


class Serve(Listening):
    """What the server is told."""

    dealer: str | None = Field(None, description="HOST:PORT of the dealer; without one, server and client do its work")
    advertise: str | None = Field(None, description="HOST:PORT of this replica itself, where it is behind a balancer")
    comparison: str = Field("auto", description="fss, gmw, mixed, or auto: the quickest one online on the network")
    network: str = Field("wan", description="what auto goes by, and transfers without a dealer: loopback, lan or wan")
    depth: int = Field(4, ge=0, description="prepared inferences that a session may have waiting")
    disk: bool = Field(False, description="keep them in files under state, encrypted, instead of in memory")


class Ask(Party):
    """What the client is told."""

    server: str = Field(description="HOST:PORT of the server")
    dealer: str | None = Field(None, description="HOST:PORT of the dealer, if the server has one")
    name: str = Field("client", description="of this client, where there are no certificates")
    depth: int = Field(1, ge=0, description="prepared inferences to have waiting")
    disk: bool = Field(False, description="keep them in files under state, encrypted, instead of in memory")
    cache: Path | None = Field(None, description="folder for what the server sends once per model")


def read(kind: type[S], options: dict[str, Any], config: Path | None = None) -> S:
    """The settings of a command.

    Args:
        options: those that were given; None for one that was not.
        config: a TOML file; the table of the command's name counts.

    Raises:
        FormatError: the file is not TOML.
        ValueError: something is missing, unknown or out of range; names it.
    """
    table: dict[str, Any] = {}
    if config is not None:
        try:
            table = tomllib.loads(config.read_text()).get(kind.__name__.lower(), {})
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise FormatError(f"{config} is not TOML: {error}") from error

    class Here(kind):  # type: ignore[misc, valid-type]
        @classmethod
        def settings_customise_sources(cls, settings_cls, init_settings, env_settings, *_, **__):
            return init_settings, env_settings, InitSettingsSource(settings_cls, table)

    try:
        return Here(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise ValueError(f"{name}: {first['msg']} (an option, AUTOREP_FX_{name.upper()}, or the file)") from None
