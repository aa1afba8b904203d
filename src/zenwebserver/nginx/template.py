"""etc/nginx.conf.template: Jinja2, with rules that keep each value inside its word of nginx's language."""

from __future__ import annotations

import hashlib
import re
import traceback
from collections.abc import Mapping
from difflib import get_close_matches
from importlib.resources import files
from pathlib import PurePath
from typing import NoReturn

import jinja2
import jinja2.meta
import jinja2.sandbox

from zenwebserver.errors import ZenwebserverError

NOTHING_CHANGED = "Nothing was changed. Correct the template and try again."
# An upgrade replaces the template of a home only while its first line holds.
_FIRST_LINE = "{{%# The template of nginx.conf, as shipped: sha256 {} #%}}"
# What ends or opens something in nginx's configuration, or names one of its variables.
_SPECIAL = re.compile(r"""[;{}"'\\$#\x00-\x1f\x7f\ud800-\udfff]""")
# No quotes help against these: nginx has no escape for "$", and a line break is an accident or worse.
_UNQUOTABLE = re.compile(r"[$\x00-\x1f\x7f\ud800-\udfff]")
# What a wrong expression in a template can raise.
_RENDERING_ERRORS = (
    jinja2.TemplateError,
    ArithmeticError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
)


class Verbatim(str):
    """Text that is right for nginx as it is."""

    __slots__ = ()


def quoted(value: object) -> Verbatim:
    """`value` as one word of nginx's configuration. Raises ValueError where nginx could not be told it."""
    text = str(value)
    if found := _UNQUOTABLE.search(text):
        raise ValueError(f"{text!r} holds {found[0]!r}, which cannot stand in nginx's configuration")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return Verbatim(f'"{escaped}"')


def seconds(value: float) -> Verbatim:
    """A time in seconds as nginx writes it; never 0, which it takes for "no limit"."""
    milliseconds = max(1, round(value * 1000))
    return Verbatim(f"{milliseconds}ms" if milliseconds % 1000 else f"{milliseconds // 1000}s")


def fill(text: str, template_name: str, values: Mapping[str, object]) -> str:
    """The template `text` with `values`. Raises ZenwebserverError with the template's name and line."""
    environment = _environment()
    try:
        code = environment.compile(text, filename=template_name)
        template = environment.template_class.from_code(environment, code, environment.make_globals(None))
        return template.render(values)
    except jinja2.TemplateSyntaxError as error:
        _refuse(template_name, error.lineno, error.message or "wrong syntax")
    except jinja2.UndefinedError as error:
        _refuse(template_name, _line(error, template_name), *_unknown(error, values))
    except _RENDERING_ERRORS as error:
        _refuse(template_name, _line(error, template_name), str(error))


def names(text: str, template_name: str) -> set[str]:
    """The variables that the template `text` needs. Raises ZenwebserverError where it cannot be read."""
    try:
        return jinja2.meta.find_undeclared_variables(_environment().parse(text))
    except jinja2.TemplateSyntaxError as error:
        _refuse(template_name, error.lineno, error.message or "wrong syntax")


def shipped_template() -> str:
    """The template of a new home; its first line is the checksum of the rest."""
    rest = (files(__package__) / "templates" / "nginx.conf.template").read_text(encoding="utf-8")
    return f"{_FIRST_LINE.format(_checksum(rest))}\n{rest}"


def shipped_error_page() -> str:
    """html/zenwebserver_50x.html of a new home."""
    return (files(__package__) / "templates" / "zenwebserver_50x.html").read_text(encoding="utf-8")


def is_unedited(text: str) -> bool:
    """Whether the template `text` is as some version of zenwebserver shipped it."""
    first, _, rest = text.partition("\n")
    return first == _FIRST_LINE.format(_checksum(rest))


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _environment() -> jinja2.Environment:
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        # The usual {# #} would swallow nginx text such as `server {# comment`.
        comment_start_string="{%#",
        comment_end_string="#%}",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        finalize=_as_nginx_writes_it,
        autoescape=False,  # that is for HTML; _as_nginx_writes_it takes its place
    )
    environment.filters.update(quoted=quoted, seconds=seconds, verbatim=Verbatim)
    return environment


def _as_nginx_writes_it(value: object) -> object:
    """Called by Jinja for the value of each {{ … }}."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, str | PurePath) and not isinstance(value, Verbatim):
        text = str(value)
        if found := _SPECIAL.search(text):
            raise ValueError(
                f"the value {text!r} holds {found[0]!r}, which means something to nginx; "
                "write `| quoted` behind its name, or `| verbatim` where that meaning is wanted"
            )
        return text
    if value is None or not isinstance(value, str | int | float | jinja2.Undefined):
        raise TypeError(f"{value!r} is no text or number")
    return value


def _unknown(error: jinja2.UndefinedError, values: Mapping[str, object]) -> tuple[str, str]:
    found = re.fullmatch(r"'(.+)' is undefined", error.message or "")
    if found is None:
        return error.message or "something is undefined", ""
    wrong = f"the variable {found[1]} is unknown"
    if nearest := get_close_matches(found[1], values, n=1):
        wrong += f"; did you mean {nearest[0]}?"
    return wrong, f"Or give it a value in etc/zenwebserver.conf: a line `{found[1]} VALUE`."


def _line(error: Exception, template_name: str) -> int | None:
    """Jinja makes a traceback in which the template's own lines stand."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == template_name]
    return lines[-1] if lines else None


def _refuse(template_name: str, line: int | None, wrong: str, hint: str = "") -> NoReturn:
    place = template_name if line is None else f"{template_name}, line {line}"
    raise ZenwebserverError(f"{place}: {wrong}", hint=f"{NOTHING_CHANGED} {hint}".strip()) from None
