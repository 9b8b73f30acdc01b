"""A small authority and certificates, for trying; real ones are used the same way."""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ..secure.files import create
from .private import make_private, private_folder

_DAYS = 365
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def make_certificates(folder: str | os.PathLike, names: Sequence[str]) -> list[Path]:
    """Write ``ca.pem`` (and ``ca.key``, with which more can be made later) and ``NAME.pem``, certificate and key, of
    each name. An authority that is there already is used.

    Raises:
        ValueError: a name that cannot be one.
        FileExistsError: a certificate of that name is there.
    """
    folder = Path(folder)
    for name in names:
        if not _NAME.fullmatch(name) or name == "ca":
            raise ValueError(f"{name!r} is no name of a certificate: letters, digits, '.', '_' and '-', and not 'ca'")
        if (folder / f"{name}.pem").exists():
            raise FileExistsError(f"{folder / f'{name}.pem'} is there already")
    private_folder(folder)
    authority, key = _authority(folder)
    return [_certificate(folder, name, authority, key) for name in names]


def _authority(folder: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    if (folder / "ca.pem").exists():
        make_private(folder / "ca.key")
        key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
        return x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes()), key
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "autorep_fx, for trying")])
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    certificate = (
        _builder(name, name, key, 10 * _DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    _write_secret(folder / "ca.key", _pem(key))
    return certificate, key


def _certificate(folder: Path, name: str, authority: x509.Certificate, signer: ec.EllipticCurvePrivateKey) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        _builder(subject, authority.subject, key, _DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )
    _write_secret(folder / f"{name}.pem", certificate.public_bytes(serialization.Encoding.PEM) + _pem(key))
    return folder / f"{name}.pem"


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption())  # fmt: skip


def _write_secret(path: Path, data: bytes) -> None:
    with create(path) as file:
        file.write(data)
