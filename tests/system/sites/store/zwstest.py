"""A tiny site for the tests: it stores ids, each in the ZODB, and tells how often it has stored one."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from zlib import crc32

from BTrees.OOBTree import OOBTree
from persistent.list import PersistentList
from Products.Five.browser import BrowserView

TREES = 128  # so that concurrent writes seldom conflict


def trees(context):
    root = context._p_jar.root()
    if "zwstest" not in root:
        root["zwstest"] = {number: OOBTree() for number in range(TREES)}
    return root["zwstest"]


def tree(context, ident):
    return trees(context)[crc32(ident.encode()) % TREES]


class Store(BrowserView):
    def __call__(self):
        ident = self.request.form["id"]
        ids = tree(self.context, ident)
        ids[ident] = ids.get(ident, 0) + 1
        return f"{os.getpid()}"


class Make(BrowserView):
    """A new object for each id, in one of few trees."""

    def __call__(self):
        root, ident = self.context._p_jar.root(), self.request.form["id"]
        made = root.setdefault("zwsmade", OOBTree())
        tree = made.setdefault(crc32(ident.encode()) % 32, OOBTree())
        times = tree[ident][0] if ident in tree else 0
        tree[ident] = PersistentList([times + 1])
        return f"{os.getpid()}"


class Count(BrowserView):
    def __call__(self):
        ident = self.request.form["id"]
        return str(tree(self.context, ident).get(ident, 0))


class Counts(BrowserView):
    """All ids and their counts, a line each."""

    def __call__(self):
        return "\n".join(f"{ident} {count}" for each in trees(self.context).values() for ident, count in each.items())


class Who(BrowserView):
    """Which process answers, and what it was told of the visitor."""

    def __call__(self):
        return f"{os.getpid()} {self.request.get('REMOTE_ADDR')} {self.context.absolute_url()}"


class Slow(BrowserView):
    """Answers after so many seconds; sooner where the file `sign`, which it makes when it begins, is removed."""

    def __call__(self):
        until = time.monotonic() + float(self.request.form["seconds"])
        sign = Path(self.request.form["sign"]) if "sign" in self.request.form else None
        if sign:
            sign.touch()
        while time.monotonic() < until and (sign is None or sign.exists()):
            time.sleep(0.02)
        return f"{os.getpid()} slept"


class Exit(BrowserView):
    """The process dies in the middle of a request."""

    def __call__(self):
        sys.stderr.flush()
        os._exit(3)
