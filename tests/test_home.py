"""Where a home can be."""

from __future__ import annotations

from pathlib import Path

import pytest

from zenwebserver.errors import ZenwebserverError
from zenwebserver.home import Home


@pytest.mark.parametrize("below", ["", "deeper/and/deeper"])
@pytest.mark.parametrize("kind", ["file", "link that leads nowhere"])
def test_what_is_no_folder_is_told_before_anything_is_looked_for_in_it(tmp_path: Path, kind: str, below: str) -> None:
    there = tmp_path / "f"
    if kind == "file":
        there.touch()
    else:
        there.symlink_to(tmp_path / "nowhere")
    with pytest.raises(ZenwebserverError, match=f"{there} is no folder"):
        Home.find({"ZENHOME": str(there / below)})


def test_a_folder_a_link_to_one_and_what_is_not_there_yet_can_be_one(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    for path in (tmp_path, tmp_path / "link", tmp_path / "new" / "home"):
        assert Home.find({"ZENHOME": str(path)}).path == path
