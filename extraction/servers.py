"""The face servers of an extraction: those that answer, or else containers."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from base.interrupt import StopRequest
from extraction.container import ContainerError, containers, is_image_here
from extraction.extractor import Extractor
from extraction.options import ExtractionOptions
from extraction.server_image import choose_image
from faces.client import AnswerError, FaceAnswer, FaceServer, ServerAwayError
from http_client.retry import RetryPolicy
from utils.addresses import same_server
from utils.errors import DataError
from utils.log import get_logger

logger = get_logger("extraction")


@dataclass(frozen=True, slots=True)
class ReadyServers:
    """Servers of which one at least answers.

    Attributes:
        servers: all of them.
        description: their URLs, or the name of the image that was started.
        model: name of the network, when a server tells.
    """

    servers: Sequence[FaceServer]
    description: str
    model: str | None


def face_servers(options: ExtractionOptions) -> list[FaceServer]:
    """Make a client of each face server that was named, by its port or URL.

    Raises:
        DataError: there is none, one is named twice, or an address is none.
    """
    given = options.docker_port
    is_several = isinstance(given, Sequence) and not isinstance(given, str | bytes)
    addresses = given if is_several else [given]
    servers = [FaceServer(address, options.timeout_s) for address in addresses]
    if not servers or len({same_server(server.url) for server in servers}) != len(servers):
        raise DataError(f"docker_port is {given!r}, expected ports or URLs, each once")
    return servers


@contextmanager
def ready_servers(
    servers: Sequence[FaceServer],
    options: ExtractionOptions,
    stop: StopRequest,
    before: Extractor | None = None,
) -> Iterator[ReadyServers]:
    """Find the servers that answer; if there is none, run containers while the block lasts.

    Containers are started for servers on this machine only. The servers are closed at the end.

    Args:
        servers: to look for.
        options: of the extraction.
        stop: ends the waits.
        before: what made the answers that are there, see `extractor.extractor_of_done`.

    Raises:
        ContainerError: nothing answers, or something else than a face server, or no container can
            be started.
        Interrupted: a stop was asked for meanwhile.
    """
    with ExitStack() as stack:
        for server in servers:
            stack.callback(server.close)
        retry = RetryPolicy(options.retry_waits_s)
        looks = [_look(server, retry, stop) for server in servers]
        answers = [look for look in looks if isinstance(look, FaceAnswer)]
        description = ", ".join(server.url for server in servers)
        for server, look in zip(servers, looks, strict=True):
            if answers and not isinstance(look, FaceAnswer):
                logger.warning(f"{server.url} does not answer; it is used as soon as it does")
        if not answers:
            local = _to_start(servers, looks)
            image = choose_image(options, before, is_image_here)
            answers = stack.enter_context(containers(local, image, options, stop))
            description = image.name
        models = [answer.model for answer in answers if answer.model is not None]
        yield ReadyServers(servers, description, models[0] if models else None)


def _to_start(
    servers: Sequence[FaceServer], looks: Sequence[FaceAnswer | ServerAwayError]
) -> list[FaceServer]:
    """Return the servers for which a container is to be started, where none answers.

    Raises:
        ContainerError: one is busy, or all are of other machines.
    """
    for server, look in zip(servers, looks, strict=True):
        if isinstance(look, ServerAwayError) and look.is_silent:
            raise ContainerError(
                f"something listens at {server.url} and did not answer within "
                f"{server.timeout_s:g} s; is it busy? Wait for it or stop it, or give it more time "
                "with timeout_s="
            )
    local = [server for server in servers if server.is_port]
    if not local:
        away = zip((server.url for server in servers), looks, strict=True)
        reasons = ", ".join(f"{url} ({reason})" for url, reason in away)
        raise ContainerError(f"no face server answers at {reasons}; start it, or correct the URL")
    return local


def _look(
    server: FaceServer, retry: RetryPolicy, stop: StopRequest
) -> FaceAnswer | ServerAwayError:
    """Ask a server a small picture; return why there is no server when there is none.

    Raises:
        ContainerError: what answers there is no face server.
    """
    try:
        return retry.run(server.probe, stop.wait)
    except ServerAwayError as error:
        return error
    except AnswerError as error:
        raise ContainerError(
            f"what answers at {server.url} is no face server ({error}); stop it, or take another "
            "port with docker_port="
        ) from None
