"""Two settings that cannot stand together are both named, each with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from zenwebserver.settings import SettingsError, parse

HOME = Path("/srv/home")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "httpPort 8443\nuseSSL on\nsslPort 8443",
            "line 3: httpPort 8443 (line 1) and sslPort 8443 (line 3) are the same port; "
            "with useSSL each needs its own",
        ),
        (
            "useSSL on\nhttpPort 443",
            "line 2: httpPort 443 (line 2) and sslPort 443 (default) are the same port; with useSSL each needs its own",
        ),
        (
            "httpPort 9081",
            "line 1: httpPort 9081 (line 1) is the port of server 1: serverBasePort 9080 (default) and "
            "maxServers 30 (default) give the servers the ports 9081 to 9110",
        ),
        (
            "serverBasePort 8000\nmaxServers 80",
            "line 2: httpPort 8080 (default) is the port of server 80: serverBasePort 8000 (line 1) and "
            "maxServers 80 (line 2) give the servers the ports 8001 to 8080",
        ),
        (
            "useSSL on\nsslPort 9110",
            "line 2: sslPort 9110 (line 2) is the port of server 30: serverBasePort 9080 (default) and "
            "maxServers 30 (default) give the servers the ports 9081 to 9110",
        ),
        (
            "serverBasePort 65530\nmaxServers 6",
            "line 2: serverBasePort 65530 (line 1) and maxServers 6 (line 2) need ports up to 65536; "
            "65535 is the highest",
        ),
        (
            "proxy_temp_path $ZENHOME/var/nginx/cache",
            "line 1: proxy_cache_path /srv/home/var/nginx/cache (default) and "
            "proxy_temp_path /srv/home/var/nginx/cache (line 1) are the same folder; each needs its own",
        ),
    ],
)
def test_a_clash_names_both_keys_and_their_lines(text: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(text, HOME)
    assert caught.value.message == f"zenwebserver.conf, {message}"
    assert "Nothing was changed" in caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "httpPort 443",  # TLS is off
        "sslPort 9081",
        "httpPort 9080",  # just below the servers' ports
        "httpPort 9111",  # just above
        "serverBasePort 65505",
        "proxy_temp_path /var/tmp/nginx\nclient_body_temp_path /var/tmp/nginx",
    ],
)
def test_settings_that_only_nearly_clash_are_taken(text: str) -> None:
    parse(text, HOME)
