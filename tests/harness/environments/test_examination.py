"""The doctor looks at each part by trying it, says why it cannot be used, and how that could be mended."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.cli.app import run
from harness.environments import examination
from harness.environments.examination import PARTS, Found, Part, examine


def examined(name: str) -> Found:
    return next(part for part in PARTS if part.name == name).examine()


def test_every_part_has_an_answer_and_a_name_of_its_own() -> None:
    found = examine()
    assert len({one.name for one in found}) == len(PARTS)
    assert all(one.says and one.purpose for one in found)
    assert {one.name for one in found if one.ok} >= {"python", "simulation", "local"}


def test_a_probe_that_breaks_says_that_the_part_cannot_be_used() -> None:
    def look() -> tuple[bool, str, str | None]:
        raise PermissionError("nobody may do that here")

    found = Part("x", "y", look).examine()
    assert (found.ok, found.says) == (False, "PermissionError: nobody may do that here")


def test_a_missing_program_is_told_from_a_kernel_that_cannot(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(examination, "search_path", lambda: str(tmp_path))
    missing = examined("netem")
    assert (missing.ok, missing.says) == (False, "the program tc is missing")
    assert missing.fix == "apt-get install iproute2 (as root)"
    (tmp_path / "tc").write_text("#!/bin/sh\n")
    (tmp_path / "tc").chmod(0o755)
    monkeypatch.setattr(examination, "_inside", lambda _script: "Error: Specified qdisc kind is unknown.")
    refused = examined("netem")
    assert (refused.ok, refused.says) == (False, "Error: Specified qdisc kind is unknown.")
    assert "modprobe sch_netem" in str(refused.fix)
    monkeypatch.setattr(examination, "_inside", lambda _script: None)
    assert examined("netem").ok


def test_a_library_that_is_not_installed_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination.importlib.util, "find_spec", lambda _name: None)
    found = examined("sat")
    assert not found.ok
    assert str(found.fix).endswith("-m pip install python-sat")


def test_what_is_missing_is_no_failure_unless_it_is_required(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lacking = Part("docker", "nodes in containers", lambda: (False, "no engine answers", "start one"))
    there = Part("local", "nodes as processes", lambda: (True, "fine", None))
    monkeypatch.setattr(examination, "PARTS", (lacking, there))
    assert run(["doctor"]) == 0
    told = capsys.readouterr().out
    assert "no   docker  nodes in containers: no engine answers" in told
    assert "to mend it: start one" in told
    assert "docker: not available here, see above" in told
    assert run(["doctor", "--require", "local"]) == 0
    assert run(["doctor", "--require", "local,docker"]) == 4
    assert "required, and missing: docker: no engine answers" in capsys.readouterr().err
    assert run(["doctor", "--require", "local,dokcer"]) == 2
    assert "there is no such part; there are docker, local" in capsys.readouterr().err


def test_json_has_the_parts_and_why_each_fault_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in document["parts"]] == [part.name for part in PARTS]
    assert document["faults"]["simulation"]["disk"] is None
    assert "disk" in document["faults"]["local"]
    fuse = next(one for one in document["parts"] if one["name"] == "fuse")
    assert (document["faults"]["local"]["disk"] is None) == fuse["ok"]
