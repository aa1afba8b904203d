from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from supervisor_end import SupervisorEnd


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[SupervisorEnd]:
    end = SupervisorEnd(tmp_path)
    yield end
    end.close()
