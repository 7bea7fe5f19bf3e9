from pathlib import Path
from typing import Any

import pytest

from serving.settings import ServerSettings, read_settings, settings_from_arguments
from utils.errors import ConfigError, UserError

NAMES = list(ServerSettings.model_fields)


def test_without_anything_the_defaults_hold() -> None:
    settings = read_settings({}, {})
    assert settings == ServerSettings()
    assert (settings.age_model, settings.gender_model) == ("models/age.pth", "models/gender.pth")
    assert settings.port == 10003


def test_the_config_wins_over_the_environment_and_that_over_the_defaults() -> None:
    environment = {"MAX_FACES": "5", "PORT": "1", "AGE_MODEL": "other.pth", "DEVICE": ""}
    settings = read_settings({"port": 2, "gender_model": Path("g.pth")}, environment)
    assert (settings.max_faces, settings.port, settings.device) == (5, 2, "auto")
    assert (settings.age_model, settings.gender_model) == ("other.pth", "g.pth")


def test_the_environment_of_the_process_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACE_SERVER_URL", "http://faces:10002/")
    assert read_settings().face_server_url == "http://faces:10002/"


def test_the_command_line_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "1")
    monkeypatch.setenv("MAX_FACES", "7")
    settings = settings_from_arguments(["--port", "2", "--request-timeout-s", "1.5"], None)
    assert (settings.port, settings.max_faces, settings.request_timeout_s) == (2, 7, 1.5)


def test_every_setting_has_an_option_that_the_help_explains(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as end:
        settings_from_arguments(["--help"], "About the server.\n\nrun it   so\n")
    assert end.value.code == 0
    text = capsys.readouterr().out
    for name in NAMES:
        assert f"--{name.replace('_', '-')} X" in text
    assert "AGE_MODEL" in text
    assert " ".join(text.split()).count("separated by commas (default: none)") == 1
    assert "\nrun it   so\n" in text


def test_settings_read_again_are_the_same() -> None:
    settings = ServerSettings(port=1, face_timeout_s=2.5)
    assert read_settings(settings.model_dump(), {"PORT": "9"}) == settings


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({"prot": 1}, "prot: unknown key, did you mean port"),
        ({"port": "x"}, "port: 'x', expected a whole number"),
        ({"port": 1.5}, "port: 1.5, expected a whole number"),
        ({"port": 80.0}, "port: 80.0, expected a whole number"),
        ({"port": "80.0"}, "port: '80.0', expected a whole number"),
        ({"port": "8e1"}, "port: '8e1', expected a whole number"),
        ({"face_timeout_s": "1e30"}, "face_timeout_s: '1e30', expected 86400 or less"),
        ({"max_faces": 1e30}, "max_faces: 1e[+]30, expected a whole number"),
        ({"max_queue": 10**6}, "max_queue: 1000000, expected 4096 or less"),
        ({"threads": 2**31}, "threads: 2147483648, expected 4096 or less"),
        ({"port": None}, "port: null, expected a whole number"),
        ({"port": True}, "port: True, expected a whole number"),
        ({"port": -1}, "port: -1, expected 0 or more"),
        ({"port": 65536}, "port: 65536, expected 65535 or less"),
        ({"port": "9" * 5000}, "port: '999.*expected a whole number"),
        ({"host": 5}, "host: 5, expected a string"),
        ({"max_faces": 0}, "max_faces: 0, expected 1 or more"),
        ({"max_queue": 0}, "max_queue: 0"),
        ({"max_body_bytes": "-5"}, "max_body_bytes: '-5', expected 1 or more"),
        ({"request_timeout_s": "nan"}, "request_timeout_s: 'nan' is not finite"),
        ({"request_timeout_s": "inf"}, "request_timeout_s: 'inf' is not finite"),
        ({"face_timeout_s": 0}, "face_timeout_s: 0"),
        ({"device": "gpu"}, 'device: \'gpu\', expected "auto" or "cpu" or "cuda"'),
        ({"mc_precision": "float16"}, 'mc_precision: \'float16\', expected "auto" or "float32"'),
        ({"face_server_url": "ftp://x"}, "face_server_url: "),
        ({"face_server_url": ""}, "face_server_url: "),
        ({"allowed_origins": "*"}, "allowed_origins: holds '[*]', expected scheme://host"),
        ({"allowed_origins": ["http://a"]}, "allowed_origins: .*, expected a string"),
        ({"image_size": 3}, "image_size: 3, expected 16 or more"),
        ({"image_size": 100_000}, "image_size: 100000, expected 2048 or less"),
    ],
)
def test_a_wrong_value_is_refused_in_one_line(config: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as refusal:
        read_settings(config, {})
    assert "\n" not in str(refusal.value)


def test_a_wrong_variable_of_the_environment_is_named_as_it_stands_there() -> None:
    with pytest.raises(ConfigError, match="MAX_FACES: 'many', expected a whole number"):
        read_settings({}, {"MAX_FACES": "many"})


def test_all_wrong_values_are_told_at_once_each_by_the_name_it_was_given_by(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MAX_QUEUE", "0")
    monkeypatch.setenv("PORT", "x")
    with pytest.raises(ConfigError) as refusal:
        settings_from_arguments(["--device", "gpu", "--port", "-1"], None)
    assert str(refusal.value).splitlines() == [
        "settings of the server: 3 problems",
        "  --port: '-1', expected 0 or more",
        '  --device: \'gpu\', expected "auto" or "cpu" or "cuda"',
        "  MAX_QUEUE: '0', expected 1 or more",
    ]


def test_an_option_with_a_wrong_value_is_refused() -> None:
    with pytest.raises(ConfigError, match="--max-faces: 'x', expected a whole number"):
        settings_from_arguments(["--max-faces", "x"], None)


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("PORT", "99999", "PORT: '99999', expected 65535 or less"),
        ("PORT", "tcp://10.0.0.1:80", "PORT: 'tcp://10.0.0.1:80', expected a whole number"),
        ("THREADS", "-1", "THREADS: '-1', expected 0 or more"),
        ("DEVICE", "gpu", "DEVICE: 'gpu', expected \"auto\""),
        ("MC_PRECISION", "x", "MC_PRECISION: 'x'"),
        ("FACE_SERVER_URL", "x", "FACE_SERVER_URL: 'x' is no address"),
        ("REQUEST_TIMEOUT_S", "inf", "REQUEST_TIMEOUT_S: 'inf' is not finite"),
        ("GENDER_MODEL", " ", "GENDER_MODEL: is empty, expected a path"),
        ("AGE_MODEL", "~nobody-of-this-name/a", "AGE_MODEL: begins with '~nobody-of-this-name'"),
    ],
)
def test_a_wrong_variable_is_named(variable: str, value: str, complaint: str) -> None:
    with pytest.raises(UserError) as refusal:
        read_settings({}, {variable: value})
    assert str(refusal.value).startswith(f"settings of the server: {complaint}")


def test_a_long_value_is_cut_in_the_message() -> None:
    for value in ("9" * 5000, "9" * 4000):
        with pytest.raises(ConfigError) as refusal:
            read_settings({}, {"PORT": value})
        assert len(str(refusal.value)) < 150


def test_settings_know_which_variables_they_are_from() -> None:
    settings = read_settings({"port": 1}, {"HOST": "x86_64-conda-linux-gnu", "PORT": "5"})
    assert settings.from_environment == {"host"}
    assert ServerSettings().from_environment == frozenset()


def test_origins_that_are_none_are_named_as_they_were_given() -> None:
    with pytest.raises(ConfigError, match="ALLOWED_ORIGINS: holds 'a', expected scheme://host"):
        read_settings({}, {"ALLOWED_ORIGINS": "a"})


def test_a_face_pack_and_a_face_server_are_named_as_they_were_given() -> None:
    url = "http://faces:10002/"
    with pytest.raises(ConfigError, match=r"^FACE_PACK and FACE_SERVER_URL are both .* out$"):
        read_settings({}, {"FACE_PACK": "little", "FACE_SERVER_URL": url})
    with pytest.raises(ConfigError, match=r"^FACE_PACK and face_server_url are both given"):
        read_settings({"face_server_url": url}, {"FACE_PACK": "little"})
    assert read_settings({"face_server_url": url}, {"FACE_PACK": ""}).face_pack == ""
    assert read_settings({"face_pack": "little"}, {"FACE_SERVER_URL": ""}).face_pack == "little"
