"""A connection of which a request has limited time to arrive, in however many pieces it comes."""

from typing import Any

from waitress.channel import HTTPChannel


class Connection(HTTPChannel):
    """A connection that waitress closes when no request began, or ended, for `channel_timeout`.

    Its own counts every byte: some hundred clients that send one now and then keep out all others.
    """

    request: Any
    last_activity: float

    def handle_read(self) -> None:
        """Take what came; more of a request that is arriving is no new activity."""
        arriving, before = self.request, self.last_activity
        super().handle_read()
        if arriving is not None and self.request is arriving:
            self.last_activity = before
