"""One Zope server: boots the site, serves it on the listening socket that it is given, leaves when told."""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import queue
import signal
import socket
import sys
import threading
import time
import traceback

from . import application, away, stacks, warmup
from .drain import WaitressEngine
from .line import Line
from .messages import Figures, Order, OrderName, ServerSpec, Standing, WorkerState, decode
from .missing import ClassesMissing

logger = logging.getLogger(__name__)

FOREGROUND_LEAVE_SECONDS = 5
# Seconds that threads of the site may go on after the last request, before the process ends without them.
EXIT_SECONDS = 10
# Seconds between two reports of a server that serves.
REPORT_SECONDS = 5.0


def main(argument: str) -> int:
    spec = decode(ServerSpec, argument)
    return ServerProcess(spec).run() if spec.supervisor else run_in_foreground(spec)


class ServerProcess:
    """Boots, reports ready, accepts when it is given the listening socket, leaves when told."""

    def __init__(self, spec: ServerSpec, *, forked: bool = False) -> None:
        self._spec = spec
        self._forked = forked
        self._lock = threading.Lock()
        self._early: queue.SimpleQueue[tuple[Order, socket.socket | None]] = queue.SimpleQueue()
        self._engine: WaitressEngine | None = None
        standing = Standing(WorkerState.STARTING, token=spec.token, server=spec.server, release=spec.release)
        self._line = Line(spec.supervisor, standing, self._take_order)

    def run(self) -> int:
        """Returns the exit code."""
        self._line.run_in_thread()
        try:
            site = self._boot()
            self._line.tell(WorkerState.READY)
            order, listener = self._first_order()
            engine = listener and self._begin(WaitressEngine(site, listener, self._spec.threads), order, listener)
        except BaseException as error:  # noqa: BLE001 - whatever the site raises is what the admin wants to see
            reason = f"{error}\n" if isinstance(error, ClassesMissing) else traceback.format_exc()
            self._line.tell_at_last(WorkerState.FAILED, reason)  # first: the disk of the log may be full
            sys.stderr.write(reason)
            return 1
        if engine:
            engine.run()
        else:
            self._line.tell(WorkerState.LEAVING)
        return end()

    def _boot(self) -> application.WSGIApplication:
        spec = self._spec
        if not self._forked:  # else the zygote has done it; doing it anew would copy 6 MB that servers share
            application.configure_logging(spec.zope_ini)
        site = application.load(spec.zope_ini, spec.zope_conf)
        warmup.check_database(spec.root)
        warmup.WarmUp(spec.warmup_paths, spec.base, spec.root, spec.threads).run(site)
        return away.with_patience(site, spec.error_page)

    def _first_order(self) -> tuple[Order, socket.socket | None]:
        """To serve a listening socket, or to leave without having served."""
        while True:
            order, listener = self._early.get()
            if listener is not None or order.order is OrderName.LEAVE:
                return order, listener

    def _begin(self, engine: WaitressEngine, order: Order, listener: socket.socket) -> WaitressEngine:
        """On trial, the listening socket is known to the supervisor alone; the pool's comes with a later order."""
        on_trial = order.order is OrderName.TRY
        if not on_trial:
            self._line.keep_listener(listener)
        engine.accept_connections()
        with self._lock:
            self._engine = engine
            while not self._early.empty():
                self._carry_out(engine, *self._early.get())
        self._line.tell(WorkerState.TRYING if on_trial else WorkerState.SERVING)
        threading.Thread(target=self._report, args=(engine,), name="zenwebserver-figures", daemon=True).start()
        return engine

    def _report(self, engine: WaitressEngine) -> None:
        while True:
            self._line.mention(figures=figures(engine))
            time.sleep(REPORT_SECONDS)

    def _take_order(self, order: Order, listener: socket.socket | None) -> None:
        """Called in the line's thread."""
        if order.order is OrderName.THREADS:
            self._line.mention(threads=stacks.threads(self._engine.running if self._engine else {}))
            return
        with self._lock:
            if self._engine is None:
                self._early.put((order, listener))
            else:
                self._carry_out(self._engine, order, listener)

    def _carry_out(self, engine: WaitressEngine, order: Order, listener: socket.socket | None) -> None:
        if order.order is OrderName.LEAVE:
            engine.call(self._leave, engine, order.timeout)
        elif order.order is OrderName.REST:
            engine.call(self._rest, engine)
        elif order.order is OrderName.ACCEPT:
            engine.call(self._accept_again, engine, listener)
        else:
            logger.warning("A server that serves does not %s: the order is ignored", order.order)
            if listener is not None:
                listener.close()

    # In the thread of the engine's loop.

    def _leave(self, engine: WaitressEngine, timeout: float) -> None:
        engine.leave(timeout)
        self._line.keep_listener(None)
        self._line.tell(WorkerState.LEAVING)

    def _rest(self, engine: WaitressEngine) -> None:
        if not engine.leaving:
            engine.rest()
            self._line.keep_listener(None)
            self._line.tell(WorkerState.RESTING)

    def _accept_again(self, engine: WaitressEngine, listener: socket.socket) -> None:
        if engine.leaving:  # for good; what it said last still holds
            listener.close()
            return
        engine.rest()
        engine.accept_again(listener)
        self._line.keep_listener(listener)
        self._line.tell(WorkerState.SERVING)


def figures(engine: WaitressEngine) -> Figures:
    """How busy it is now."""
    running = list(engine.running.values())
    full = len(running) >= engine.adj.threads
    return Figures(
        requests=engine.requests,
        memory=_private_memory(),
        busy=len(running),
        all_busy_seconds=time.monotonic() - max(request.since for request in running) if full else 0.0,
    )


def _private_memory() -> int:
    """Bytes that this process has for itself, shared pages counted in part (PSS); proc(5), smaps_rollup."""
    try:
        with open("/proc/self/smaps_rollup", encoding="ascii") as rollup:
            for line in rollup:
                if line.startswith("Pss:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def run_in_foreground(spec: ServerSpec) -> int:
    """Boot and accept at once; Ctrl-C or SIGTERM ends it cleanly. Returns the exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        application.configure_logging(spec.zope_ini)
        site = application.load(spec.zope_ini, spec.zope_conf)
        warmup.check_database(spec.root)
        site = away.with_patience(site, spec.error_page)
    except KeyboardInterrupt:
        return 1
    except ClassesMissing as error:
        logger.error("%s", error)
        return 1
    engine = WaitressEngine(site, socket.socket(fileno=spec.listener), spec.threads)
    try:
        engine.accept_connections()
        logger.info("Accepting connections")
        engine.run()
    except KeyboardInterrupt:
        engine.leave(FOREGROUND_LEAVE_SECONDS)
        with contextlib.suppress(KeyboardInterrupt):  # once more: without what still runs
            engine.run()
    return end()


def end() -> int:
    """Close the database; what the site still has running does not keep the process."""
    application.close_databases()
    logging.shutdown()
    faulthandler.dump_traceback_later(EXIT_SECONDS, exit=True)
    return 0
