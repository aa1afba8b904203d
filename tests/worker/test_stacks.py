"""What each thread does now."""

from __future__ import annotations

import threading
import time

from zenwebserver.worker import stacks
from zenwebserver.worker.drain import Running


def test_each_thread_is_named_with_its_request_and_the_inner_end_of_its_stack() -> None:
    inside, goes_on = threading.Event(), threading.Event()

    def there(depth: int) -> None:
        if depth:
            back(depth - 1)
        else:
            inside.set()
            goes_on.wait(10)

    def back(depth: int) -> None:
        there(depth)

    thread = threading.Thread(target=there, args=(300,), name="recursion")
    thread.start()
    assert inside.wait(10)
    ident = thread.ident or 0
    told = {each.name: each for each in stacks.threads({ident: Running("GET /x", time.monotonic() - 3, ident)})}
    goes_on.set()
    thread.join()
    assert told["recursion"].request == "GET /x"
    assert 3 <= told["recursion"].seconds < 30
    assert "goes_on.wait(10)" in told["recursion"].stack
    assert told["recursion"].stack.count("  File ") <= stacks.FRAMES
    main = told[threading.current_thread().name]
    assert (main.request, main.seconds) == ("", 0.0)
    assert "test_stacks.py" in main.stack
