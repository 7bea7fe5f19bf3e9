"""The face servers of an extraction: those that answer, or else containers."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from base.interrupt import StopRequest
from extraction.container import ContainerError, containers, image_name
from extraction.options import ExtractionOptions
from faces.client import AnswerError, FaceAnswer, FaceServer, ServerAwayError
from http_client.retry import RetryPolicy
from utils.addresses import same_server, server_url
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


def addresses_of(docker_port: int | str | Sequence[int | str]) -> list[int | str]:
    """Make a list of ports and URLs of one or several.

    Raises:
        DataError: there is none, or one twice.
    """
    is_several = isinstance(docker_port, Sequence) and not isinstance(docker_port, str | bytes)
    addresses: list[int | str] = list(docker_port) if is_several else [docker_port]  # type: ignore[arg-type, list-item]
    urls = [same_server(server_url(address)) for address in addresses]
    if not urls or len(set(urls)) != len(urls):
        raise DataError(f"docker_port is {docker_port!r}, expected ports or URLs, each once")
    return addresses


@contextmanager
def ready_servers(
    servers: Sequence[FaceServer], options: ExtractionOptions, stop: StopRequest
) -> Iterator[ReadyServers]:
    """Find the servers that answer; if there is none, run containers while the block lasts.

    Containers are started for servers on this machine only.

    Raises:
        ContainerError: nothing answers, or something else than a face server, or no container can
            be started.
        Interrupted: a stop was asked for meanwhile.
    """
    try:
        with _found_or_started(servers, options, stop) as ready:
            yield ready
    finally:
        for server in servers:
            server.close()


@contextmanager
def _found_or_started(
    servers: Sequence[FaceServer], options: ExtractionOptions, stop: StopRequest
) -> Iterator[ReadyServers]:
    looks = [_look(server, RetryPolicy(options.retry_waits_s)) for server in servers]
    answers = [look for look in looks if isinstance(look, FaceAnswer)]
    if answers:
        for server, look in zip(servers, looks, strict=True):
            if not isinstance(look, FaceAnswer):
                logger.warning(f"{server.url} does not answer; it is used as soon as it does")
        yield _ready(servers, ", ".join(server.url for server in servers), answers)
        return
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
    with containers(local, options, stop) as answers:
        yield _ready(servers, image_name(options), answers)


def _ready(
    servers: Sequence[FaceServer], description: str, answers: Sequence[FaceAnswer]
) -> ReadyServers:
    models = [answer.model for answer in answers if answer.model is not None]
    return ReadyServers(servers, description, models[0] if models else None)


def _look(server: FaceServer, retry: RetryPolicy) -> FaceAnswer | ServerAwayError:
    """Ask a server a small picture; return why there is no server when there is none.

    Raises:
        ContainerError: what answers there is no face server.
    """
    try:
        return retry.run(server.probe)
    except ServerAwayError as error:
        return error
    except AnswerError as error:
        raise ContainerError(
            f"what answers at {server.url} is no face server ({error}); stop it, or take another "
            "port with docker_port="
        ) from None
