"""Bodies that arrive compressed, which no server of ours reads."""


def refusal_of_encoding(content_encoding: str | None) -> str | None:
    """Return why a body is refused by its Content-Encoding; None if it is not.

    A compressed body would have to be unpacked to know how large it is.

    >>> refusal_of_encoding("gzip")
    "Content-Encoding is 'gzip', expected none: send the body as it is, not compressed"
    >>> refusal_of_encoding(None), refusal_of_encoding("Identity")
    (None, None)
    """
    names = [name.strip() for name in (content_encoding or "").split(",")]
    if all(name.lower() in ("", "identity") for name in names):
        return None
    return (
        f"Content-Encoding is {str(content_encoding)[:50]!r}, expected none: send the body as it "
        "is, not compressed"
    )
