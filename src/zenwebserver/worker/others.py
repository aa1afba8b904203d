"""What else runs in the site's Python: storage, and a look at a zope.conf."""

from __future__ import annotations

import sys

from .zodb.guards import guard_storage


def serve_storage(conf: str) -> None:
    """Be the ZEO server that `conf` describes, to its end."""
    from ZEO.runzeo import main

    guard_storage()  # before Data.fs is opened
    main(["-C", conf])


def check_configuration(conf: str) -> None:
    """Read `conf` as Zope does when it starts; nothing is opened. Exits with the mistake in words."""
    import ZConfig
    from Zope2.Startup.options import ZopeWSGIOptions

    try:
        ZopeWSGIOptions(configfile=conf)()
    except ZConfig.ConfigurationError as error:
        sys.exit(f"{conf}: {error}")
