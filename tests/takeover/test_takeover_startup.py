"""The start-up script, as text."""

from __future__ import annotations

import pytest

from zenwebserver.takeover.startup import switch_startup_script, undo_startup_script
from zenwebserver.takeover.switch import Found

CALLS = [
    '$ZENHOME/bin/zopectl "$@"',
    "zopectl start",
    '"$ZENHOME/bin/zopectl"',
    '"$ZENHOME"/bin/zopectl start',
    "${ZENHOME}/bin/zopectl start",
    "./zopectl start; ../bin/zopectl stop",
    '"$BIN/zopectl" status',
    "$(dirname $0)/zopectl start",
    "exec zopectl start",
    "if zopectl status; then",
    'su - zenoss -c "zopectl start"',
    "su - zenoss -c 'zopectl start'",
    'C="zeoctl zopectl zenhub"',
    "for daemon in zeoctl zopectl zenhub; do",
    "ZOPE=zopectl",
    "x=$(zopectl status)",
    "x=`zopectl status`",
    'echo "The server: $(zopectl status)"',
    "echo starting && zopectl start",
    "echo starting >&2; zopectl start",
    "echo it\\'s starting\nzopectl start",
    "start) zopectl start ;;",
    "true||zopectl start&",
    "zopectl start>/dev/null",
    "[ $# -gt 0 ] && zopectl start",
    "x=${y#z}; zopectl start",
    "zopectl \\\n  start",
    "$ZENHOME/bin/{zeoctl,zopectl} start",
    "su zenoss <<EOF\nzopectl start\nEOF",
    "n=$((1<<n))\nzopectl start",
    "(cd /; zopectl start)",
    "zopectl start\r",
]

NOT_CALLS = [
    "# zopectl start",
    "true # zopectl start",
    "myzopectl start",
    "zopectl.log",
    "tail $ZENHOME/log/zopectl.log",
    "rm $ZENHOME/var/zopectl.pid",
    "cd $ZENHOME/etc/zopectl/",
    "ls $ZENHOME/etc/zopectl",
    "zopectl_helper start",
    "zopectl=/bin/true",
    "$zopectl start",
    "${zopectl} start",
    "my-zopectl start",
    "zopectlx",
    "echo starting zopectl",
    'echo "zopectl start"',
    "echo 'zopectl start'",
    'echo >&2 "zopectl start"',
    'if true; then echo "zopectl"; fi',
    'LANG=C printf "zopectl start"',
    "cat <<EOF\nusage: zopectl start\nEOF",
    "cat <<-'EOF' >&2\n\tzopectl start\n\tEOF",
    "case $1 in\nhelp) echo zopectl ;;\nesac",
]


@pytest.mark.parametrize("call", CALLS)
def test_a_call_of_zopectl_becomes_one_of_zenwebserver(call: str) -> None:
    before = f"#! /bin/bash\n# starts zopectl, don't edit\n{call}\ntail log/zopectl.log".encode()
    body = call.replace("zopectl", "zenwebserver")
    switch = switch_startup_script(before)
    assert switch.found is Found.SWITCHED
    assert switch.text.decode() == f"#! /bin/bash\n# starts zopectl, don't edit\n{body}\ntail log/zopectl.log"
    assert undo_startup_script(switch.text, switch.word) == before
    assert switch_startup_script(switch.text).found is Found.ALREADY


@pytest.mark.parametrize("text", NOT_CALLS)
def test_a_mention_of_zopectl_is_no_call(text: str) -> None:
    before = f"#! /bin/bash\n{text}\nexit 0\n".encode()
    switch = switch_startup_script(before)
    assert (switch.found, switch.text) == (Found.NOTHING, before)


def test_every_call_is_switched_and_messages_are_not() -> None:
    before = b"zopectl stop\r\necho 'zopectl stopped' \xff\r\nzopectl start"
    after = b"zenwebserver stop\r\necho 'zopectl stopped' \xff\r\nzenwebserver start"
    assert switch_startup_script(before).text == after


def test_calls_of_several_zope_servers_are_not_switched_unless_forced() -> None:
    before = b"zopectl start\nzopectl2 start\n$ZENHOME/bin/zope3ctl start\n"
    switch = switch_startup_script(before)
    assert (switch.found, switch.text, switch.line) == (Found.SEVERAL, before, 1)
    assert [str(word) for word in switch.others] == ["zopectl2 (line 2)", "zope3ctl (line 3)"]
    forced = switch_startup_script(before, force=True)
    assert forced.text == before.replace(b"zopectl start", b"zenwebserver start")


@pytest.mark.parametrize(
    ("edited", "undone"),
    [
        (b"nice zenwebserver start\necho zenwebserver\n", b"nice zopectl start\necho zenwebserver\n"),
        (b"true\n", None),
    ],
)
def test_in_an_edited_script_only_our_calls_are_put_back(edited: bytes, undone: bytes | None) -> None:
    assert undo_startup_script(edited, "zopectl") == undone
