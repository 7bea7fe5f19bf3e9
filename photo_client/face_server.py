"""The face server as the client asks it: again after what may pass, with advice when it is away."""

import time
from collections.abc import Callable

from faces.client import AnswerError, FaceAnswer, FaceServer, ServerAwayError
from http_client.retry import RetryPolicy
from photo_client.errors import FACE_SERVER

RETRY = RetryPolicy()


class RetryingFaceServer:
    """A face server that is asked again after what may pass; a `FaceSource`. Threads may share it.

    Args:
        address: its URL.
        timeout_s: seconds that an answer may take.
        wait: how to wait some seconds.

    Raises:
        DataError: as of `FaceServer`.
        UserError: it is away or busy, or what answers a small picture is no face server.
    """

    def __init__(
        self, address: str, timeout_s: float, wait: Callable[[float], object] = time.sleep
    ) -> None:
        self._server, self._wait = FaceServer(address, timeout_s), wait
        try:
            self._answer_of(self._server.probe)
        except AnswerError as error:
            self.close()
            if error.is_busy:
                raise FACE_SERVER.busy(self._server.url, error) from None
            raise FACE_SERVER.another(self._server.url, str(error)) from None
        except BaseException:
            self.close()
            raise

    def ask(self, image: bytes) -> FaceAnswer:
        """Find the faces of an encoded picture.

        Raises:
            AnswerError: it answers, and not with faces.
            UserError: it is away.
        """
        return self._answer_of(lambda: self._server.ask(image))

    def close(self) -> None:
        """Break off what other threads ask, and close the connections."""
        self._server.abort()  # which ends what other threads ask

    def _answer_of(self, ask: Callable[[], FaceAnswer]) -> FaceAnswer:
        try:
            return RETRY.run(ask, self._wait)
        except ServerAwayError as error:
            raise FACE_SERVER.away(self._server.url, error) from None
