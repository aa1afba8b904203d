"""A look at a zope.conf, in the site's Python."""

from __future__ import annotations

import sys


def check_configuration(conf: str) -> None:
    """Read `conf` as Zope does when it starts; nothing is opened. Exits with the mistake in words."""
    import ZConfig
    from Zope2.Startup.options import ZopeWSGIOptions

    try:
        ZopeWSGIOptions(configfile=conf)()
    except ZConfig.ConfigurationError as error:
        sys.exit(f"{conf}: {error}")
