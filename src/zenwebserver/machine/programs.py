"""A program that is run to its end for what it says."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Said:
    """`code` is its exit code; `words` are what it wrote to its output and its errors."""

    code: int
    words: str


async def said(
    arguments: Sequence[str | Path],
    seconds: float,
    *,
    errors_alone: bool = False,
    env: Mapping[str, str] | None = None,
    folder: Path | None = None,
    in_child: Callable[[], object] | None = None,
) -> Said:
    """Run it, in `folder`; what it writes to its output is dropped with `errors_alone`.

    Raises OSError where it cannot be run, TimeoutError where it takes longer than `seconds`; then, or where the caller
    is cancelled, it has ended, with all that it had started.
    """
    process = await asyncio.create_subprocess_exec(
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL if errors_alone else asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE if errors_alone else asyncio.subprocess.STDOUT,
        env=env,
        cwd=folder,
        process_group=0,
        preexec_fn=in_child,
    )
    try:
        async with asyncio.timeout(seconds):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            await _end_group(process)
    assert process.returncode is not None
    return Said(process.returncode, (errors if errors_alone else output).decode(errors="replace").strip())


async def _end_group(process: asyncio.subprocess.Process) -> None:
    """What it has started may keep our pipe open, and asyncio waits for that too."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
