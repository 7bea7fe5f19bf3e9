"""The proxies that a shell names; servers are asked directly, which a user may not expect."""

from urllib.request import getproxies_environment, proxy_bypass

_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


def unused_proxy(scheme: str, host: str) -> str:
    """Name the variable of the proxy that other programs would ask for a host; "" if none."""
    proxies = getproxies_environment()
    if host in _THIS_MACHINE or proxy_bypass(host):
        return ""
    names = [name for name in (scheme, "all") if proxies.get(name)]
    return f"{names[0].upper()}_PROXY" if names else ""
