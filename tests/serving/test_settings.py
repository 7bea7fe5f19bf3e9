from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from serving.settings import ServerSettings, read_settings, settings_from_arguments
from utils.errors import ConfigError, UserError

NAMES = [entry.name for entry in fields(ServerSettings)]


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
    assert read_settings(settings.as_dict(), {"PORT": "9"}) == settings


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({"prot": 1}, "unknown setting 'prot', known are age_model, gender_model"),
        ({"port": "x"}, "port is 'x', expected a whole number"),
        ({"port": 1.5}, "port is 1.5, expected a whole number"),
        ({"port": None}, "port is None, expected a whole number"),
        ({"port": True}, "port is True, expected a whole number"),
        ({"port": -1}, "port is -1, expected 0 or more"),
        ({"port": 65536}, "port is 65536, expected 65535 or less"),
        ({"port": "9" * 5000}, "port is '999.*expected a whole number"),
        ({"host": 5}, "host is 5, expected text"),
        ({"max_faces": 0}, "max_faces is 0, expected 1 or more"),
        ({"max_queue": 0}, "max_queue is 0"),
        ({"max_body_bytes": "-5"}, "max_body_bytes is -5"),
        ({"request_timeout_s": "nan"}, "request_timeout_s is nan"),
        ({"request_timeout_s": "inf"}, "request_timeout_s is inf"),
        ({"face_timeout_s": 0}, "face_timeout_s is 0"),
        ({"device": "gpu"}, "device is 'gpu', expected one of auto, cpu, cuda"),
        ({"mc_precision": "float16"}, "mc_precision is 'float16', expected one of auto"),
        ({"face_server_url": "ftp://x"}, "face_server_url: "),
        ({"face_server_url": ""}, "face_server_url: "),
        ({"allowed_origins": "*"}, "allowed_origins holds '[*]', expected scheme://host"),
        ({"allowed_origins": ["http://a"]}, "allowed_origins is .*, expected text"),
        ({"image_size": 3}, "image_size is 3, expected 16 or more"),
        ({"image_size": 100_000}, "image_size is 100000, expected 2048 or less"),
    ],
)
def test_a_wrong_value_is_refused_in_one_line(config: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as refusal:
        read_settings(config, {})
    assert "\n" not in str(refusal.value)


def test_a_wrong_variable_of_the_environment_is_named_as_it_stands_there() -> None:
    with pytest.raises(ConfigError, match="MAX_FACES is 'many', expected a whole number"):
        read_settings({}, {"MAX_FACES": "many"})


def test_an_option_with_a_wrong_value_is_refused() -> None:
    with pytest.raises(ConfigError, match="max_faces is 'x'"):
        settings_from_arguments(["--max-faces", "x"], None)


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("PORT", "99999", "PORT is 99999, expected 65535 or less"),
        ("PORT", "tcp://10.0.0.1:80", "PORT is 'tcp://10.0.0.1:80', expected a whole number"),
        ("THREADS", "-1", "THREADS is -1, expected 0 or more"),
        ("DEVICE", "gpu", "DEVICE is 'gpu', expected one of auto, cpu, cuda"),
        ("MC_PRECISION", "x", "MC_PRECISION is 'x'"),
        ("FACE_SERVER_URL", "x", "FACE_SERVER_URL: 'x' is no address"),
        ("REQUEST_TIMEOUT_S", "inf", "REQUEST_TIMEOUT_S is inf"),
        ("GENDER_MODEL", " ", "GENDER_MODEL is empty, expected a path"),
        ("AGE_MODEL", "~nobody-of-this-name/a", "AGE_MODEL begins with '~nobody-of-this-name'"),
    ],
)
def test_a_wrong_variable_is_named(variable: str, value: str, complaint: str) -> None:
    with pytest.raises(UserError) as refusal:
        read_settings({}, {variable: value})
    assert str(refusal.value).startswith(complaint)


def test_a_long_value_is_cut_in_the_message() -> None:
    for value in ("9" * 5000, "9" * 4000):
        with pytest.raises(ConfigError) as refusal:
            read_settings({}, {"PORT": value})
        assert len(str(refusal.value)) < 150


def test_settings_know_which_variables_they_are_from() -> None:
    settings = read_settings({"port": 1}, {"HOST": "x86_64-conda-linux-gnu", "PORT": "5"})
    assert settings.from_environment == {"host"}
    assert (settings.name_of("host"), settings.name_of("port")) == ("HOST", "port")
    assert ServerSettings().from_environment == frozenset()


def test_origins_that_are_none_are_named_as_they_were_given() -> None:
    with pytest.raises(ConfigError, match="ALLOWED_ORIGINS holds 'a', expected scheme://host"):
        read_settings({}, {"ALLOWED_ORIGINS": "a"})
