"""The setting `python`: what is no Python of the site is told by that setting, not by what the machine says."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from zenwebserver.errors import ZenwebserverError
from zenwebserver.home import Home
from zenwebserver.supervisor.line import site_python


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def refusal(home: Home, python: Path) -> ZenwebserverError:
    with pytest.raises(ZenwebserverError) as refused:
        asyncio.run(site_python.check(home, python))
    assert f"Set `python` in {home.settings_file}" in refused.value.hint
    return refused.value


def program(folder: Path, text: str, mode: int = 0o755) -> Path:
    path = folder / "program"
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.mark.real
def test_what_cannot_be_run_is_told_by_the_setting(home: Home) -> None:
    missing = home.path / "none"
    assert refusal(home, missing).message == f"The program of the setting `python` does not exist: {missing}"
    assert refusal(home, home.path).message == f"The program of the setting `python` is a folder: {home.path}"
    plain = program(home.path, "#!/bin/sh\n", mode=0o644)
    assert (
        refusal(home, plain).message == f"The program of the setting `python` cannot be run: {plain}: Permission denied"
    )
    lost = program(home.path, "#!/no/such/interpreter\n")
    assert refusal(home, lost).message.endswith(f"needs an interpreter that does not exist: {lost}")
    text = program(home.path, "hello\n")
    assert refusal(home, text).message.endswith(f"cannot be run: {text}: Exec format error")


@pytest.mark.real
def test_what_is_no_python_is_told_with_its_last_words(home: Home) -> None:
    refused = refusal(home, program(home.path, "#!/bin/sh\nseq 20\n"))
    assert "is no Python that can run the site" in refused.message
    assert refused.detail == "16\n17\n18\n19\n20"


@pytest.mark.real
def test_a_python_without_zope_is_told_what_it_lacks(home: Home) -> None:
    without = program(home.path, f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    assert "has no Zope2, waitress, paste.deploy: " in refusal(home, without).message
    whole = program(home.path, f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    asyncio.run(site_python.check(home, whole, storage=True))


def test_our_own_is_not_asked(home: Home) -> None:
    asyncio.run(site_python.check(home, Path(sys.executable)))


@pytest.mark.real
def test_what_says_nothing_is_ended_with_what_it_started(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site_python, "ANSWER_SECONDS", 0.2)
    silent = program(home.path, "#!/bin/sh\nsleep 60; exit\n")

    async def in_time() -> None:
        async with asyncio.timeout(20):
            await site_python.check(home, silent)

    with pytest.raises(ZenwebserverError, match="says nothing for"):
        asyncio.run(in_time())
