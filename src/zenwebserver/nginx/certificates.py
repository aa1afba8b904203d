"""Whether a TLS certificate and its key can be used, said before nginx is asked, and in plainer words."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from zenwebserver.errors import ZenwebserverError

VALID_DAYS = 365  # of the self-signed certificate that hints show how to make


def check(cert: Path, key: Path, now: datetime, names: Sequence[str] = ()) -> None:
    """Raise ZenwebserverError unless `cert` and `key` can serve TLS at `now` (with a time zone).

    `names` are the site's host names, for the command in the hint.
    """
    make_new = new_certificate_hint(cert, key, names)
    certificates = _certificates(cert, make_new)
    public_key = _public_key(key, make_new)
    _check_fit(cert, certificates, key, public_key, make_new)
    first = certificates[0]
    if now < first.not_valid_before_utc:
        raise ZenwebserverError(
            f"The certificate is not valid yet: {cert} begins on {_day(first.not_valid_before_utc)}.",
            hint=f"Look whether this machine's clock is right: it says {_day(now)}. {make_new}",
        )
    if now >= first.not_valid_after_utc:
        raise ZenwebserverError(
            f"The certificate has expired: {cert} ended on {_day(first.not_valid_after_utc)}.",
            hint=f"Put a renewed one there. {make_new}",
        )


def new_certificate_hint(cert: Path, key: Path, names: Sequence[str] = ()) -> str:
    """How to make a self-signed certificate, as one command."""
    hosts = list(names) or ["localhost"]
    alternatives = ",".join(f"{'IP' if _is_address(host) else 'DNS'}:{host}" for host in hosts)
    command = [
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", str(VALID_DAYS)),
        *("-subj", f"/CN={hosts[0]}", "-addext", f"subjectAltName={alternatives}"),
        *("-keyout", str(key), "-out", str(cert)),
    ]
    folders = " ".join(shlex.quote(str(folder)) for folder in dict.fromkeys((cert.parent, key.parent)))
    return (
        f"To make a self-signed certificate: mkdir -p {folders} && {shlex.join(command)}"
        " - or set `useSSL False`, or sslCert and sslKey, in etc/zenwebserver.conf."
    )


def _certificates(cert: Path, make_new: str) -> list[x509.Certificate]:
    content = _read(cert, "certificate", make_new)
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise ZenwebserverError(
            f"The certificate cannot be used: {cert} holds no certificate in PEM form.",
            hint=(
                "A PEM file has the line -----BEGIN CERTIFICATE-----. To convert one in DER form: "
                f"openssl x509 -inform der -in FILE -out {shlex.quote(str(cert))} - {make_new}"
            ),
            detail=str(error),
        ) from None


def _public_key(key: Path, make_new: str) -> PublicKeyTypes:
    content = _read(key, "certificate's key", make_new)
    try:
        return load_pem_private_key(content, password=None).public_key()
    except TypeError:
        name = shlex.quote(str(key))
        raise ZenwebserverError(
            f"The certificate's key has a passphrase, and nobody is there to type it: {key}",
            hint=f"Take it off: openssl pkey -in {name} -out {name}.plain && mv {name}.plain {name}",
        ) from None
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ZenwebserverError(
            f"The certificate's key cannot be used: {key} holds no private key in PEM form.",
            hint=f"A PEM file has a line such as -----BEGIN PRIVATE KEY-----. {make_new}",
            detail=str(error),
        ) from None


def _check_fit(
    cert: Path, certificates: list[x509.Certificate], key: Path, public_key: PublicKeyTypes, make_new: str
) -> None:
    fits = [_bytes(certificate.public_key()) == _bytes(public_key) for certificate in certificates]
    if fits[0]:
        return
    if any(fits):
        found = f"the key {key} fits number {fits.index(True) + 1} of {cert}"
        raise ZenwebserverError(
            f"The certificates stand in the wrong order: {found}.",
            hint="Put the site's own certificate first, the intermediate ones behind it.",
        )
    raise ZenwebserverError(
        f"The key does not fit the certificate: {key} and {cert}",
        hint=f"Use the key that the certificate was asked for with. {make_new}",
    )


def _read(path: Path, what: str, make_new: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ZenwebserverError(f"The {what} does not exist: {path}", hint=make_new) from None
    except IsADirectoryError:
        raise ZenwebserverError(f"The {what} is a folder, not a file: {path}", hint=make_new) from None
    except PermissionError:
        message = f"The {what} may not be read by this user: {path}"
        hint = f"Give it to the owner of the home, e.g.: chown USER {shlex.quote(str(path))}"
        raise ZenwebserverError(message, hint=hint) from None
    except OSError as error:
        raise ZenwebserverError(f"The {what} cannot be read: {path}: {error.strerror}", hint=make_new) from None


def _bytes(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M %Z}"
