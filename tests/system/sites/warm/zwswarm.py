"""Views that show which release answers and from which process, and that break in chosen ways (zwsversion.FAULT)."""

from __future__ import annotations

import gc
import hashlib
import json
import os
import sys
import threading
from pathlib import Path

import zwsversion
from App.config import getConfiguration
from BTrees.OOBTree import OOBTree
from Products.Five.browser import BrowserView
from ZODB.blob import Blob
from zope.component import adapter
from ZPublisher.interfaces import IPubSuccess

WARM_UP = "zenwebserver warm-up"


def server_name():
    return Path(getConfiguration().clienthome).name


@adapter(IPubSuccess)
def after_request(event):
    """With FAULT "dies", the process ends shortly after the first visitor was answered."""
    if zwsversion.FAULT == "dies" and event.request.get_header("User-Agent") != WARM_UP:
        threading.Timer(0.1, os._exit, (7,)).start()


class Version(BrowserView):
    def __call__(self):
        return zwsversion.VERSION


asked = []


class Page(BrowserView):
    """Among the warm-up's pages; notes who asked for it."""

    def __call__(self):
        asked.append((threading.get_ident(), self.request.get_header("User-Agent"), self.context.absolute_url()))
        if zwsversion.FAULT == "page" or f"page {server_name()}" == zwsversion.FAULT:
            raise RuntimeError(f"the page of {server_name()} is broken")
        return "a page"


class Process(BrowserView):
    def __call__(self):
        return json.dumps(
            {
                "pid": os.getpid(),
                "parent": parent(),
                "clienthome": getConfiguration().clienthome,
                "python": sys.prefix,
                "warmed": [each for each in asked if each[1] == WARM_UP],
                "frozen": gc.get_freeze_count(),
            }
        )


def parent():
    stat = Path("/proc/self/stat").read_text()
    return int(stat.rpartition(")")[2].split()[1])


class Increment(BrowserView):
    """A counter that conflicts whenever two transactions increment it at once."""

    def __call__(self):
        root = self.context._p_jar.root()
        tree = root.setdefault("zwscounter", OOBTree())
        tree["value"] = tree.get("value", 0) + 1
        return str(tree["value"])


class Counter(BrowserView):
    def __call__(self):
        return str(self.context._p_jar.root().get("zwscounter", {}).get("value", 0))


class WriteBlob(BrowserView):
    def __call__(self):
        blobs = self.context._p_jar.root().setdefault("zwsblobs", OOBTree())
        blobs[self.request.form["id"]] = blob = Blob()
        with blob.open("w") as file:
            file.write(self.request.form["text"].encode() * 1000)
        return "written"


class ReadBlob(BrowserView):
    def __call__(self):
        with self.context._p_jar.root()["zwsblobs"][self.request.form["id"]].open("r") as file:
            return file.read()


class Upload(BrowserView):
    """How many bytes came, and their digest."""

    def __call__(self):
        body = self.request.BODYFILE.read()
        return f"{len(body)} {hashlib.sha256(body).hexdigest()}"


class Download(BrowserView):
    def __call__(self):
        self.request.response.setHeader("Content-Type", "application/octet-stream")
        return bytes(range(256)) * 4 * 1024 * int(self.request.form["megabytes"])


held = []


class Grow(BrowserView):
    """So many megabytes more, for good."""

    def __call__(self):
        held.append(os.urandom(1024 * 1024) * int(self.request.form["megabytes"]))
        return str(os.getpid())


def mark_filter(global_config, **_):
    """A WSGI filter for etc/zope.ini: answers carry a header."""

    def filtered(application):
        def marked(environ, start_response):
            def start(status, headers, exc_info=None):
                return start_response(status, [*headers, ("X-Marked", "by the site's own filter")], exc_info)

            return application(environ, start)

        return marked

    return filtered
