"""A visitor with cookies, who fills in Plone's forms."""

from __future__ import annotations

import re
from http.cookiejar import CookieJar
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, build_opener


class Browser:
    """Follows redirects and keeps cookies; every server of a site is one host to it, because cookies know no port."""

    def __init__(self) -> None:
        self.cookies = CookieJar()
        self._opener = build_opener(HTTPCookieProcessor(self.cookies))
        self.url = ""  # where the last request ended

    def open(self, url: str, form: dict[str, str] | None = None) -> str:
        """GET, or POST of a form; returns the page. Raises HTTPError for a status of 400 or above."""
        with self._opener.open(url, None if form is None else urlencode(form).encode(), timeout=60) as answer:
            self.url = answer.url
            return answer.read().decode()

    def submit(self, url: str, form: dict[str, str]) -> str:
        """Open the page of a form, and send it filled in, with the token that Plone put in against forgery."""
        token = re.search(r'name="_authenticator"[^>]* value="([^"]+)"', self.open(url))
        return self.open(self.url, {**form, "_authenticator": token[1] if token else ""})

    def log_in(self, site: str, user: str, password: str) -> None:
        self.submit(
            f"{site}/login", {"__ac_name": user, "__ac_password": password, "buttons.login": "Log in", "came_from": ""}
        )
        assert "__ac" in {cookie.name for cookie in self.cookies}, "not logged in"
