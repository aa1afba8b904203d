"""Tests that are coroutines run in virtual time (virtual.py)."""

from __future__ import annotations

import inspect

import pytest
import virtual
from fake_site import site  # noqa: F401 - a fixture


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters}
    virtual.run(pyfuncitem.obj(**arguments))
    return True
