"""Real browsers: Chromium, each session on an HTTP/2 connection of its own, fetching all the time."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from string import Template

from harness import WAIT_SECONDS, Site

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
END_SECONDS = 30

# A session is a frame of another host name: browsers share a connection within one. GET and POST in turn.
PAGE = Template("""<!doctype html><title>session</title><script>
const told = "http://127.0.0.1:$port/";
const number = Number(location.hash.slice(1) || 0);
if (number == 0) {
  for (let each = 1; each <= $sessions; each++) {
    const frame = document.createElement("iframe");
    frame.src = "https://s" + each + ".localhost:" + location.port + location.pathname + "#" + each;
    addEventListener("DOMContentLoaded", () => document.body.append(frame));
  }
} else {
  session();
}
async function session() {
  let news = {session: number, answered: 0, stored: [], failures: [], protocols: []}, asked = performance.now();
  for (let turn = 0; ; turn++) {
    const id = crypto.randomUUID().replaceAll("-", "");
    const post = turn % 2 == 1, began = Date.now() / 1000;
    const url = post ? "/store" : "/count?id=" + id;
    try {
      const answer = await fetch(url, {cache: "no-store",
        ...(post && {method: "POST", body: new URLSearchParams({id})})});
      const text = await answer.text();
      if (answer.status != 200) throw new Error(answer.status + " " + text.slice(0, 100));
      news.answered++;
      if (post) news.stored.push(id);
    } catch (error) {
      news.failures.push(began.toFixed(3) + " " + (post ? "POST " : "GET ") + error);
    }
    await new Promise(go_on => setTimeout(go_on, $pause));
    if (performance.now() - asked < 300) continue;
    const protocols = performance.getEntriesByType("resource").map(each => each.nextHopProtocol);
    news.protocols = [...new Set(protocols.filter(Boolean))];
    performance.clearResourceTimings();
    const sent = news;
    news = {session: number, answered: 0, stored: [], failures: [], protocols: []};
    asked = performance.now();
    const word = await (await fetch(told, {method: "POST", body: JSON.stringify(sent)})).text();
    if (word == "end") return;
  }
}
</script><body></body>""")
LOCATION = """location = /session.html {{
    root "{folder}";
    types {{ }}
    default_type text/html;
}}
"""


@dataclass
class Seen:
    """What the sessions of a browser saw."""

    answered: int = 0
    stored: set[str] = field(default_factory=set)  # ids whose POST was answered well
    failures: list[str] = field(default_factory=list)
    protocols: set[str] = field(default_factory=set)
    sessions: set[int] = field(default_factory=set)  # that have told something
    ended: set[int] = field(default_factory=set)


def serve_page(site: Site) -> None:
    """Have the site's nginx serve the page, from its next start on."""
    (site.home / "html").mkdir(exist_ok=True)
    include = site.home / "etc" / "nginx-custom-server-session.conf"
    include.write_text(LOCATION.format(folder=site.home / "html"))


class Chromium:
    """A browser with `sessions` sessions at a site with TLS, from `with` to its end."""

    def __init__(self, site: Site, tls_port: int, *, sessions: int = 4, pause: int = 10) -> None:
        """`pause`: milliseconds between a session's requests."""
        assert PROGRAM, "Chromium is not installed"
        self.seen = Seen()
        self.sessions = sessions
        self._ending = threading.Event()
        self._changed = threading.Condition()
        self._profile = Path(tempfile.mkdtemp(prefix="zwsbrowser"))
        self._collector = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        page = PAGE.substitute(port=self._collector.server_port, sessions=sessions, pause=pause)
        (site.home / "html" / "session.html").write_text(page)
        self._url = f"https://s0.localhost:{tls_port}/session.html"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Chromium:
        threading.Thread(target=self._collector.serve_forever).start()
        self._process = subprocess.Popen(self._command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        try:
            self._wait(lambda: len(self.seen.ended) >= len(self.seen.sessions), END_SECONDS, "a session did not end")
        finally:
            assert self._process
            self._process.terminate()
            try:
                self._process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._collector.shutdown()
            self._collector.server_close()
            shutil.rmtree(self._profile, ignore_errors=True)

    def wait_for(self, requests: int) -> None:
        """Until every session has told something, and so many more requests are answered."""
        goal = self.seen.answered + requests
        self._wait(
            lambda: len(self.seen.sessions) == self.sessions and self.seen.answered >= goal,
            WAIT_SECONDS,
            f"fewer than {requests} more were answered",
        )

    def _wait(self, condition: object, seconds: float, otherwise: str) -> None:
        assert callable(condition)
        with self._changed:
            assert self._changed.wait_for(condition, seconds), f"{otherwise}: {self.seen}"

    def _command(self) -> Sequence[str]:
        return [
            str(PROGRAM),
            *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
            *("--ignore-certificate-errors", "--disable-background-networking", "--disable-component-update"),
            f"--user-data-dir={self._profile}",
            self._url,
        ]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        browser = self

        class Collector(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                news = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                word = browser._hear(news).encode()
                self.send_response(200)
                self.send_header("Access-Control-Allow-Origin", "*")
                self.send_header("Content-Length", str(len(word)))
                self.end_headers()
                self.wfile.write(word)

            def log_message(self, format: str, *_: object) -> None:
                """Nothing."""

        return Collector

    def _hear(self, news: dict[str, object]) -> str:
        with self._changed:
            seen = self.seen
            seen.answered += int(str(news["answered"]))
            seen.stored.update(news["stored"])  # type: ignore[arg-type]
            seen.failures += news["failures"]  # type: ignore[arg-type]
            seen.protocols.update(news["protocols"])  # type: ignore[arg-type]
            seen.sessions.add(int(str(news["session"])))
            ending = self._ending.is_set()
            if ending:
                seen.ended.add(int(str(news["session"])))
            self._changed.notify_all()
        return "end" if ending else "go on"
