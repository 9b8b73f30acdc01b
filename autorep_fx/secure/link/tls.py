"""TLS 1.3 with certificates on both sides. Who someone is comes from the certificate, and from nothing that is said."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import ipaddress
import logging
import os
import socket
import ssl
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import FormatError, PartyError, PeerLost

#: Seconds to hear out a peer that is turned away.
_LINGER = 0.2

#: The first byte of a connection of TLS: the type of a record of its handshake.
_HANDSHAKE = b"\x16"

#: What OpenSSL says of a certificate that signs itself, and of one whose signer it does not know.
_UNKNOWN = (18, 19, 20, 21)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Identity:
    """What a party shows others, and whom it believes.

    Attributes:
        certificate: PEM file with this party's certificate and its private key.
        authority: PEM file with the certificates of those who may vouch for others.
    """

    certificate: str | os.PathLike
    authority: str | os.PathLike

    def context(self, *, listens: bool) -> ssl.SSLContext:
        """Of a party that listens, or of one that connects.

        Raises:
            FormatError: a file that is missing or no such thing; names it.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if listens else ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        if listens:
            context.num_tickets = 0  # a session that is resumed looks at no certificate's dates
        context.check_hostname, context.verify_mode = False, ssl.CERT_REQUIRED  # names are looked at by who asks
        loads = (
            (self.certificate, context.load_cert_chain, "a certificate and its private key"),
            (self.authority, context.load_verify_locations, "the certificates of authorities"),
        )
        for path, load, holds in loads:
            try:
                load(path)
            except OSError as error:  # ssl.SSLError is one
                there = Path(path).exists() and error.strerror
                why = f"{error.strerror}; it has to hold {holds}, in PEM" if there else "no such file"
                raise FormatError(f"{path} cannot be used as a certificate: {why}") from error
        _look_at_key(Path(self.certificate))
        return context


@functools.cache
def _look_at_key(path: Path) -> None:
    """Warn once of a private key that others may read; it is its owner's to close."""
    if (mode := stat.S_IMODE(path.stat().st_mode)) & 0o077:
        log.warning("%s has a private key that others may read (mode %o): chmod 600 %s", path, mode, path)


def name_of(connection: ssl.SSLSocket) -> str:
    """Whom the peer's certificate names: its first DNS name, or else its common name.

    Raises:
        PartyError: nobody.
    """
    found: dict[str, Any] = connection.getpeercert() or {}
    for kind, name in found.get("subjectAltName", ()):
        if kind == "DNS":
            return name
    for part in found.get("subject", ()):
        for kind, name in part:
            if kind == "commonName":
                return name
    raise PartyError("the peer's certificate names nobody")


def fingerprint_of(connection: socket.socket) -> str:
    """SHA-256 of the peer's certificate, hexadecimal, as ``openssl x509 -fingerprint -sha256`` says it; "" on a plain
    connection."""
    shown = connection.getpeercert(binary_form=True) if isinstance(connection, ssl.SSLSocket) else None
    return hashlib.sha256(shown).hexdigest() if shown else ""


def runs_out(connection: ssl.SSLSocket) -> float:
    """When the peer's certificate runs out, or, if that is sooner, the authority's that vouches for it; of
    ``time.time``.

    The handshake has looked at the dates; a connection may last longer.
    """
    found: dict[str, Any] = connection.getpeercert() or {}
    above = [a for a in connection.context.get_ca_certs() if a.get("subject") == found.get("issuer")]
    ends = [max(ssl.cert_time_to_seconds(str(a["notAfter"])) for a in each) for each in ([found], above) if each]
    return float(min(ends))


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, so that a plain socket shows nothing to anyone else."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def speaks_tls(connection: socket.socket) -> bool:
    """Whether what comes first is of TLS; nothing is taken from the socket."""
    first = socket.socket.recv(connection, 1, socket.MSG_PEEK)  # SSLSocket's own allows no flags
    return first in (b"", _HANDSHAKE)


def shake_hands(secured: ssl.SSLSocket) -> None:
    """The other side of :func:`connect`, of a socket that is wrapped already.

    Raises:
        OSError: the peer is not believed, or does not speak TLS 1.3. It was told, and the socket is closed.
    """
    try:
        secured.do_handshake()
    except OSError:
        # What it has sent meanwhile is read first, or the system would throw the alert away that tells it why.
        secured.settimeout(_LINGER)
        with contextlib.suppress(OSError):
            socket.socket.shutdown(secured, socket.SHUT_WR)
            while socket.socket.recv(secured, 4096):
                pass
        secured.close()
        raise


def connect(address: tuple[str, int], identity: Identity | None, expected: str, timeout: float) -> socket.socket:
    """A connection to ``expected``, as its certificate says; plain without an identity.

    Raises:
        PeerLost: nobody listens there.
        PartyError: one of the two does not believe the other, or it is someone else.
    """
    where = f"the {expected} at {address[0]}:{address[1]}"
    context = None if identity is None else identity.context(listens=False)
    try:
        connection = socket.create_connection(address, timeout=timeout)
    except OSError as error:
        raise PeerLost(f"{where} cannot be reached: {error}") from error
    if identity is None or context is None:
        return connection
    try:
        secured = context.wrap_socket(connection, server_hostname=address[0])
    except OSError as error:
        connection.close()
        against = f"; {identity.authority} vouches for no such certificate" if _is_unknown(error) else ""
        said = f"{where} cannot be trusted, or does not speak TLS 1.3: {reason_of(error)}{against}"
        raise PartyError(said) from error
    if (name := name_of(secured)) != expected:
        secured.close()
        raise PartyError(f"{where} has a certificate of '{name}'")
    return secured


def _is_unknown(error: OSError) -> bool:
    """Whether a certificate is not believed for want of an authority that has signed it."""
    return isinstance(error, ssl.SSLCertVerificationError) and error.verify_code in _UNKNOWN


def reason_of(error: Exception) -> str:
    """Why a connection failed, as shortly as TLS or the system says it."""
    said = (getattr(error, name, "") for name in ("verify_message", "strerror", "reason"))
    return next(filter(None, said), str(error))
