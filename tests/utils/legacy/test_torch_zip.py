"""The reader of checkpoints: faithful to torch, deaf to code, held against the file's size."""

# mypy: allow-untyped-defs, allow-untyped-calls

import collections
import contextlib
import os
import pathlib
import pickle
import pickletools
import sys
import tracemalloc
import types
import zipfile

import numpy as np
import pytest
import torch
from hostile_pickles import FUZZ, MUTATIONS, Calls, assert_same, call, mutated, payloads
from hypothesis import given

from utils.checkpoint import load_checkpoint
from utils.errors import CheckpointError


def load_pth(path):
    """Read a checkpoint, whoever wrote it."""
    return load_checkpoint(path).content


class ConfigParser:
    """What the original pickled: settings, and where the run wrote."""

    def __init__(self):
        self._config = collections.OrderedDict(
            name="Age", arch={"type": "ResMLP", "args": {"dropout": 0.5, "num_blocks": 2}}
        )
        self.resume = None
        self._save_dir = pathlib.PosixPath("saved/models/Age/0101_000000")
        self._log_dir = pathlib.PosixPath("/saved/log")
        self.log_levels = {0: 30, 1: 20, 2: 10}


def save_checkpoint(path, monkeypatch, **changes):
    """Save what the original saves, with its module there only while saving."""
    net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))
    optimizer = torch.optim.AdamW(net.parameters())
    net(torch.randn(5, 4)).sum().backward()
    optimizer.step()
    checkpoint = {
        "arch": "ResMLP",
        "epoch": 7,
        "state_dict": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "monitor_best": np.float64(0.25),
        "config": ConfigParser(),
    } | changes
    module = types.ModuleType("parse_config")
    module.ConfigParser = ConfigParser  # type: ignore[attr-defined]
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "parse_config", module)
        patch.setattr(ConfigParser, "__module__", "parse_config")
        torch.save(checkpoint, path)
    assert "parse_config" not in sys.modules
    return checkpoint


def assert_same_state(got, expected):
    assert list(got) == list(expected)
    for name, value in expected.items():
        assert type(got[name]) is torch.Tensor
        assert got[name].dtype == value.dtype
        assert torch.equal(got[name], value)


def test_a_checkpoint_of_the_original_is_read_without_its_modules(tmp_path, monkeypatch):
    expected = save_checkpoint(tmp_path / "age.pth", monkeypatch)
    got = load_pth(tmp_path / "age.pth")
    assert "parse_config" not in sys.modules
    assert list(got) == list(expected)
    assert (got["arch"], got["epoch"], got["monitor_best"]) == ("ResMLP", 7, 0.25)
    assert_same(got["config"], dict(expected["config"]._config))
    assert_same_state(got["state_dict"], expected["state_dict"])
    assert got["optimizer"]["param_groups"] == expected["optimizer"]["param_groups"]
    for index, moments in expected["optimizer"]["state"].items():
        assert_same_state(got["optimizer"]["state"][index], moments)


def test_what_is_read_loads_into_the_net_and_the_optimizer(tmp_path, monkeypatch):
    save_checkpoint(tmp_path / "age.pth", monkeypatch)
    got = load_pth(str(tmp_path / "age.pth"))
    net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))
    net.load_state_dict(got["state_dict"])
    optimizer = torch.optim.AdamW(net.parameters())
    optimizer.load_state_dict(got["optimizer"])
    net(torch.randn(5, 4)).sum().backward()
    optimizer.step()


def test_the_prefix_of_data_parallel_is_stripped(tmp_path, monkeypatch):
    state = collections.OrderedDict([("module.0.weight", torch.ones(2)), ("1.bias", torch.ones(1))])
    save_checkpoint(tmp_path / "age.pth", monkeypatch, state_dict=state)
    assert list(load_pth(tmp_path / "age.pth")["state_dict"]) == ["0.weight", "1.bias"]


def test_a_name_with_and_without_the_prefix_is_refused(tmp_path, monkeypatch):
    state = {"module.a": torch.ones(2), "a": torch.ones(1)}
    save_checkpoint(tmp_path / "age.pth", monkeypatch, state_dict=state)
    with pytest.raises(CheckpointError, match=r"module\."):
        load_pth(tmp_path / "age.pth")


def test_views_empty_and_scalar_tensors_come_back(tmp_path, monkeypatch):
    base = torch.arange(24.0).reshape(4, 6)
    state = {
        "transposed": base.t(),
        "sliced": base[1:3, ::2],
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(5),
        "whole": base,
        "parameter": base.clone().requires_grad_().detach(),
    }
    save_checkpoint(tmp_path / "age.pth", monkeypatch, state_dict=state)
    got = load_pth(tmp_path / "age.pth")["state_dict"]
    assert_same_state(got, state)
    assert got["transposed"].data_ptr() == got["whole"].data_ptr()


def test_an_object_without_a_config_is_refused(tmp_path, monkeypatch):
    config = ConfigParser()
    del config._config
    save_checkpoint(tmp_path / "age.pth", monkeypatch, config=config)
    with pytest.raises(CheckpointError, match="without a config"):
        load_pth(tmp_path / "age.pth")


def test_attributes_of_a_state_dict_are_not_taken_for_weights(tmp_path, monkeypatch):
    state = collections.OrderedDict(a=torch.ones(2))
    state._config = {"b": torch.ones(3)}  # type: ignore[attr-defined]
    save_checkpoint(tmp_path / "age.pth", monkeypatch, state_dict=state)
    assert list(load_pth(tmp_path / "age.pth")["state_dict"]) == ["a"]


def test_paths_and_a_plain_config_are_read_too(tmp_path, monkeypatch):
    config = {"save_dir": pathlib.PosixPath("/a/b"), "nested": [ConfigParser()]}
    save_checkpoint(tmp_path / "age.pth", monkeypatch, config=config)
    got = load_pth(tmp_path / "age.pth")["config"]
    assert got["save_dir"] == "/a/b"
    assert got["nested"][0]["name"] == "Age"


@pytest.mark.parametrize(
    "changes",
    [
        {"state_dict": {"a": torch.ones(2, dtype=torch.float64)}},
        {"state_dict": {"a": torch.ones(2, dtype=torch.float16)}},
        {"state_dict": {"a": torch.nn.Parameter(torch.ones(2))}},
        {"state_dict": {"a": torch.ones(1).expand(1000)}},
        {"state_dict": {"a": 5}},
        {"state_dict": {0: torch.ones(1)}},
        {"state_dict": None},
        {"config": 5},
        {"epoch": Calls(print, "ran")},
        {"arch": torch.nn.Linear(2, 2)},
    ],
    ids=lambda changes: str(changes)[:40],
)
def test_a_checkpoint_with_other_contents_is_refused(changes, tmp_path, monkeypatch, capsys):
    save_checkpoint(tmp_path / "age.pth", monkeypatch, **changes)
    with pytest.raises(CheckpointError, match=r"age\.pth") as error:
        load_pth(tmp_path / "age.pth")
    assert "\n" not in str(error.value)
    assert capsys.readouterr().out == ""


def test_code_in_the_optimizer_state_is_refused_and_never_runs(tmp_path, monkeypatch):
    target = tmp_path / "ran"
    optimizer = {"state": {0: {"step": Calls(os.mkdir, str(target))}}}
    save_checkpoint(tmp_path / "age.pth", monkeypatch, optimizer=optimizer)
    with pytest.raises(CheckpointError, match=r"names 'posix\.mkdir'"):
        load_pth(tmp_path / "age.pth")
    assert not target.exists()


def test_an_ordered_dict_from_arguments_is_refused(tmp_path):
    pickled = call("collections", "OrderedDict", [("a", 1)])
    write_zip(tmp_path / "age.pth", {"a/data.pkl": pickled})
    with pytest.raises(CheckpointError, match="damaged"):
        load_pth(tmp_path / "age.pth")


@pytest.mark.parametrize("name", sorted(payloads("x")))
def test_what_a_hostile_checkpoint_names_is_refused_and_never_runs(name, tmp_path):
    target = tmp_path / "ran"
    write_zip(tmp_path / "age.pth", {"a/data.pkl": payloads(target)[name]})
    with pytest.raises(CheckpointError):
        load_pth(tmp_path / "age.pth")
    assert not target.exists()


def write_zip(path, records, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in records.items():
            archive.writestr(name, content)


def tensor_records(
    num_elements=6, offset=0, size=(2, 3), stride=(3, 1), content=bytes(24), key="0", kind="Float"
):
    """Return the records of a checkpoint with one tensor, whose parts need not fit each other."""

    def part(value):
        return pickletools.optimize(pickle.dumps(value, 2))[2:-1]

    tensor = (
        b"ctorch._utils\n_rebuild_tensor_v2\n(("
        + part("storage")
        + f"ctorch\n{kind}Storage\n".encode()
        + part(key)
        + part("cpu")
        + part(num_elements)
        + b"tQ"
        + part(offset)
        + part(size)
        + part(stride)
        + b"\x89ccollections\nOrderedDict\n)Rt"
    )
    pickled = b"\x80\x02}" + part("state_dict") + b"}" + part("w") + tensor + b"Rss."
    return {"a/data.pkl": pickled, "a/data/0": content, "a/version": b"3\n"}


def test_the_hand_written_checkpoint_is_right_when_its_parts_fit(tmp_path):
    content = np.arange(6, dtype="f4").tobytes()
    write_zip(tmp_path / "age.pth", tensor_records(content=content))
    got = load_pth(tmp_path / "age.pth")["state_dict"]["w"]
    assert got.tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    "changes",
    [
        {"num_elements": 7},
        {"num_elements": 5},
        {"num_elements": 2**40},
        {"num_elements": "6"},
        {"num_elements": (((),),)},
        {"content": bytes(23)},
        {"content": b""},
        {"offset": 1},
        {"offset": -1},
        {"offset": 2**70},
        {"offset": "0"},
        {"size": (2, 4)},
        {"size": (2**40, 2**40)},
        {"size": (2**62, 0), "stride": (0, 0)},
        {"size": (2**39, 2**39, 0), "stride": (0, 0, 0)},
        {"size": (-2, -3)},
        {"size": (2.0, 3)},
        {"size": (2,)},
        {"size": None},
        {"size": (2**30,), "stride": (0,)},
        {"size": (7,), "stride": (0,)},
        {"stride": (4, 1)},
        {"stride": (-3, 1)},
        {"stride": (2**62, 2**62)},
        {"size": (1,) * 40, "stride": (1,) * 40},
        {"key": "1"},
        {"key": 0},
        {"key": "../version"},
        {"kind": "Long"},
        {"kind": "Byte"},
        {"kind": "Untyped"},
    ],
    ids=str,
)
def test_a_tensor_whose_parts_do_not_fit_is_refused(changes, tmp_path):
    write_zip(tmp_path / "age.pth", tensor_records(**changes))
    with pytest.raises(CheckpointError):
        load_pth(tmp_path / "age.pth")


def test_one_storage_cannot_be_of_two_types(tmp_path):
    kinds = [
        tensor_records(num_elements=3, size=(3,), stride=(1,), kind=kind)["a/data.pkl"][2:-1]
        for kind in ("Float", "Long")
    ]
    records = {"a/data.pkl": b"\x80\x02(" + b"".join(kinds) + b"t.", "a/data/0": bytes(12)}
    write_zip(tmp_path / "age.pth", records)
    with pytest.raises(CheckpointError, match="size or type"):
        load_pth(tmp_path / "age.pth")


def test_a_compressed_checkpoint_is_refused_unread(tmp_path):
    records = tensor_records() | {"a/data/1": bytes(50 << 20)}
    write_zip(tmp_path / "age.pth", records, zipfile.ZIP_DEFLATED)
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match="compressed"):
            load_pth(tmp_path / "age.pth")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20


def test_records_that_overlap_in_the_file_are_refused(tmp_path):
    path = tmp_path / "age.pth"
    write_zip(path, tensor_records() | {"a/data/1": bytes(1 << 16)})
    with zipfile.ZipFile(path, "a") as archive:
        last = archive.getinfo("a/data/1")
        archive.filelist += [last] * 50
        archive._didModify = True  # type: ignore[attr-defined]
    with pytest.raises(CheckpointError, match="more bytes than the file has"):
        load_pth(path)


def test_a_record_that_comes_twice_is_refused(tmp_path):
    path = tmp_path / "age.pth"
    write_zip(path, tensor_records())
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("a/data/0", bytes(24))
    with pytest.raises(CheckpointError, match="twice"):
        load_pth(path)


def test_a_changed_byte_of_a_storage_is_noticed(tmp_path):
    path = tmp_path / "age.pth"
    write_zip(path, tensor_records(content=b"abcdefgh" * 3))
    path.write_bytes(path.read_bytes().replace(b"abcdefgh", b"abcdefgi"))
    with pytest.raises(CheckpointError, match="damaged record 'data/0'"):
        load_pth(path)


@pytest.mark.parametrize(
    ("records", "complaint"),
    [
        ({}, "no zip of torch"),
        ({"data.pkl": b"\x80\x02N."}, "0 records"),
        ({"a/data.pkl": b"\x80\x02N.", "b/data.pkl": b"\x80\x02N."}, "2 records"),
        ({"a/data.pkl": b"\x80\x02N."}, "not a checkpoint"),
        ({"a/data.pkl": b"\x80\x02}."}, "not a checkpoint"),
        ({"a/data.pkl": b""}, "damaged"),
        (tensor_records() | {"a/byteorder": b"big"}, "little-endian"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_zip_that_is_no_checkpoint_is_refused(records, complaint, tmp_path):
    write_zip(tmp_path / "age.pth", records)
    with pytest.raises(CheckpointError, match=complaint):
        load_pth(tmp_path / "age.pth")


def test_a_little_endian_checkpoint_may_say_so(tmp_path):
    write_zip(tmp_path / "age.pth", tensor_records() | {"a/byteorder": b"little"})
    assert load_pth(tmp_path / "age.pth")["state_dict"]["w"].shape == (2, 3)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x02N.", b"PK\x03\x04" + bytes(99)])
def test_what_is_no_torch_zip_is_refused(content, tmp_path):
    (tmp_path / "age.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match="zip"):
        load_pth(tmp_path / "age.pth")


def test_the_format_before_torch_1_6_is_refused_with_advice(tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "age.pth", _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match="older torch"):
        load_pth(tmp_path / "age.pth")


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"age\.pth: no such checkpoint"):
        load_pth(tmp_path / "age.pth")


@FUZZ
@given(mutations=MUTATIONS)
def test_a_mutated_checkpoint_gives_a_value_or_a_checkpoint_error(mutations, tmp_path):
    path = tmp_path / "age.pth"
    write_zip(path, tensor_records())
    path.write_bytes(mutated(path.read_bytes(), mutations))
    with contextlib.suppress(CheckpointError):
        load_pth(path)


@FUZZ
@given(mutations=MUTATIONS)
def test_a_checkpoint_with_a_mutated_pickle_gives_a_value_or_a_checkpoint_error(
    mutations, tmp_path
):
    records = tensor_records()
    records["a/data.pkl"] = mutated(records["a/data.pkl"], mutations)
    write_zip(tmp_path / "age.pth", records)
    with contextlib.suppress(CheckpointError):
        load_pth(tmp_path / "age.pth")
