"""Chromium over HTTP/2 while the pool changes: `python -m bench.changes [CHANGES [SESSIONS [reload]]]`.

With `reload`, nginx is reloaded for each change, as an older one is. Prints what each session saw, and the seconds of
each command.
"""

from __future__ import annotations

import statistics
import sys

from changes import CHANGES, change, secure_site
from chromium import Chromium
from seen import stored


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    sessions = int(sys.argv[2]) if len(sys.argv) > 2 else 12
    with secure_site(by_reloads="reload" in sys.argv, threads=2) as site:
        with Chromium(site, int(str(site.settings["sslPort"])), sessions=sessions) as browser:
            browser.wait_for(100)
            took = change(site, number)
        seen, counts = browser.seen, stored(site, port=site.server_port(1))
    for kind in range(len(CHANGES)):
        each = took[kind :: len(CHANGES)]
        if each:
            longest = f"(longest {max(each):.2f} s, {len(each)} times)"
            print(f"{CHANGES[kind]:<16} {statistics.median(each):5.2f} s  {longest}")
    print(f"{number} changes in {sum(took):.0f} s, {seen.answered} answered over {', '.join(sorted(seen.protocols))}")
    print(f"{len(seen.failures)} failed; of {len(seen.stored)} ids answered with 200,", end=" ")
    print(f"{sum(counts.get(ident, 0) != 1 for ident in seen.stored)} are not stored exactly once")
    for failure in seen.failures:
        print(failure)


if __name__ == "__main__":
    main()
