"""Secrets in options: only references to them get into a scenario, and no sentence repeats one."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cli.app import run
from harness.scenario import Scenario, ScenarioError
from harness.secret_options import HIDDEN, hide, is_secret_name, read_secret

SECRET = "hunter2-xyzzy"


@pytest.mark.parametrize(
    "name", ["password", "db_password", "api_key", "api-key", "token", "secret", "private_key"]
)
def test_an_option_is_a_secret_by_its_name(name: str) -> None:
    assert is_secret_name(name)
    with pytest.raises(ScenarioError) as told:
        Scenario(seed=1, workload="bank", system_options={name: SECRET})
    assert f"system option {name}: it is a secret" in str(told.value)
    assert SECRET not in str(told.value)
    for reference in ("env:PASSWORD", "file:~/password"):
        Scenario(seed=1, workload="bank", system_options={name: reference})


@pytest.mark.parametrize("name", ["reads", "tokens_most", "keys", "key", "passes", "secretary"])
def test_other_options_are_not(name: str) -> None:
    assert not is_secret_name(name)
    Scenario(seed=1, workload="bank", system_options={name: SECRET})


@pytest.mark.parametrize(
    "url",
    [f"postgres://me:{SECRET}@db:5432/x", f"host=db password={SECRET}", f"http://db/?password={SECRET}"],
)
def test_a_password_in_an_address_is_refused_and_not_repeated(
    url: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ["test", "--workload", "bank", "--system-option", f"address={url}", "--runs-dir", str(tmp_path)]
    assert run(words) == 2
    shown = capsys.readouterr()
    assert "system option address: there is a password in it" in shown.err
    assert SECRET not in shown.out + shown.err
    assert not list(tmp_path.iterdir())
    Scenario(seed=1, workload="bank", system_options={"address": "postgres://me@db:5432/x"})


def test_a_reference_is_read_when_it_is_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DB_PASSWORD", SECRET)
    path = tmp_path / "password"
    path.write_text(f"{SECRET}\n")
    assert read_secret("password", "env:DB_PASSWORD") == SECRET == read_secret("password", f"file:{path}")
    with pytest.raises(ValueError, match="there is no environment variable NOBODYS; set it"):
        read_secret("password", "env:NOBODYS")
    with pytest.raises(ValueError, match="the file cannot be read"):
        read_secret("password", f"file:{tmp_path / 'nothing'}")


def test_texts_of_others_are_shown_without_secrets() -> None:
    assert hide(f"cannot log in as me/{SECRET}", [SECRET, ""]) == f"cannot log in as me/{HIDDEN}"
