"""How the caller follows along: a step is entered, with its words, before it happens and left when done."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

Steps = Callable[[str], AbstractContextManager[object]]
