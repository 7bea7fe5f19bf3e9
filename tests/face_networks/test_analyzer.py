"""Pictures on their way through real networks, which are tiny."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_packs import BOX, CELL, LANDMARKS, as_file, picture, write_pack

from face_networks import analyzer as module
from face_networks.analyzer import FACES_IN_TURN, WORKERS_ON_GPU, FaceAnalyzer
from face_networks.decoding import LARGE_FILE_BYTES, is_large, read_square
from face_networks.loading import BATCHES, load_networks
from faces.client import AnswerError, FaceAnswer


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pack(tmp_path_factory.mktemp("packs") / "white_cells")


@pytest.fixture(scope="module")
def analyzer(pack: Path) -> Iterator[FaceAnalyzer]:
    with FaceAnalyzer(str(pack), "cpu", workers=2) as opened:
        yield opened


def test_the_faces_of_a_picture_are_found_where_they_are(analyzer: FaceAnalyzer) -> None:
    answer = analyzer.ask(as_file(picture((4, 5), (12, 9))))
    assert answer.model == "white_cells"
    assert answer.faces is not None
    assert len(answer.faces) == 2
    left, up, right, down = BOX
    corners = sorted((face.bbox.tolist(), face.landmark.tolist()) for face in answer.faces)
    for (box, landmarks), (column, row) in zip(corners, [(4, 5), (12, 9)], strict=True):
        expected = (column - left, row - up, column + right, row + down)
        np.testing.assert_allclose(box, np.multiply(expected, CELL), atol=1e-3)
        np.testing.assert_allclose(
            landmarks, (LANDMARKS + np.array((column, row))) * CELL, atol=1e-3
        )
    assert all(abs(np.linalg.norm(face.embedding) - 1) < 1e-5 for face in answer.faces)


def test_a_picture_that_cannot_be_used_has_no_list_of_faces(analyzer: FaceAnalyzer) -> None:
    assert analyzer.ask(b"no picture").faces is None
    assert analyzer.ask(as_file(picture())).faces == []


CROWD = picture(*((column, row) for column in range(2, 18, 4) for row in range(3, 17, 4)))
PATIENCE_S = 60


def same(one: FaceAnswer, other: FaceAnswer) -> bool:
    """Return whether two answers hold the same faces in the same order."""
    if one.faces is None or other.faces is None or len(one.faces) != len(other.faces):
        return False
    return all(
        np.allclose(face.bbox, twin.bbox) and face.embedding @ twin.embedding > 0.99999
        for face, twin in zip(one.faces, other.faces, strict=True)
    )


def test_pictures_asked_at_once_get_each_their_own_answer(analyzer: FaceAnalyzer) -> None:
    files = [as_file(picture((column, 5), (12, column))) for column in range(2, 10)] + [b"none"]
    alone = [analyzer.ask(file) for file in files]
    together = [analyzer.submit(file) for file in files]
    assert all(map(same, alone[:-1], (answer.result() for answer in together[:-1])))
    assert together[-1].result().faces is None


def test_batches_change_no_answer(
    analyzer: FaceAnalyzer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BATCHES, "cpu", 4)
    files = [as_file(CROWD), *(as_file(picture((column, 5))) for column in range(2, 6))]
    pack = write_pack(tmp_path / "white_cells", batched=True)
    with FaceAnalyzer(str(pack), "cpu", workers=4) as batched:
        answers = [batched.submit(file) for file in files]
        assert all(
            same(analyzer.ask(file), answer.result())
            for file, answer in zip(files, answers, strict=True)
        )


def test_a_crowd_lets_other_pictures_have_their_turn(
    pack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaceAnalyzer(str(pack), "cpu", workers=1) as one:
        embed = one._networks.embedder.embed
        sizes: list[int] = []
        second: list[Any] = []

        def embed_and_ask(pixels: Any, landmarks: Any) -> Any:
            if not sizes:
                second.append(one.submit(as_file(picture((5, 5)))))
            sizes.append(len(landmarks))
            return embed(pixels, landmarks)

        monkeypatch.setattr(one._networks.embedder, "embed", embed_and_ask)
        crowd = one.ask(as_file(CROWD))
    assert crowd.faces is not None
    assert len(crowd.faces) == 2 * FACES_IN_TURN
    assert sizes == [FACES_IN_TURN, 1, FACES_IN_TURN]
    assert len(second[0].result().faces) == 1


def test_large_pictures_stop_no_others(pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free, decoders = threading.Event(), []

    def read(content: bytes) -> Any:
        if is_large(content):
            decoders.append(threading.current_thread().name)
            assert free.wait(PATIENCE_S)
        return read_square(content)

    monkeypatch.setattr(module, "read_square", read)
    many_pixels = as_file(picture((5, 5), size=(1400, 1000)))
    many_bytes = as_file(picture((5, 5))) + bytes(LARGE_FILE_BYTES)
    small = as_file(picture((5, 5)))
    with FaceAnalyzer(str(pack), "cpu", workers=1) as one:
        large = [one.submit(file) for file in (many_pixels, many_bytes, many_pixels)]
        assert len(one.submit(small).result(PATIENCE_S).faces or []) == 1
        assert len(decoders) <= 1
        free.set()
        assert all(answer.result(PATIENCE_S).faces is not None for answer in large)
    assert len(decoders) == 3
    assert len(set(decoders)) == 1


def test_an_error_of_the_networks_reaches_who_asked_and_the_next_picture_is_answered(
    pack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Any) -> None:
        raise RuntimeError("out of memory")

    with FaceAnalyzer(str(pack), "cpu", workers=1) as one:
        with monkeypatch.context() as patch:
            patch.setattr(one._networks.detector, "find", fail)
            with pytest.raises(AnswerError, match="the face networks failed: RuntimeError"):
                one.ask(as_file(picture((5, 5))))
        assert len(one.ask(as_file(picture((5, 5)))).faces or []) == 1


def test_what_is_asked_before_the_end_is_answered(pack: Path) -> None:
    one = FaceAnalyzer(str(pack), "cpu", workers=2)
    answers = [one.submit(as_file(CROWD)) for _ in range(6)]
    one.close()
    assert all(answer.done() for answer in answers)
    assert all(len(answer.result().faces or []) == 16 for answer in answers)
    one.close()  # once more does no harm
    with pytest.raises(AnswerError, match="the face networks are closed"):
        one.submit(as_file(CROWD))


def test_what_is_asked_while_it_closes_is_answered_or_refused(
    pack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = FaceAnalyzer(str(pack), "cpu", workers=1)
    submit = one._workers.submit

    def submit_late(*work: Any) -> Any:
        if work[0] == one._begin:
            closing.start()
            while not one._is_closed:
                pass
        return submit(*work)

    closing = threading.Thread(target=one.close)
    monkeypatch.setattr(one._workers, "submit", submit_late)
    assert len(one.submit(as_file(CROWD)).result(PATIENCE_S).faces or []) == 2 * FACES_IN_TURN
    closing.join(PATIENCE_S)
    assert not closing.is_alive()


def test_a_forked_process_is_told_that_it_has_no_threads(
    pack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaceAnalyzer(str(pack), "cpu", workers=1) as one, monkeypatch.context() as patch:
        patch.setattr("os.getpid", lambda: -1)
        with pytest.raises(AnswerError, match="forked"):
            one.ask(as_file(CROWD))


def test_what_nobody_wants_any_more_is_not_worked_on(
    pack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, free, looked_at = threading.Event(), threading.Event(), []

    def read(content: bytes) -> Any:
        looked_at.append(content)
        begun.set()
        assert free.wait(PATIENCE_S)
        return read_square(content)

    monkeypatch.setattr(module, "read_square", read)
    with FaceAnalyzer(str(pack), "cpu", workers=1) as one:
        first, *others = [one.submit(as_file(CROWD)) for _ in range(4)]
        assert begun.wait(PATIENCE_S)
        assert [answer.cancel() for answer in (first, *others)] == [False, True, True, True]
        free.set()
    assert len(first.result().faces or []) == 16
    assert len(looked_at) == 1


def test_no_thread_is_left(pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BATCHES, "cpu", 2)
    before = set(threading.enumerate())
    with FaceAnalyzer(str(pack), "cpu", workers=3) as one:
        one.ask(as_file(CROWD))
        assert one.workers == 3
        assert one.device == "cpu"
    assert set(threading.enumerate()) <= before


def test_on_a_gpu_more_pictures_are_at_work_than_there_are_cores(
    pack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks = load_networks(pack, "cpu", 1)._replace(device="cuda")
    monkeypatch.setattr(module, "load_networks", lambda *_: networks)
    with FaceAnalyzer(str(pack)) as one:
        assert (one.device, one.workers) == ("cuda", WORKERS_ON_GPU)
    with FaceAnalyzer(str(pack), workers=3) as one:
        assert one.workers == 3
