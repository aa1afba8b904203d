"""The texts made from the schema agree with it, and a value that is set is the value that is read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from zenwebserver.settings import commented_defaults, parse, reference, with_values
from zenwebserver.settings.schema import keys

HOME = Path("/srv/home")
DOCUMENT = Path(__file__).parents[2] / "docs" / "settings.md"


def test_a_fresh_file_sets_nothing() -> None:
    assert all(not line or line.startswith("#") for line in commented_defaults().split("\n"))
    assert parse(commented_defaults(), HOME) == parse("", HOME)


def test_a_fresh_file_with_every_comment_sign_taken_away_is_the_defaults() -> None:
    lines = [line[1:] for line in commented_defaults().split("\n") if line[:1] == "#" and line[1:2].isalpha()]
    assert [line.split()[0] for line in lines] == list(keys())
    assert parse("\n".join(lines), HOME) == parse("", HOME)


def test_a_fresh_file_tells_the_sentence_above_each_default() -> None:
    flat = " ".join(commented_defaults().replace("\n# ", " ").split())
    for key in keys().values():
        assert key.sentence.replace("`", "") in flat
        assert f"\n#{key.name} {key.default}".rstrip() + "\n" in commented_defaults()


def test_every_key_has_a_heading_and_a_sentence() -> None:
    for key in keys().values():
        assert key.heading, key.name
        assert key.sentence.endswith("."), key.name


def test_a_value_set_in_a_fresh_file_stands_below_its_commented_default() -> None:
    text = with_values(commented_defaults(), {"httpAddress": "127.0.0.1", "hostNames": "a.org"})
    assert "\n#httpAddress *\nhttpAddress 127.0.0.1\n" in text
    assert "\n#hostNames\nhostNames a.org\n" in text
    settings = parse(text, HOME)
    assert (settings.http_address, settings.host_names) == ("127.0.0.1", ("a.org",))


def test_setting_a_value_again_replaces_its_line_alone() -> None:
    once = with_values(commented_defaults(), {"threads": "2"})
    assert with_values(once, {"threads": "8"}) == once.replace("\nthreads 2\n", "\nthreads 8\n")


def test_an_indented_line_is_replaced_too() -> None:
    assert with_values("  threads 2\n", {"threads": "3"}) == "threads 3\n"


def test_a_key_whose_line_is_gone_is_appended() -> None:
    assert with_values("gzip on\n", {"threads": "2"}) == "gzip on\nthreads 2\n"
    assert with_values("gzip on", {"threads": "2"}) == "gzip on\nthreads 2\n"
    assert with_values("", {"threads": "2"}) == "threads 2\n"


def test_a_key_that_begins_like_another_leaves_that_one_alone() -> None:
    text = "#nginx_more\nnginx_more a\n"
    assert with_values(text, {"nginx": "/usr/sbin/nginx"}) == text + "nginx /usr/sbin/nginx\n"


def test_windows_line_ends_stay() -> None:
    assert with_values("gzip on\r\n#threads 4\r\n", {"threads": "2", "gzip": "off"}) == (
        "gzip off\r\n#threads 4\r\nthreads 2\r\n"
    )


def test_zenhome_in_a_value_is_written_as_it_is() -> None:
    text = with_values("", {"sslCert": "$ZENHOME/a.crt"})
    assert text == "sslCert $ZENHOME/a.crt\n"


@pytest.mark.parametrize(("name", "value"), [("threads", "2\ngzip off"), ("a b", "c"), ("#a", "c"), ("", "c")])
def test_a_value_cannot_bring_a_line_of_its_own(name: str, value: str) -> None:
    with pytest.raises(ValueError, match="no line of a settings file"):
        with_values("", {name: value})


def test_the_reference_names_every_key_its_default_and_what_it_takes() -> None:
    for key in keys().values():
        default = f"`{key.default}`" if key.default else "(empty)"
        assert f"| `{key.name}` | {default} | {key.datatype.accepts} | {key.sentence} |\n" in reference()


def test_the_document_is_what_the_schema_says() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == reference(), (
        "run: python -m zenwebserver.settings > docs/settings.md"
    )


def test_the_module_prints_the_document() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "zenwebserver.settings"], capture_output=True, encoding="utf-8", check=True
    )
    assert run.stdout == reference()
