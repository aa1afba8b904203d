"""The site as a WSGI application: the pipeline of etc/zope.ini around the Zope of one server's own zope.conf."""

from __future__ import annotations

import logging
import logging.config
import os
import sys
from collections.abc import Iterable
from configparser import ConfigParser
from typing import Any, Callable

from .zodb.guards import guard_server

WSGIApplication = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

LOG_FORMAT = "%(asctime)s %(levelname)s [%(name)s:%(lineno)s][%(threadName)s] %(message)s"


def load(zope_ini: str, zope_conf: str) -> WSGIApplication:
    """Boot Zope with `zope_conf` in the pipeline of `zope_ini`. Opens the database. Raises what the site raises."""
    guard_server()
    from paste.deploy import loadapp
    from Zope2.Startup import run

    make_wsgi_app = run.make_wsgi_app

    def make_this_server(global_config: dict[str, str], **_: str) -> WSGIApplication:
        # zope.ini names the site's zope.conf; this server's own is generated from it.
        application: WSGIApplication = make_wsgi_app(global_config, zope_conf)
        return application

    run.make_wsgi_app = make_this_server
    try:
        application: WSGIApplication = loadapp("config:" + zope_ini)
    finally:
        run.make_wsgi_app = make_wsgi_app
    return application


def configure_logging(zope_ini: str) -> None:
    """Logging as zope.ini has it; what the root logger gets goes to this server's log (standard error) in any case."""
    parser = ConfigParser(interpolation=None)
    with open(zope_ini, encoding="utf-8") as file:
        parser.read_file(file)
    if parser.has_section("loggers"):
        defaults = {"here": os.path.dirname(zope_ini), "__file__": zope_ini}
        logging.config.fileConfig(zope_ini, defaults, disable_existing_loggers=False)
    root = logging.getLogger()
    if not any(_writes_to_stderr(handler) for handler in root.handlers):
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter(LOG_FORMAT))
        root.addHandler(handler)
    if root.level > logging.INFO:
        logging.getLogger(__name__.rpartition(".")[0]).setLevel(logging.INFO)


def _writes_to_stderr(handler: logging.Handler) -> bool:
    return isinstance(handler, logging.StreamHandler) and handler.stream is sys.stderr


def close_databases() -> None:
    """Close what Zope opened, so that the storage learns of it at once."""
    import Zope2

    for database in list(Zope2.DB.databases.values()):
        database.close()
