from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from made_certificates import NOW, certificate, new_key, pem, put

from zenwebserver.errors import ZenwebserverError
from zenwebserver.nginx.certificates import check, new_certificate_hint


def refusal(cert: Path, key: Path) -> ZenwebserverError:
    with pytest.raises(ZenwebserverError) as caught:
        check(cert, key, NOW, ["www.example.org"])
    return caught.value


def test_a_fitting_pair_is_accepted(tmp_path: Path) -> None:
    check(*put(tmp_path), NOW)


def test_a_chain_is_accepted_with_the_sites_own_certificate_first(tmp_path: Path) -> None:
    cert, key = put(tmp_path)
    own, other = cert.read_bytes(), certificate(new_key(), ["ca.example"])
    cert.write_bytes(own + other)
    check(cert, key, NOW)
    cert.write_bytes(other + own)
    assert "wrong order" in refusal(cert, key).message


@pytest.mark.parametrize("missing", [0, 1])
def test_a_missing_file_is_named_with_a_command_that_makes_it(tmp_path: Path, missing: int) -> None:
    pair = put(tmp_path)
    pair[missing].unlink()
    error = refusal(*pair)
    assert "does not exist" in error.message
    assert str(pair[missing]) in error.message
    assert "openssl req -x509" in error.hint
    assert "DNS:www.example.org" in error.hint


def test_the_command_in_the_hint_makes_a_usable_pair(tmp_path: Path) -> None:
    cert, key = tmp_path / "a folder" / "x.crt", tmp_path / "a folder" / "x.key"
    hint = new_certificate_hint(cert, key, ["www.example.org", "*.example.net", "::1"])
    command = hint.removeprefix("To make a self-signed certificate: ").partition(" - or set")[0]
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    if done.returncode == 127:
        pytest.skip("openssl is not installed")
    assert done.returncode == 0, done.stderr
    check(cert, key, datetime.now(UTC) + timedelta(minutes=1))


def test_a_folder_is_no_certificate(tmp_path: Path) -> None:
    _, key = put(tmp_path)
    assert "is a folder" in refusal(tmp_path, key).message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_key_is_said_to_be_one(tmp_path: Path) -> None:
    cert, key = put(tmp_path)
    key.chmod(0)
    assert "may not be read" in refusal(cert, key).message


@pytest.mark.parametrize(
    ("which", "wrong"), [(0, "holds no certificate in PEM form"), (1, "holds no private key in PEM form")]
)
@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x30\x82\x00\xff", b"-----BEGIN X-----\nAA\n"])
def test_what_is_not_pem_is_said_to_be_none(tmp_path: Path, which: int, wrong: str, content: bytes) -> None:
    pair = put(tmp_path)
    pair[which].write_bytes(content)
    assert wrong in refusal(*pair).message


def test_swapped_files_are_refused(tmp_path: Path) -> None:
    cert, key = put(tmp_path)
    assert "holds no certificate" in refusal(key, cert).message


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    cert, key = put(tmp_path)
    key.write_bytes(pem(new_key()))
    error = refusal(cert, key)
    assert error.message == f"The key does not fit the certificate: {key} and {cert}"


def test_a_key_with_a_passphrase_is_refused_with_the_way_to_take_it_off(tmp_path: Path) -> None:
    cert, key = put(tmp_path)
    key.write_bytes(pem(new_key(), b"secret"))
    error = refusal(cert, key)
    assert "has a passphrase" in error.message
    assert "openssl pkey" in error.hint


def test_an_expired_certificate_is_refused_with_the_day(tmp_path: Path) -> None:
    cert, key = put(tmp_path)
    one = new_key()
    key.write_bytes(pem(one))
    ended = NOW - timedelta(days=2)
    cert.write_bytes(certificate(one, begins=NOW - timedelta(days=9), ends=ended))
    error = refusal(cert, key)
    assert "has expired" in error.message
    assert f"{ended:%Y-%m-%d}" in error.message


def test_a_certificate_of_tomorrow_is_refused(tmp_path: Path) -> None:
    cert, key = put(tmp_path)
    one = new_key()
    key.write_bytes(pem(one))
    cert.write_bytes(certificate(one, begins=NOW + timedelta(days=1)))
    error = refusal(cert, key)
    assert "not valid yet" in error.message
    assert "clock" in error.hint
