"""Making zenwebserver the web server's control script of a Zenoss-like home, and undoing it to the byte.

No Zope, no pool and no command line here: the caller stops the pool, configures, and prints the steps.
"""

from zenwebserver.takeover.install import Installed, install
from zenwebserver.takeover.products import Kind, Product
from zenwebserver.takeover.record import is_installed
from zenwebserver.takeover.steps import Steps
from zenwebserver.takeover.uninstall import Uninstalled, uninstall

__all__ = ["Installed", "Kind", "Product", "Steps", "Uninstalled", "install", "is_installed", "uninstall"]
