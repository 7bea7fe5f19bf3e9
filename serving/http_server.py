"""Serves with waitress: requests have limited time to arrive, and are finished at the end."""

import logging
import math
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from waitress import wasyncore
from waitress.server import BaseWSGIServer, create_server

from faces.errors import silence_decoders
from serving.http_channel import Channel
from serving.responses import CrossOrigin
from serving.settings import ServerSettings
from utils.addresses import url_of
from utils.errors import ConfigError
from utils.log import get_logger
from utils.runtime import share_heaps
from utils.text import cut

SPARE_THREADS = 4
"""Beside those at work: for requests that are told to wait, and GET /health."""

MAX_HEADER_BYTES = 2**14
RECEIVED_BYTES = 2**18
"""Read at a time; the 8 KiB that waitress takes make large bodies slow."""

LOOP_S, DRAIN_LOOP_S = 0.5, 0.05
DRAIN_S = 30.0
"""Seconds that requests in flight have at the end."""

LAST_ARRIVAL_S = 3.0
"""Seconds that a request may take to arrive, at the end."""

Sockets = dict[int, Any]
"""What is open, by file descriptor: connections, and what listens."""

logger = get_logger("server")


def serve(
    application: Any,
    settings: ServerSettings,
    on_end: Callable[[], None],
    on_refusal: Callable[[int], None] = lambda _: None,
) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish what is in flight.

    Args:
        application: answers requests.
        settings: say where and within which limits.
        on_end: called once nothing is in flight any more.
        on_refusal: called with the status of each answer to what never reaches the application.

    Raises:
        ConfigError: the address cannot be listened on.
    """
    share_heaps()
    silence_decoders()
    sockets: Sockets = {}
    server = _listen(application, settings, sockets)
    for listener in _listeners(sockets):
        listener.on_refusal = on_refusal
        logger.info(f"Serving on {url_of(listener.effective_host, listener.effective_port)}")
    with _stop_signals() as stopped:
        while not stopped:
            _run_once(sockets, LOOP_S, settings.request_timeout_s)
    logger.info("Stopping: what is in flight is finished first")
    _drain(sockets, min(settings.request_timeout_s, LAST_ARRIVAL_S))
    server.task_dispatcher.shutdown()
    wasyncore.close_all(sockets, ignore_all=True)
    on_end()


def _listen(application: Any, settings: ServerSettings, sockets: Sockets) -> Any:
    """Open the sockets, one for each address of the host, and start the threads."""
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a line for every waiting request
    body = settings.max_body_bytes + 1
    try:
        server = create_server(
            application,
            map=sockets,
            host=settings.host,
            port=settings.port,
            threads=settings.max_queue + settings.max_images + SPARE_THREADS,
            connection_limit=settings.max_connections + SPARE_THREADS,
            max_request_header_size=MAX_HEADER_BYTES,
            max_request_body_size=body,
            recv_bytes=RECEIVED_BYTES,
            inbuf_overflow=body,  # in memory: nothing of a face touches a disk
            outbuf_overflow=sys.maxsize,
            channel_timeout=2 * math.ceil(settings.request_timeout_s),  # for the silent in between
            cleanup_interval=1,
            asyncore_use_poll=True,
            log_socket_errors=False,
            ident="age-gender",
        )
    except (OSError, ValueError) as error:
        wasyncore.close_all(sockets, ignore_all=True)
        raise ConfigError(_not_listening(settings, error)) from None
    cross_origin = CrossOrigin(settings.allowed_origins)
    for listener in _listeners(sockets):
        listener.channel_class = Channel
        listener.cross_origin = cross_origin
    return server


def _not_listening(settings: ServerSettings, error: Exception) -> str:
    """Return why, and what to do about a HOST or PORT that came from the environment."""
    problem = f"cannot listen on {cut(settings.host)}:{settings.port}: {str(error).rstrip('.')}"
    given = [name for name in ("host", "port") if name in settings.from_environment]
    if not given:
        return problem
    variables = " and ".join(
        f"{name.upper()}={cut(str(getattr(settings, name)))}" for name in given
    )
    return (
        f"{problem}; {variables} came from the environment, where conda and shells set HOST: unset "
        "it, or name the address with --host 127.0.0.1 and --port 10003"
    )


def _listeners(sockets: Sockets) -> list[BaseWSGIServer]:
    return [each for each in sockets.values() if isinstance(each, BaseWSGIServer)]


def _channels(sockets: Sockets) -> list[Channel]:
    return [each for each in sockets.values() if isinstance(each, Channel)]


def _run_once(sockets: Sockets, wait_s: float, timeout_s: float) -> None:
    """Move what bytes there are, waiting for some; give up requests that arrive for too long."""
    wasyncore.loop(wait_s, True, sockets, count=1)
    oldest = time.monotonic() - timeout_s
    for channel in _channels(sockets):
        if channel.arriving_since < oldest:
            channel.give_up(timeout_s)


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collect SIGTERM and SIGINT in a list, which is empty until one comes."""
    stopped: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        stopped.append(number)

    kinds = (signal.SIGTERM, signal.SIGINT)
    before = {kind: signal.signal(kind, stop) for kind in kinds}
    try:
        yield stopped
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


def _drain(sockets: Sockets, timeout_s: float) -> None:
    """Accept no more connections; wait for the answers of requests that have begun."""
    for listener in _listeners(sockets):
        wasyncore.dispatcher.close(listener)
    deadline = time.monotonic() + DRAIN_S
    while time.monotonic() < deadline:
        channels = _channels(sockets)
        for channel in channels:
            channel.will_close = channel.will_close or channel.is_idle
        if all(channel.is_idle for channel in channels):
            return
        _run_once(sockets, DRAIN_LOOP_S, timeout_s)
