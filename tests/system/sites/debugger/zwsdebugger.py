"""A tiny site for the tests: a view that stops in the debugger, and one that tells how the server runs."""

from __future__ import annotations

import os
import pdb

from App.config import getConfiguration
from Products.Five.browser import BrowserView


class Stop(BrowserView):
    def __call__(self):
        answer = 6 * 7
        pdb.set_trace()
        return f"answered {answer}"


class Mode(BrowserView):
    def __call__(self):
        return f"{os.getpid()} debug={bool(getConfiguration().debug_mode)}"
