"""The benchmarks start, and the programs that they measure begin and end with them."""

import importlib
import os
import re
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT

from benchmarks import measuring, random_data, servers
from data_loader.faces import read_faces

PROGRAMS = sorted(path.stem for path in (ROOT / "benchmarks").glob("bench_*.py"))
FACE_SERVER = ("-m", "benchmarks.fixed_face_server")


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_benchmark_shows_its_help(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = importlib.import_module(f"benchmarks.{name}")
    monkeypatch.setattr("sys.argv", [name, "-h"])
    with pytest.raises(SystemExit, match="0"):
        program.main()
    assert f"python benchmarks/{name}.py" in capsys.readouterr().out


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda path: path.name
)
def test_every_benchmark_that_a_page_names_is_there(page: Path) -> None:
    named = re.findall(r"benchmarks/(\w+)\.py", page.read_text(encoding="utf-8"))
    assert set(named) <= set(PROGRAMS)


def test_random_data_are_faces_that_loaders_read(tmp_path: Path) -> None:
    random_data.write_random_imdb_wiki(tmp_path, 40)
    random_data.write_random_adience(tmp_path, 50)
    assert len(read_faces(tmp_path, "imdb_wiki")) == 40
    faces = read_faces(tmp_path, "Adience")
    assert len(faces) == 50
    np.testing.assert_allclose(np.linalg.norm(faces.embedding, axis=1), 1, rtol=1e-5)


def test_a_server_takes_load_over_kept_and_new_connections_and_ends_with_its_block() -> None:
    with servers.running(*FACE_SERVER) as (url, process_id):
        for keep_alive in (True, False):
            request = servers.encode(b"a picture", "image/jpeg", keep_alive=keep_alive)
            seen = servers.put_load(url, [request], num_clients=2, seconds=0, num_requests=6)
            assert len(seen.latencies_s) == 6
    with pytest.raises(ProcessLookupError):
        os.kill(process_id, 0)


def test_a_server_that_ends_before_it_listens_is_named() -> None:
    with (
        pytest.raises(RuntimeError, match=r"ended before it listened: .*no_such_module"),
        servers.running("-c", "import sys; sys.exit('no_such_module')"),
    ):
        pass


def test_an_answer_that_is_no_200_ends_the_measurement() -> None:
    with (
        servers.running(*FACE_SERVER) as (url, _),
        pytest.raises(RuntimeError, match="expected status 200"),
    ):
        servers.put_load(url, [b"no HTTP\r\n\r\n"], num_clients=1, seconds=0, num_requests=1)


def test_medians_leave_the_first_turn_out() -> None:
    values = iter([100.0, 100.0, 1.0, 10.0, 3.0, 30.0, 2.0, 20.0])
    actions = [lambda: next(values), lambda: next(values)]
    assert measuring.medians_in_turns(actions, 3) == [2, 20]
