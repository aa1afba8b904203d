"""What each kind of value takes and refuses; nothing that could escape in nginx's configuration is taken."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from zenwebserver.settings import SettingsError, parse

HOME = Path("/srv/home")

TAKEN = [
    ("httpPort", "1", "http_port", 1),
    ("httpPort", "65535", "http_port", 65535),
    ("useSSL", "on", "use_ssl", True),
    ("gzip", "No", "gzip", False),
    ("worker_processes", "auto", "worker_processes", "auto"),
    ("worker_processes", "1024", "worker_processes", "1024"),
    ("httpAddress", "127.0.0.1", "http_address", "127.0.0.1"),
    ("httpAddress", "2001:DB8:0::1", "http_address", "2001:db8::1"),
    ("hostNames", "WWW.example.org  *.example.org", "host_names", ("www.example.org", "*.example.org")),
    ("hostNames", "a.org b.org A.org", "host_names", ("a.org", "b.org")),
    ("hostNames", "", "host_names", ()),
    ("siteURL", "https://www.Example.org", "site_url", "https://www.example.org"),
    ("siteURL", "http://www.example.org:8080/", "site_url", "http://www.example.org:8080"),
    ("siteURL", "https://[2001:db8::1]:8443", "site_url", "https://[2001:db8::1]:8443"),
    ("sslCert", "/etc/ssl/my site.crt", "ssl_cert", Path("/etc/ssl/my site.crt")),
    ("customHttpInclude", "/etc/mine/[ab]-*.conf", "custom_http_include", "/etc/mine/[ab]-*.conf"),
    ("error_log_level", "emerg", "error_log_level", "emerg"),
    ("clientMaxBodySize", "2G", "client_max_body_size", "2G"),
    ("clientMaxBodySize", "0", "client_max_body_size", "0"),
    ("drainTimeout", "0", "drain_timeout", 0),
    ("loginCookies", "session.id __ac", "login_cookies", ("session.id", "__ac")),
    ("nginx", "/usr/sbin/nginx", "nginx", Path("/usr/sbin/nginx")),
    ("nginx", "", "nginx", None),
    ("python", "", "python", Path(sys.executable)),
    ("python", "/srv/plone/bin/python", "python", Path("/srv/plone/bin/python")),
]

REFUSED = [
    ("httpPort", "0"),
    ("httpPort", "65536"),
    ("httpPort", "-1"),
    ("httpPort", "80_80"),
    ("httpPort", "٨٠٨٠"),
    ("httpPort", ""),
    ("httpPort", "9" * 5000),
    ("useSSL", "perhaps"),
    ("useSSL", "1"),
    ("worker_processes", "0"),
    ("worker_processes", "1025"),
    ("worker_processes", "Auto"),
    ("httpAddress", "localhost"),
    ("httpAddress", "127.0.0.1; include /etc/passwd"),
    ("httpAddress", "[::1]"),
    ("httpAddress", "fe80::1%eth0"),
    ("httpAddress", "fe80::1%;}"),
    ("hostNames", "www.example.org;"),
    ("hostNames", "~.*"),
    ("hostNames", "www.*.org"),
    ("hostNames", "*"),
    ("hostNames", "-a.org"),
    ("hostNames", "a..org"),
    ("hostNames", "münchen.de"),
    ("hostNames", "a." * 127 + "org"),
    ("siteURL", "www.example.org"),
    ("siteURL", "ftp://www.example.org"),
    ("siteURL", "https://www.example.org/plone"),
    ("siteURL", "https://me@www.example.org"),
    ("siteURL", "https://www.example.org:65536"),
    ("siteURL", "https://www.example.org?x"),
    ("siteURL", "https://[127.0.0.1]"),
    ("siteURL", "https://[*]"),
    ("siteURL", "https://a b"),
    ("sslCert", "etc/ssl/a.crt"),
    ("sslCert", ""),
    ("sslCert", "~/a.crt"),
    *(("sslCert", f"/etc/a{unsafe}b.crt") for unsafe in "\"'`;{}\\\x00\x1b\x7f\u2028"),
    ("sslCert", "/etc/$$host.crt"),
    ("customServerInclude", "*.conf"),
    ("customServerInclude", "/etc/*.conf; root /"),
    ("error_log_level", "warning"),
    ("error_log_level", "WARN"),
    ("serverBasePort", "1022"),
    ("maxServers", "0"),
    ("threads", "0"),
    ("threads", "2.5"),
    ("startTimeout", "0"),
    ("startTimeout", "5m"),
    ("readTimeout", "86401"),
    ("clientMaxBodySize", "500mb"),
    ("clientMaxBodySize", "-1"),
    ("clientMaxBodySize", "99999999999999999999g"),
    ("loginCookies", ""),
    ("loginCookies", "__ac|.*"),
    ("loginCookies", "a;b"),
]


@pytest.mark.parametrize(("key", "text", "attribute", "value"), TAKEN)
def test_a_right_value_arrives_under_its_attribute(key: str, text: str, attribute: str, value: object) -> None:
    taken = getattr(parse(f"{key} {text}", HOME), attribute)
    assert taken == value
    assert type(taken) is type(value)


@pytest.mark.parametrize(("key", "text"), REFUSED)
def test_a_wrong_value_is_refused_with_its_key_and_line(key: str, text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(f"# first line\n{key} {text}\n", HOME)
    assert caught.value.message.startswith(f"zenwebserver.conf, line 2: {key} cannot be ")
    assert "accepted is " in caught.value.message
    assert caught.value.message.isprintable()


def test_a_home_whose_path_nginx_could_misread_is_refused_where_a_default_would_use_it() -> None:
    with pytest.raises(SettingsError, match=r"the default of sslCert cannot be .*must not hold ;"):
        parse("", Path("/srv/a;b"))


def test_a_virtual_environments_python_keeps_its_symlink(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.symlink_to(sys.executable)
    assert parse(f"python {python}", HOME).python == python
