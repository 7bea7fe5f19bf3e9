import os
from collections import Counter
from pathlib import Path

import pytest

from faces.pictures import SUFFIXES
from photo_client.photos import find_photos, in_words, photos_below, why_left_out
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


# --- folders: what is taken of them, and what is left out -----------------------------------------


def write(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def found(folder: Path) -> tuple[list[str], dict[str, int]]:
    """Return the names of the photos of a folder, and how many files were left out, by why."""
    left_out: Counter[str] = Counter()
    photos = photos_below(folder, left_out)
    return [path.relative_to(folder).as_posix() for path in photos], dict(left_out)


def test_every_suffix_of_the_decoder_is_taken_in_any_case(tmp_path: Path) -> None:
    names = sorted(f"{number}{suffix}" for number, suffix in enumerate(sorted(SUFFIXES)))
    shouted = sorted(f"shouted/{name.upper()}" for name in names)
    write(tmp_path, *names, *shouted)
    photos, left_out = found(tmp_path)
    assert sorted(photos) == sorted(names + shouted)
    assert left_out == {}


@pytest.mark.parametrize("suffix", [".jfif", ".pjpeg", ".dib", ".j2k", ".JPG"])
def test_suffixes_that_were_once_dropped_are_taken(tmp_path: Path, suffix: str) -> None:
    write(tmp_path, f"a{suffix}")
    assert found(tmp_path)[0] == [f"a{suffix}"]


def test_what_is_left_out_is_counted_by_why(tmp_path: Path) -> None:
    write(tmp_path, "a.jpg", "notes.txt", "more.TXT", "README", "film.flv", "b.HEIC", ".c.jpg")
    write(tmp_path, "a.ANNOTATED.jpg", ".thumbnails/a.jpg", "sub/d.txt")
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nothing.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    photos, left_out = found(tmp_path)
    assert photos == ["a.jpg"]
    assert left_out == {
        "not a picture by its name (.txt)": 3,
        "not a picture by its name (no suffix)": 1,
        "not a picture by its name (.flv)": 1,
        "HEIC (convert it to JPEG)": 1,
        "hidden": 1,
        "hidden folder": 1,
        "written by this program": 1,
        "a link to nothing": 1,
        "no regular file": 1,
    }


def test_a_linked_folder_is_walked_through_once_and_no_loop_is_endless(tmp_path: Path) -> None:
    album = write(tmp_path / "album", "z/a.jpg", "b.jpg")
    other = write(tmp_path / "other", "c.jpg", "deep/d.jpg")
    (album / "again").symlink_to(album / "z")
    (album / "z" / "up").symlink_to(album)
    (album / "other").symlink_to(other)
    (album / "other too").symlink_to(other)
    (other / "back").symlink_to(album)
    (album / "self").symlink_to(album / "self")
    photos, left_out = found(album)
    assert photos == ["b.jpg", "other/c.jpg", "other/deep/d.jpg", "z/a.jpg"]
    assert left_out == {"not a picture by its name (no suffix)": 1}  # the link to itself


def test_a_linked_photo_is_taken_and_counts_once(tmp_path: Path) -> None:
    write(tmp_path, "a/photo.jpg")
    (tmp_path / "b.jpg").symlink_to(tmp_path / "a" / "photo.jpg")
    assert [photo.path.name for photo in find_photos([str(tmp_path)])] == ["photo.jpg"]


def test_a_folder_that_is_itself_a_link_is_followed(tmp_path: Path) -> None:
    write(tmp_path / "real", "a.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    photos = find_photos([str(tmp_path / "link")], tmp_path / "out")
    assert [photo.path for photo in photos] == [tmp_path / "link" / "a.jpg"]
    assert photos[0].annotated_path == tmp_path / "out" / "a.ANNOTATED.jpg"


def test_a_folder_that_cannot_be_read_is_counted_and_the_others_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "a.jpg", "closed/b.jpg", "open/c.jpg")
    original = Path.iterdir

    def iterdir(path: Path) -> object:
        if path.name == "closed":
            raise PermissionError(13, "Permission denied")
        return original(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    photos, left_out = found(tmp_path)
    assert photos == ["a.jpg", "open/c.jpg"]
    assert left_out == {"folder that cannot be read (Permission denied)": 1}


def test_a_file_that_cannot_be_looked_at_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_file", fail)
    assert why_left_out(tmp_path / "a.jpg") == "no regular file"


def test_a_folder_without_a_photo_says_what_it_holds(tmp_path: Path) -> None:
    write(tmp_path, "a.heic", "b.heic", "c.txt")
    with pytest.raises(UserError, match=r"holds no photo.*left out: 2 HEIC \(convert it to JPEG\)"):
        find_photos([str(tmp_path)])


def test_what_fits_a_pattern_and_is_no_photo_is_counted_too(tmp_path: Path) -> None:
    write(tmp_path, "a.jpg", "a.txt", "a.ANNOTATED.jpg", "a.folder/b.jpg")
    left_out: Counter[str] = Counter()
    photos = find_photos([str(tmp_path / "a*")], None, left_out)
    assert [photo.path.name for photo in photos] == ["a.jpg"]
    assert left_out == {"not a picture by its name (.txt)": 1, "written by this program": 1}


def test_many_kinds_are_summed_up() -> None:
    kinds = Counter({f"kind {number}": 20 - number for number in range(12)})
    words = in_words(kinds)
    assert words.startswith("left out: 20 kind 0, 19 kind 1, ")
    assert words.endswith("13 kind 7, 42 of other kinds")
    assert in_words(Counter()) == ""
