import json
from pathlib import Path
from typing import Any

import pytest
from face_helpers import answering, face, options, picture_file, stored, vector, write_images

from extraction import adience
from extraction.extract import extract, extract_adience, find_reference_image
from extraction.extractor import new_extractor, read_extractors, update_extractor
from extraction.places import Places
from extraction.same_network import OtherNetworkError
from extraction.stored_answers import answer_path, write_answer
from faces.client import FaceAnswer
from sample.stand_in_server import Behaviour, StandInServer
from utils.errors import ConfigError, DataError

AS_IT_IS = options()


def record_of(folder: Path) -> Any:
    return json.loads((folder / "extractor.json").read_text())


def test_the_record_tells_what_made_the_embeddings(tmp_path: Path) -> None:
    paths = write_images(tmp_path, 2)
    with StandInServer(behaviour=Behaviour(model_name="tiny")) as server:
        extract(Places(tmp_path), paths, options(server.url, resize=256, jpeg_quality=90))
    record = record_of(tmp_path)
    assert list(record) == ["server", "model", "resize", "jpeg_quality", "date"]
    date = record.pop("date")
    assert len(date) == len("2022-01-31")
    assert record == {"server": server.url, "model": "tiny", "resize": 256, "jpeg_quality": 90}


def test_files_sent_as_they_are_have_no_size_and_no_quality() -> None:
    record = new_extractor("image", None, None, 75)
    assert "model" not in record
    assert (record["resize"], record["jpeg_quality"]) == (None, None)


def test_a_record_stays_as_it_is_when_the_extraction_goes_on(tmp_path: Path) -> None:
    old = new_extractor("first", "tiny", 640, 75) | {"date": "2021-01-01"}
    update_extractor(tmp_path, old, 0)
    assert update_extractor(tmp_path, new_extractor("first", "tiny", 640, 75), 5) == old
    assert record_of(tmp_path) == old


def test_another_server_that_goes_on_is_added_to_the_record(tmp_path: Path) -> None:
    old = new_extractor("first", "tiny", 640, 75) | {"date": "2021-01-01"}
    update_extractor(tmp_path, old, 0)
    new = new_extractor("second", None, 640, 75)
    added = {"server": "second", "date": new["date"]}
    for _ in range(2):
        assert update_extractor(tmp_path, new, 5) == old | {"also": [added]}
    third = new_extractor("third", "tiny", 640, 75)
    update_extractor(tmp_path, third, 5)
    more = {"server": "third", "model": "tiny", "date": third["date"]}
    assert record_of(tmp_path) == old | {"also": [added, more]}


def test_a_record_without_any_answer_is_replaced(tmp_path: Path) -> None:
    update_extractor(tmp_path, new_extractor("first", "tiny", 640, 75), 0)
    new = new_extractor("second", "other", 320, 75)
    assert update_extractor(tmp_path, new, 0) == new


def test_a_model_that_is_learned_later_is_added(tmp_path: Path) -> None:
    update_extractor(tmp_path, new_extractor("first", None, 640, 75), 0)
    assert update_extractor(tmp_path, new_extractor("first", "tiny", 640, 75), 5)["model"] == "tiny"


@pytest.mark.parametrize(("resize", "jpeg_quality"), [(320, 75), (640, 90)])
def test_another_size_or_quality_than_before_is_refused(
    tmp_path: Path, resize: int, jpeg_quality: int
) -> None:
    update_extractor(tmp_path, new_extractor("first", None, 640, 75), 0)
    with pytest.raises(DataError, match="5 images that are done were sent with"):
        update_extractor(tmp_path, new_extractor("first", None, resize, jpeg_quality), 5)


def test_another_model_than_before_is_refused(tmp_path: Path) -> None:
    update_extractor(tmp_path, new_extractor("first", "tiny", 640, 75), 0)
    with pytest.raises(OtherNetworkError, match="'tiny', the server is 'large'"):
        update_extractor(tmp_path, new_extractor("first", "large", 640, 75), 5)


def test_both_kinds_of_answers_have_an_entry_each(tmp_path: Path) -> None:
    resized, as_it_is = new_extractor("a", "m", 640, 75), new_extractor("b", "n", None, 75)
    update_extractor(tmp_path, resized, 0)
    assert update_extractor(tmp_path, as_it_is, 0) == as_it_is
    assert record_of(tmp_path) == as_it_is | {"others": [resized]}
    with pytest.raises(DataError):
        update_extractor(tmp_path, new_extractor("a", "m", 320, 75), 5)
    assert update_extractor(tmp_path, resized, 5) == resized
    assert read_extractors(tmp_path) == [resized, as_it_is]


@pytest.mark.parametrize(
    "text",
    [
        *("[]", "3", "null", '{"others": 3}', '{"others": [3]}', '{"others": [{"resize": "x"}]}'),
        *('{"server": 3}', '{"model": []}', '{"resize": 1e30}', '{"also": 3}', '{"also": [[]]}'),
    ],
)
def test_a_file_that_is_no_record_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "extractor.json").write_text(text)
    with pytest.raises(DataError, match="no record of an extraction"):
        read_extractors(tmp_path)
    (tmp_path / "extractor.json").write_text("{")
    with pytest.raises(ConfigError, match="is not JSON"):
        read_extractors(tmp_path)


def test_a_folder_without_a_record_is_accepted(tmp_path: Path) -> None:
    assert read_extractors(tmp_path) == []
    new = new_extractor("a", None, 640, 75)
    assert update_extractor(tmp_path, new, 5) == new


def test_the_reference_is_an_image_with_a_face(tmp_path: Path) -> None:
    paths = write_images(tmp_path, 6)
    contents = [None, [], None, [face(3)], [face(4)]]
    for path, content in zip(paths, contents, strict=False):
        write_answer(answer_path(tmp_path / path, None), content)
    answer_path(tmp_path / paths[0], None).write_bytes(b"damaged")
    (tmp_path / paths[3]).unlink()
    reference = find_reference_image(Places(tmp_path), paths, AS_IT_IS)
    assert reference is not None
    assert reference.name == paths[4]
    assert (reference.embedding == vector(4)).all()
    assert find_reference_image(Places(tmp_path), paths[:3], AS_IT_IS) is None


def test_the_reference_is_looked_for_among_all_images_that_are_done(
    tmp_path: Path, program_log: pytest.LogCaptureFixture
) -> None:
    paths = write_images(tmp_path, 302)
    for path in paths[:-1]:
        write_answer(answer_path(tmp_path / path, None), [])
    assert find_reference_image(Places(tmp_path), [], AS_IT_IS) is None
    assert "shows a face" not in program_log.text
    assert find_reference_image(Places(tmp_path), paths[:-1], AS_IT_IS) is None
    assert "none of the 301 images that are done shows a face" in program_log.text
    write_answer(answer_path(tmp_path / paths[-1], None), [face(1)])
    reference = find_reference_image(Places(tmp_path), paths, AS_IT_IS)
    assert reference is not None
    assert reference.name == paths[-1]


def test_an_extraction_with_the_same_network_goes_on(tmp_path: Path) -> None:
    paths = write_images(tmp_path, 6)
    with StandInServer() as server:
        extract(Places(tmp_path), paths[:3], options(server.url))
        counts = extract(Places(tmp_path), paths, options(server.url))
        assert (counts.num_before, counts.num_now) == (3, 3)
        assert server.num_requests == 3 + 3 + 4  # looks at start and before use, one image again


def test_an_extraction_with_another_network_stops_before_it_sends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_images(tmp_path, 6)
    write_answer(answer_path(tmp_path / paths[0], None), [face(0)])
    with (
        answering(monkeypatch, lambda *_: FaceAnswer([face(1)])) as asked,
        pytest.raises(OtherNetworkError, match=r"sent again, \d\d/\d\.jpg gave"),
    ):
        extract(Places(tmp_path), paths, options("http://a/"))
    assert len(asked) == 2  # the look whether it answers, and the image sent again
    assert len(list(tmp_path.glob("*/*.pkl"))) == 1
    assert stored(tmp_path / f"{paths[0]}.pkl")


def write_adience(folder: Path) -> None:
    """Write two images, both as 'aligned' and as 'raw', and the fold files that name them."""
    header = "\t".join(adience.COLUMNS)
    for fold in range(5):
        rows = [f"me\t{number}.jpg\t7\t(25, 32)\tf" + "\t0" * 7 for number in range(2) if fold == 0]
        path = folder / f"fold_{fold}_data.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join([header, *rows, ""]))
    for form in adience.IMAGE_PATHS.values():
        for number in range(2):
            row = {"user_id": "me", "face_id": "7", "original_image": f"{number}.jpg"}
            path = folder / form.format_map(row)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture_file(number))


def test_both_kinds_of_adiences_images_are_of_one_network(tmp_path: Path) -> None:
    write_adience(tmp_path / "Adience")
    with StandInServer() as server:
        made = options(server.url, resize=256, data_dir=tmp_path)
        counts = extract_adience("aligned", made)
        assert (counts.num_total, counts.num_now) == (2, 2)
        other = options(server.url, resize=320, data_dir=tmp_path)
        with pytest.raises(DataError, match="were sent with resize=256, asked for is resize=320"):
            extract_adience("raw", other)
        num_requests = server.num_requests
        assert extract_adience("raw", made).num_now == 2
        assert server.num_requests == num_requests + 2 + 2  # the looks, one of an 'aligned' image
    assert len(list(tmp_path.glob("Adience/faces/me/*.RESIZED.pkl"))) == 2
