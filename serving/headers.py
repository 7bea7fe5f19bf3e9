"""The headers of every answer of the application."""

from flask import Response, request

from serving.origins import CrossOrigin

TO_THE_SLASH = "'sha256-fVuRDD+oWWNlFQyLvT0H4WZPpVqV7/OxcoTH/X6mg98='"
"""Of the script in index.html that adds the slash at the end of an address: the page's other
addresses are relative to it."""

HEADERS = {
    "Content-Security-Policy": f"default-src 'self'; script-src 'self' {TO_THE_SLASH}; "
    "img-src 'self' blob: data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def with_headers(response: Response, cross_origin: CrossOrigin) -> Response:
    """Add the headers that all answers carry, and those for pages of other origins."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.update(cross_origin.headers(request.origin))
    if request.method == "OPTIONS":
        allowed = response.headers.get("Allow", "")
        response.headers.update(cross_origin.preflight(request.origin, allowed))
    return response
