"""Why a request got no answer, or not the one that was asked for."""

from urllib.parse import SplitResult
from urllib.request import getproxies_environment, proxy_bypass

_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


class ServerAwayError(Exception):
    """No answer came: no connection, one that broke, or silence for too long.

    Attributes:
        is_final: asking again at once would be of no use.
        is_silent: something listens there, and the time was up.
        has_remedy: the message says what to do.
        reason: in few words, the same for all servers that are away.
        is_temporary: another server, or this one later, may well answer.
    """

    reason = "connection lost"
    is_temporary = True

    def __init__(
        self, reason: str, is_final: bool = False, is_silent: bool = False, remedy: str = ""
    ):
        super().__init__(f"{reason}; {remedy}" if remedy else reason)
        self.is_final, self.is_silent, self.has_remedy = is_final, is_silent, bool(remedy)


class AnswerError(Exception):
    """An answer came, and it is not the one that was asked for.

    Attributes:
        reason: in few words, the same for all answers that are alike.
        is_temporary: the same request may well be answered later.
        wait_s: seconds to wait before, if the server says so.
        is_busy: it is a server, or the proxy in front of it, that asks to come again.
    """

    def __init__(
        self,
        reason: str,
        detail: str = "",
        is_temporary: bool = True,
        wait_s: float = 0.0,
        is_busy: bool = False,
    ):
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.is_temporary, self.wait_s, self.is_busy = is_temporary, wait_s, is_busy


def server_away(parts: SplitResult, reason: str, is_final: bool = False) -> ServerAwayError:
    """Return the error for the server of a URL; it names a proxy that other programs would ask."""
    proxy = _unused_proxy(parts.scheme, parts.hostname or "")
    remedy = f"{proxy} is set, and not used: servers are asked directly" if proxy else ""
    return ServerAwayError(reason, is_final, remedy=remedy)


def _unused_proxy(scheme: str, host: str) -> str:
    """Return the variable of the proxy that the shell names for a host; "" if none."""
    proxies = getproxies_environment()
    if host in _THIS_MACHINE or proxy_bypass(host):
        return ""
    names = [name for name in (scheme, "all") if proxies.get(name)]
    return f"{names[0].upper()}_PROXY" if names else ""
