"""The main job: what an administrator makes through the load balancer is there on every server, and stays."""

from __future__ import annotations

from urllib.parse import urlencode

from harness import Answer, Site, wait_until
from seen import files_with

DOCUMENT = "<p>Grüße &amp; <b>salutations</b></p>"
TEMPLATE = '<p tal:content="python: 6 * 7">a number</p>'


def make(site: Site, path: str, *, admin: bool = True, **form: str) -> Answer:
    return site.post(path, urlencode(form), admin=admin)


def read_back(site: Site) -> None:
    """From every server by its direct port, and by the load balancer."""
    for port in (site.port, site.server_port(1), site.server_port(2)):
        for _ in range(2):
            document = site.get("/notes/greeting", port=port)
            assert (document.status, document.text) == (200, DOCUMENT), port
            page = site.get("/notes/page", port=port)
            assert page.status == 200
            assert "<p>42</p>" in page.text, port


def test_a_folder_and_documents_made_through_the_load_balancer_are_everywhere_and_stay(shared: Site) -> None:
    assert make(shared, "/manage_addFolder", id="notes", title="Notes", admin=False).status == 401
    assert shared.get("/notes").status == 404

    assert make(shared, "/manage_addFolder", id="notes", title="Notes").status in (200, 302)
    products = "/notes/manage_addProduct"
    answer = make(shared, f"{products}/OFSP/manage_addDTMLMethod", id="greeting", title="", file=DOCUMENT)
    assert answer.status in (200, 302), answer
    answer = make(shared, f"{products}/PageTemplates/manage_addPageTemplate", id="page", title="", text=TEMPLATE)
    assert answer.status in (200, 302), answer
    read_back(shared)

    shared.ok("restart")
    read_back(shared)

    shared.ok("stop")
    wait_until(lambda: not shared.processes(), "nothing is left")
    shared.ok("start")
    read_back(shared)


def test_the_password_is_kept_nowhere_in_clear(shared: Site) -> None:
    assert shared.get("/manage_main", admin=True).status == 200
    assert files_with(shared.home, shared.password) == []
    assert not (shared.home / "inituser").exists()


def test_each_server_sees_at_once_what_another_one_stored(shared: Site) -> None:
    one, two = shared.server_port(1), shared.server_port(2)
    shared.get("/count?id=first", port=one)
    shared.get("/count?id=first", port=two)
    for number in range(20):
        writer, reader = (one, two) if number % 2 else (two, one)
        shared.post("/store", f"id=n{number}", port=writer)
        assert shared.get(f"/count?id=n{number}", port=reader).text == "1"
