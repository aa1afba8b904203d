"""A site whose code does not live through a fork."""

from __future__ import annotations

import os
import signal

os.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), signal.SIGSEGV))


def installed(_context):
    """For ZCML to import this module."""
