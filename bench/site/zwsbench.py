"""What the measurements need inside a server."""

from __future__ import annotations

import gc

from Products.Five.browser import BrowserView


class Collect(BrowserView):
    """A full garbage collection."""

    def __call__(self):
        return str(gc.collect())
