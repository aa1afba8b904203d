"""A product of the site whose code a test breaks and mends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import Site

ZCML = '<configure xmlns="http://namespaces.zope.org/zope">\n{}</configure>\n'
HANGS = "import time\ntime.sleep(600)\n"
WAITS = "import pathlib, time\nwhile pathlib.Path({!r}).exists():\n    time.sleep(0.02)\n"
DIES = "import os, sys\nsys.stderr.write('the product gives up\\n')\nsys.stderr.flush()\nos._exit(3)\n"


class Product:
    """Imported when the site boots. To be added before the site is started."""

    def __init__(self, site: Site) -> None:
        lib = site.home / "lib"
        self._folder = lib / "zwsproduct"
        self._folder.mkdir(parents=True)
        path = site.environment.get("PYTHONPATH")
        site.environment["PYTHONPATH"] = os.pathsep.join([str(lib), *([path] if path else ())])
        site.environment["PYTHONDONTWRITEBYTECODE"] = "1"  # two versions may have the same second and size
        self.mend()
        zcml = site.home / "etc" / "site.zcml"
        include = '  <include package="zwsproduct" />\n</configure>'
        zcml.write_text(zcml.read_text().replace("</configure>", include))

    @property
    def code(self) -> Path:
        return self._folder / "__init__.py"

    @property
    def zcml(self) -> Path:
        return self._folder / "configure.zcml"

    @contextmanager
    def waits(self) -> Iterator[Path]:
        """Whoever loads the site waits until the file that is yielded is removed; at the end, it is."""
        gate = self._folder / "gate"
        gate.touch()
        self.code.write_text(WAITS.format(str(gate)))
        try:
            yield gate
        finally:
            gate.unlink(missing_ok=True)

    def mend(self) -> None:
        self.code.write_text("")
        self.zcml.write_text(ZCML.format(""))
