"""Finds and embeds the faces of pictures in this process, several pictures at once."""

import os
import threading
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Self

import numpy as np

from face_networks.decoding import is_large, read_square
from face_networks.loading import load_networks, require_packages
from face_networks.packs import find_pack, model_name
from face_networks.runs import DeviceChoice
from faces.client import AnswerError, Face, FaceAnswer
from faces.errors import ImageError
from utils.runtime import available_cores

WORKERS_ON_GPU = 32
"""Enough to gather a batch while another one runs: workers only wait meanwhile."""

FACES_IN_TURN = 8
"""Of a picture with more faces, so many are embedded before other pictures have their turn."""

Work = Generator[ThreadPoolExecutor, None, FaceAnswer]
"""The work on a picture, in steps: each says where the next one is to be done."""


class FaceAnalyzer:
    """A model pack's networks; a `faces.client.FaceSource` that needs no server.

    Attributes:
        model: name of the pack.
        device: "cpu" or "cuda", on which the networks run.
        workers: pictures that are worked on at once.

    Args:
        pack: folder of .onnx files, or name of a pack.
        device: "auto" takes a GPU if there is one that onnxruntime can use.
        workers: None for one a processor core, or for as many as fill the batches of a GPU.
        threads: of a network on the CPU; more than 1 shorten the wait for a single picture, and
            lengthen that for many.

    Raises:
        UserError: the optional packages or the pack are missing, or it does not fit.
    """

    def __init__(
        self,
        pack: str,
        device: DeviceChoice = "auto",
        workers: int | None = None,
        threads: int = 1,
    ):
        self.model = model_name(pack)
        require_packages()  # before a pack is downloaded
        self._networks = load_networks(find_pack(pack), device, threads)
        self.device = self._networks.device
        on_device = available_cores() if self.device == "cpu" else WORKERS_ON_GPU
        self.workers = workers or on_device
        self._workers = ThreadPoolExecutor(self.workers, "faces")
        # Large pictures are decoded one at a time, by the same thread: memory that another thread
        # freed may stay with that thread.
        self._large_decoder = ThreadPoolExecutor(1, "large pictures")
        self._unanswered: set[Future[FaceAnswer]] = set()
        self._lock, self._is_closed, self._process = threading.Lock(), False, os.getpid()

    def ask(self, image: bytes) -> FaceAnswer:
        """Find and embed the faces of an encoded picture; threads may ask at once.

        Returns:
            The faces, the surest first; None when the picture cannot be used.

        Raises:
            AnswerError: the networks failed, of too little memory for one, or are closed.
        """
        return self.submit(image).result()

    def submit(self, image: bytes) -> Future[FaceAnswer]:
        """Begin to find and embed the faces of an encoded picture; see `ask`.

        Raises:
            AnswerError: the networks are closed.
        """
        answer: Future[FaceAnswer] = Future()
        if self._process != os.getpid():  # a fork has the networks, and none of the threads
            raise AnswerError("this process was forked from the one that loaded the face networks")
        with self._lock:
            if self._is_closed:
                raise AnswerError("the face networks are closed", is_temporary=False)
            self._unanswered.add(answer)
        answer.add_done_callback(self._unanswered.discard)
        self._workers.submit(self._begin, image, answer)
        return answer

    def close(self) -> None:
        """Finish what was asked, and end the threads."""
        with self._lock:
            self._is_closed = True
            unanswered = self._unanswered.copy()
        wait(unanswered)
        self._workers.shutdown()
        self._large_decoder.shutdown()
        self._networks.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin(self, image: bytes, answer: Future[FaceAnswer]) -> None:
        if answer.set_running_or_notify_cancel():
            self._go_on(self._analyse(image), answer)

    def _go_on(self, work: Work, answer: Future[FaceAnswer]) -> None:
        """Do the next step, and have the one after it done where that belongs."""
        try:
            place = next(work)
        except StopIteration as end:
            answer.set_result(end.value)
        except ImageError:
            answer.set_result(FaceAnswer(None, self.model))
        except Exception as error:  # noqa: BLE001 - raised where it was asked
            failure = AnswerError("the face networks failed", type(error).__name__)
            failure.__cause__ = error
            answer.set_exception(failure)
        else:
            place.submit(self._go_on, work, answer)

    def _analyse(self, image: bytes) -> Work:
        is_apart = is_large(image)
        if is_apart:
            yield self._large_decoder
        pixels, placement = read_square(image)
        if is_apart:
            yield self._workers
        found = self._networks.detector.find(pixels)
        faces: list[Face] = []
        while len(faces) < len(found):
            if faces:
                yield self._workers
            turn = found.at(np.arange(len(faces), min(len(found), len(faces) + FACES_IN_TURN)))
            vectors = self._networks.embedder.embed(pixels, turn.landmarks)
            faces += [
                Face(
                    bbox=placement.to_picture(box.reshape(2, 2)).reshape(4),
                    det_score=float(score),
                    landmark=placement.to_picture(points),
                    embedding=vector,
                )
                for box, score, points, vector in zip(
                    turn.boxes, turn.scores, turn.landmarks, vectors, strict=True
                )
            ]
        return FaceAnswer(faces, self.model)
