from pathlib import Path

import pytest

from photo_client.inputs import find_photos
from utils.errors import UserError


@pytest.fixture
def album(tmp_path: Path) -> Path:
    names = ["a.jpg", "b.PNG", "a.png", "sub/c.webp", "sub/a.jpg", "notes.txt", ".hidden.jpg"]
    for name in [*names, "a.ANNOTATED.jpg", ".thumbnails/a.jpg", "[x] 1.jpg"]:
        path = tmp_path / "album" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path / "album"


def names_of(given: list[str], album: Path) -> list[str]:
    return [photo.path.relative_to(album).as_posix() for photo in find_photos(given)]


def test_a_folder_gives_its_photos_and_those_below(album: Path) -> None:
    names = ["[x] 1.jpg", "a.jpg", "a.png", "b.PNG", "sub/a.jpg", "sub/c.webp"]
    assert names_of([str(album)], album) == names


def test_a_pattern_gives_what_fits_it(album: Path) -> None:
    assert names_of([str(album / "**" / "*.jpg")], album) == ["[x] 1.jpg", "a.jpg", "sub/a.jpg"]


def test_a_name_with_brackets_is_a_file_first(album: Path) -> None:
    assert names_of([str(album / "[x] 1.jpg")], album) == ["[x] 1.jpg"]


def test_a_photo_given_twice_counts_once(album: Path) -> None:
    assert names_of([str(album / "a.jpg"), str(album), str(album / "a.jpg")], album)[0] == "a.jpg"
    assert len(names_of([str(album / "a.jpg"), str(album)], album)) == 6


def test_a_file_of_any_name_is_taken_when_given_itself(album: Path) -> None:
    assert names_of([str(album / "notes.txt")], album) == ["notes.txt"]


def test_it_is_written_beside_the_photo_each_to_a_file_of_its_own(album: Path) -> None:
    written = [photo.annotated_path for photo in find_photos([str(album)])]
    assert album / "a.ANNOTATED.jpg" in written
    assert album / "a-2.ANNOTATED.jpg" in written
    assert album / "sub" / "c.ANNOTATED.jpg" in written
    assert len(set(written)) == len(written)


def test_another_folder_keeps_the_folders_below(album: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    written = {photo.annotated_path for photo in find_photos([str(album)], out)}
    assert {out / "a.ANNOTATED.jpg", out / "sub" / "a.ANNOTATED.jpg"} <= written
    single = find_photos([str(album / "sub" / "c.webp")], out)
    assert single[0].annotated_path == out / "c.ANNOTATED.jpg"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.jpg", "no such file or folder"),
        ("*.gif", "no file fits it as a pattern"),
        ("a.ANNOTATED.jpg", "is what this program wrote"),
        ("*.txt", "holds no photo"),
        ("empty", "holds no photo"),
    ],
)
def test_what_holds_no_photo_is_an_error(album: Path, name: str, message: str) -> None:
    (album / "empty").mkdir()
    with pytest.raises(UserError, match=message):
        find_photos([str(album / name)])
