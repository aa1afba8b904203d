"""A settings file is read whole, or its first mistake is told with its line."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import get_type_hints

import pytest

from zenwebserver.errors import ZenwebserverError
from zenwebserver.settings import Settings, SettingsError, load, parse
from zenwebserver.settings.schema import keys

HOME = Path("/srv/home")


def mistake(text: str, known_variables: tuple[str, ...] = ()) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        parse(text, HOME, known_variables, Path("/srv/home/etc/zenwebserver.conf"))
    assert "Nothing was changed" in caught.value.hint
    return caught.value


def test_an_empty_file_gives_every_default() -> None:
    settings = parse("", HOME)
    assert (settings.http_address, settings.http_port, settings.use_ssl, settings.ssl_port) == (
        "*",
        8080,
        False,
        443,
    )
    assert settings.ssl_key == Path("/srv/home/etc/ssl/zenoss.key")
    assert settings.custom_http_include == "/srv/home/etc/nginx-custom-http-*.conf"
    assert (settings.worker_processes, settings.error_log_level, settings.gzip) == ("4", "warn", True)
    assert (settings.server_base_port, settings.threads, settings.max_servers) == (9080, 4, 30)
    assert (settings.drain_timeout, settings.start_timeout, settings.read_timeout) == (600, 300, 600)
    assert settings.login_cookies == ("__ac", "__ginger_snap", "_ZopeId")
    assert settings.variables == {}


def test_the_schema_and_the_dataclass_have_the_same_fields_and_types() -> None:
    hints = get_type_hints(Settings)
    assert {key.attribute for key in keys().values()} == {
        field.name for field in dataclasses.fields(Settings) if field.name != "variables"
    }
    settings = parse("", HOME)
    for key in keys().values():
        value, hint = getattr(settings, key.attribute), hints[key.attribute]
        kinds = {float: (int, float), tuple[str, ...]: tuple}.get(hint, hint)
        assert isinstance(value, kinds), key.name


@pytest.mark.parametrize("written", ["$ZENHOME/ssl/a.crt", "${ZENHOME}/ssl/a.crt"])
def test_zenhome_expands_to_the_homes_path(written: str) -> None:
    assert parse(f"sslCert {written}", HOME).ssl_cert == Path("/srv/home/ssl/a.crt")


def test_a_homes_path_with_spaces_and_letters_of_other_scripts_is_taken() -> None:
    assert parse("", Path("/srv/mein Büro")).proxy_cache_path == Path("/srv/mein Büro/var/nginx/cache")


@pytest.mark.parametrize("written", ["$HOME/a", "$(PATH)", "$ZENHOMES/a", "${ZENHOME/a", "/a$", "$(ZENHOME)"])
def test_nothing_but_zenhome_expands(written: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZENHOME", "/from/the/environment")
    error = mistake(f"\nsslCert {written}")
    assert error.line == 2
    assert "only $ZENHOME expands" in error.message


def test_an_unknown_key_names_the_nearest_valid_one() -> None:
    error = mistake("threads 2\n\nhttport 80\n")
    assert error.message == (
        '/srv/home/etc/zenwebserver.conf, line 3: "httport" is no setting, and no variable of '
        "nginx.conf.template; did you mean httpPort?"
    )


def test_a_key_in_another_case_is_unknown_and_the_right_one_is_named() -> None:
    assert mistake("USESSL on").message.endswith("did you mean useSSL?")


def test_the_nearest_key_may_be_a_variable_of_the_template() -> None:
    assert mistake("robotTxt x", ("robotsTxt",)).message.endswith("did you mean robotsTxt?")


def test_an_unknown_key_that_resembles_none_shows_them_all() -> None:
    error = mistake("xyzzy 1", ("robotsTxt",))
    assert error.detail.startswith("The settings are: httpAddress, httpPort, ")
    assert error.detail.endswith(", robotsTxt")


@pytest.mark.parametrize("line", ["httpPort=80", "httpPort: 80"])
def test_a_key_with_an_equals_sign_or_a_colon_says_how_a_line_is_written(line: str) -> None:
    assert "line 1: write `httpPort value`, without " in mistake(line).message


def test_a_second_line_of_a_key_names_the_first() -> None:
    error = mistake("httpPort 80\n# and\nhttpPort 81")
    assert error.line == 3
    assert "httpPort is set already in line 1" in error.message


def test_a_second_line_of_a_variable_names_the_first() -> None:
    assert "banner is set already in line 1" in mistake("banner a\nbanner b", ("banner",)).message


def test_a_comment_behind_a_value_is_refused_as_such() -> None:
    assert "a comment needs a line of its own" in mistake("nginx /usr/sbin/nginx # ours").message


@pytest.mark.parametrize(
    "line",
    [
        "<server>",
        "<server",
        "<server/>",
        "</server>",
        "%include /etc/passwd",
        "%import os",
        "%define a b",
        "%nonsense",
        "% include",
        "(8080)",
    ],
)
def test_sections_directives_and_malformed_lines_are_refused(line: str) -> None:
    error = mistake(f"threads 2\n{line}\n")
    assert error.message == (
        "/srv/home/etc/zenwebserver.conf, line 2: this is no setting; a line is `key value` "
        "(sections and % directives have no use here)"
    )


def test_the_first_of_several_mistakes_is_told() -> None:
    assert mistake("gzip perhaps\nhttpPort x\nnonsense 1").line == 1


def test_a_wrong_value_is_told_in_full() -> None:
    assert mistake("error_log_level warning").message == (
        '/srv/home/etc/zenwebserver.conf, line 1: error_log_level cannot be "warning": accepted is one of '
        "debug, info, notice, warn, error, crit, alert, emerg"
    )


def test_further_keys_that_the_template_knows_are_variables() -> None:
    settings = parse("banner Hello $$name from $ZENHOME\n", HOME, {"banner", "footer"})
    assert settings.variables == {"banner": "Hello $name from /srv/home"}


def test_a_variable_holds_no_control_characters() -> None:
    assert mistake("banner a\x1bb", ("banner",)).message.endswith(
        'banner cannot be "a\\x1bb": it holds a character that cannot be printed'
    )


def test_the_template_gets_every_key_by_its_own_name_and_the_further_ones() -> None:
    variables = parse("httpPort 81\nbanner x", HOME, {"banner"}).template_variables()
    assert variables.keys() == keys().keys() | {"banner"}
    assert (variables["httpPort"], variables["useSSL"], variables["banner"]) == (81, False, "x")
    assert variables["proxy_cache_path"] == Path("/srv/home/var/nginx/cache")


def test_windows_line_ends_and_a_byte_order_mark_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "zenwebserver.conf"
    path.write_bytes(b"\xef\xbb\xbfhttpPort 81\r\nthreads 2\r\n")
    settings = load(path, HOME)
    assert (settings.http_port, settings.threads) == (81, 2)


def test_a_missing_file_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path / "zenwebserver.conf", HOME)
    assert caught.value.message == f"{tmp_path}/zenwebserver.conf: the file does not exist"
    assert "zenwebserver init" in caught.value.hint


def test_a_folder_in_the_files_place_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="the file cannot be read: Is a directory"):
        load(tmp_path, HOME)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_an_unreadable_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "zenwebserver.conf"
    path.touch(mode=0)
    with pytest.raises(SettingsError, match="the file cannot be read: Permission denied"):
        load(path, HOME)


def test_a_byte_that_is_no_text_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "zenwebserver.conf"
    path.write_bytes(b"threads 2\n# caf\xe9\n")
    with pytest.raises(ZenwebserverError) as caught:
        load(path, HOME)
    assert caught.value.message == f"{path} is not UTF-8: line 2, byte 0xe9"
    assert "Save it as UTF-8" in caught.value.hint


def test_server_n_listens_on_the_local_address_at_base_plus_n() -> None:
    assert parse("serverBasePort 20000", HOME).server_address(3) == ("127.0.0.1", 20003)


@pytest.mark.parametrize(
    ("text", "number", "why"),
    [
        ("httpPort 9200", 120, "port 9200, which is httpPort"),
        ("useSSL on\nsslPort 9200", 120, "port 9200, which is sslPort"),
        ("", 60000, "port 69080, and 65535 is the highest"),
    ],
)
def test_a_server_beyond_max_servers_gets_no_port_that_is_taken(text: str, number: int, why: str) -> None:
    with pytest.raises(ZenwebserverError, match=why):
        parse(text, HOME).server_address(number)


def test_a_server_may_use_the_tls_port_while_tls_is_off() -> None:
    assert parse("sslPort 9200", HOME).server_address(120) == ("127.0.0.1", 9200)


def test_there_is_no_server_0() -> None:
    with pytest.raises(ValueError, match="from 1"):
        parse("", HOME).server_address(0)
