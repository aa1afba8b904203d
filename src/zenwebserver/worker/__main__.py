"""`SITE_PYTHON .../worker/__main__.py ARGUMENT`: becomes what the argument (JSON) says: a server, a zygote, storage.

The package is loaded by its path under a name of its own, so that neither our modules nor our dependencies come to
stand on the site's sys.path.
"""

from __future__ import annotations

import faulthandler
import importlib.util
import json
import signal
import sys
from pathlib import Path

PACKAGE = "zenwebserver_worker"


def load_package() -> None:
    """Make this folder importable as `zenwebserver_worker`, and drop it from sys.path."""
    folder = Path(__file__).resolve().parent
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != folder]
    spec = importlib.util.spec_from_file_location(
        PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec and spec.loader
    package = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE] = package
    spec.loader.exec_module(package)


def missing(modules: list[str]) -> list[str]:
    """Which of them this Python has not. They are looked for, not imported."""
    lacks = []
    for module in modules:
        try:
            found = importlib.util.find_spec(module)
        except ModuleNotFoundError:  # nor the package that it would be in
            found = None
        if found is None:
            lacks.append(module)
    return lacks


if __name__ == "__main__":
    faulthandler.register(signal.SIGUSR1, all_threads=True)  # stacks into the log, even where Python itself is stuck
    load_package()
    what = json.loads(sys.argv[1])
    if "present" in what:
        print(json.dumps({"missing": missing(what["present"])}))
        sys.exit()
    from zenwebserver_worker import check, server, storage, zygote  # type: ignore[import-not-found]

    if "check" in what:
        check.check_configuration(what["check"])
    else:
        sys.exit((storage if "storage" in what else zygote if "zygote" in what else server).main(sys.argv[1]))
