"""GET /metrics: what the server answered and what it is at work on, for Prometheus.

Nothing in it is of a person: no client's address, no picture, no estimate.
"""

import time
from typing import cast

from flask import Request, Response, request
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from serving.engine import InferenceEngine
from serving.requests import Gate

PREFIX = "age_gender"
OTHER = ("other", "other")
"""Method and path of requests that no address takes: their own words would be series without
end."""

disable_created_metrics()  # type: ignore[no-untyped-call]  # twice the series, of no use here
BUCKETS_S = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class TimedRequest(Request):
    """A request that knows when its work began: once it had arrived."""

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self.began_at = time.perf_counter()


class ServerMetrics:
    """Counts of one application, with a registry of their own.

    Args:
        engine: whose models are named, and whose queue is looked at.
        requests: the gate of requests with embeddings.
        pictures: that of pictures.
    """

    def __init__(self, engine: InferenceEngine, requests: Gate, pictures: Gate) -> None:
        self._registry = CollectorRegistry()
        labels = ("method", "path")
        self._requests = Counter(
            "requests", "Requests answered.", (*labels, "status"), PREFIX, registry=self._registry
        )
        self._seconds = Histogram(
            "request_seconds",
            "Time from a request that has arrived to its answer.",
            labels,
            PREFIX,
            registry=self._registry,
            buckets=BUCKETS_S,
        )
        self._faces = Counter(
            "faces", "Faces described.", ("path",), PREFIX, registry=self._registry
        )
        self._show("requests_in_progress", "Requests to POST / and POST /faces at work.", requests)
        self._show("pictures_in_progress", "Pictures at work.", pictures)
        queue = self._gauge("queue_length", "Requests whose faces wait for the networks.")
        queue.set_function(lambda: engine.num_waiting)
        self._name_models(engine)
        ProcessCollector(registry=self._registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, namespace=PREFIX, registry=self._registry)

    def _show(self, name: str, text: str, gate: Gate) -> None:
        self._gauge(name, text).set_function(lambda: gate.num_inside)

    def _name_models(self, engine: InferenceEngine) -> None:
        pair = engine.pair
        names = {"device": str(pair.device)}
        for kind, model in (("age", pair.age), ("gender", pair.gender)):
            names |= {kind: model.path.name, f"{kind}_version": model.version}
        Info("models", "The models that answer.", (), PREFIX, registry=self._registry).info(names)

    def count_answer(self, response: Response) -> Response:
        """Count the response to Flask's present request."""
        rule = request.url_rule
        labels = (request.method, rule.rule) if rule else OTHER
        seconds = time.perf_counter() - cast(TimedRequest, request).began_at
        self._requests.labels(*labels, response.status_code).inc()
        self._seconds.labels(*labels).observe(seconds)
        return response

    def count_refusal(self, status: int) -> None:
        """Count a request that never reached the application."""
        self._requests.labels(*OTHER, status).inc()

    def count_faces(self, num_faces: int) -> None:
        """Count faces that the answer to Flask's present request describes."""
        self._faces.labels(str(request.url_rule)).inc(num_faces)

    def response(self) -> Response:
        """Write all in Prometheus' text format 0.0.4."""
        return Response(generate_latest(self._registry), content_type=CONTENT_TYPE_PLAIN_0_0_4)
