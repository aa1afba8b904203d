"""Storage is killed and restarted while documents are made through plone.restapi: each that was answered is kept."""

from __future__ import annotations

import itertools
import json
import subprocess
import threading
import time
import uuid
from collections import Counter
from pathlib import Path

from harness import WAIT_SECONDS, Answer, Site, wait_until

from conftest import PYTHON

WRITERS = 6
TURNS = 4
JSON = {"Accept": "application/json", "Content-Type": "application/json"}


class Writers:
    """Threads that make documents, each with a title of its own, from `with` to its end."""

    def __init__(self, site: Site) -> None:
        self.made: set[str] = set()
        self.others: Counter[str] = Counter()  # other answers than 201
        self._site = site
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._write) for _ in range(WRITERS)]

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, documents: int) -> None:
        goal = len(self.made) + documents
        wait_until(lambda: len(self.made) >= goal, f"{goal} documents are made; {self.others}", seconds=WAIT_SECONDS)

    def _write(self) -> None:
        while not self._ending.is_set():
            title = uuid.uuid4().hex
            answer = make(self._site, "/Plone/writers", "Document", title)
            if answer.status == 201:
                self.made.add(title)
            else:
                self.others[f"{answer.status} {answer.text[:200]}"] += 1


def make(site: Site, path: str, kind: str, title: str) -> Answer:
    body = json.dumps({"@type": kind, "id": title, "title": title})
    return site.request("POST", path, body, admin=True, headers=JSON)


def test_the_catalog_knows_every_acknowledged_document_once(plone: Site) -> None:
    assert make(plone, "/Plone", "Folder", "writers").status == 201
    with Writers(plone) as writers:
        for how in itertools.islice(itertools.cycle(("kill", "restart")), TURNS):
            writers.wait_for(2 * WRITERS)
            began = time.monotonic()
            if how == "kill":
                plone.kill("storage")
            else:
                plone.ok("restart", "storage")
            writers.wait_for(1)
            print(f"a document {time.monotonic() - began:.1f} s after {how}")
        writers.wait_for(2 * WRITERS)
    print(f"{len(writers.made)} made; other answers: {dict(writers.others)}")
    logs = {path.name: path.read_text(errors="replace") for path in (plone.home / "log").rglob("*.log")}
    assert [name for name, text in logs.items() if "already has the same oid" in text or "POSKeyError" in text] == []
    plone.ok("stop")
    listing = [PYTHON, Path(__file__).parent / "list_documents.py", plone.home / "etc" / "zope.conf"]
    ran = subprocess.run(listing, check=True, env=plone.environment, stdout=subprocess.PIPE, text=True)
    found = json.loads(ran.stdout.splitlines()[-1])
    plone.ok("start")
    assert found["wrong"] == []
    assert found["catalog"] == found["paths"]
    assert writers.made <= set(found["documents"])
    assert set(found["documents"].values()) == {1}
