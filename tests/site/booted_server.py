"""A Zope server without a network port: reads requests as JSON lines and answers on its standard output.

python booted_server.py ZOPE_CONF [ZOPE_INI]
"""

from __future__ import annotations

import base64
import io
import json
import os
import sys
from typing import Any


def application(arguments: list[str]) -> Any:
    if len(arguments) == 2:
        from logging.config import fileConfig

        from paste.deploy import loadapp

        fileConfig(arguments[1], disable_existing_loggers=False)
        return loadapp("config:" + arguments[1])
    from Zope2.Startup.run import make_wsgi_app
    from ZPublisher.httpexceptions import HTTPExceptionHandler

    return HTTPExceptionHandler(make_wsgi_app({}, arguments[0]))


def answer(site: Any, request: dict[str, Any]) -> dict[str, Any]:
    body = request.get("body", "").encode()
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": request["path"],
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_LENGTH": str(len(body)),
        "CONTENT_TYPE": "application/x-www-form-urlencoded",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.url_scheme": "http",
        "wsgi.multithread": True,
        "wsgi.version": (1, 0),
    }
    if "password" in request:
        environ["HTTP_AUTHORIZATION"] = "Basic " + base64.b64encode(f"admin:{request['password']}".encode()).decode()
    started: list[str] = []

    def start_response(status: str, _: list[tuple[str, str]], exc_info: Any = None) -> Any:
        started[:] = [status]
        return lambda _: None

    result = site(environ, start_response)
    text = b"".join(result).decode(errors="replace")
    if hasattr(result, "close"):
        result.close()
    return {"status": int(started[0].split()[0]), "text": text}


def blob(request: dict[str, Any]) -> dict[str, Any]:
    """Blobs have no page of their own in a bare Zope: kept as an attribute of the root."""
    import transaction
    import Zope2
    from ZODB.blob import Blob

    app = Zope2.app()
    try:
        transaction.begin()  # as for every request: what others have committed is seen from here on
        if request["method"] == "READ BLOB":
            with getattr(app, request["path"]).open() as file:
                return {"status": 200, "text": file.read().decode()}
        setattr(app, request["path"], Blob(request["body"].encode()))
        transaction.commit()
        return {"status": 200, "text": ""}
    finally:
        transaction.abort()
        app._p_jar.close()


def main() -> None:
    # Only answers go to standard output, whatever the site prints.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    site = application(sys.argv[1:])
    for line in sys.stdin:
        request = json.loads(line)
        answered = blob(request) if request["method"].endswith("BLOB") else answer(site, request)
        answers.write(json.dumps(answered) + "\n")
        answers.flush()
    import Zope2

    Zope2.DB.close()


if __name__ == "__main__":
    main()
