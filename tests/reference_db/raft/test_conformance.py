"""Our Raft core answers the published test data of etcd's raft as that one does.

The data stay outside this repository: in the folder that HARNESS_CONFORMANCE names, by default
`../shared/conformance` beside it. Where it is absent the tests are skipped, unless HARNESS_REQUIRE contains
`conformance`. Interaction files are compared by meaning: log lines are dropped, everything else is parsed and
compared in order; quorum and membership files are compared as text.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from reference_db.raft import quorum
from reference_db.raft.describe import parse_changes
from reference_db.raft.membership import Changer, Configuration, ProgressMap
from reference_db.raft.progress import Inflights
from tests.support.requirements import skip_unless_required

from . import datadriven
from .datadriven import Directive
from .interpreter import Interpreter, UnknownCommand

ROOT = Path(__file__).resolve().parents[3]
FOLDER = Path(os.environ.get("HARNESS_CONFORMANCE", ROOT.parent / "shared" / "conformance"))
DIFFERS: dict[str, str] = {}
"""Files that our core deliberately answers in another way, with the reason. None at present."""


_KINDS = {
    "committed": "quorum",
    "vote": "quorum",
    "simple": "membership",
    "enter-joint": "membership",
    "leave-joint": "membership",
}
"""What a file tests shows in its first command; everything else is an interaction."""


def _files(folder: Path, kind: str) -> list[Path]:
    """The data files of one kind, anywhere below a folder."""
    found = []
    for path in sorted(folder.rglob("*.txt")):
        lines = path.read_text().split("\n")
        command = next((line.split()[0] for line in lines if line.strip() and not line.startswith("#")), "")
        if "----" in lines and _KINDS.get(command, "interaction") == kind:
            found.append(path)
    return found


def _parameters(kind: str) -> list[object]:
    return [pytest.param(path, id=path.stem) for path in _files(FOLDER, kind)] or [
        pytest.param(None, id="absent")
    ]


def _require(path: Path | None) -> Path:
    if path is not None:
        return path
    skip_unless_required("conformance", f"none in {FOLDER}; HARNESS_CONFORMANCE names their folder")


# Interaction files.

_LOG_LINE = re.compile(r"\s*(DEBUG|INFO|WARN|ERROR|FATAL)\b")
_MESSAGE = re.compile(
    r"(?P<dropped>dropped: )?(?P<source>\w+)->(?P<target>\w+) (?P<kind>Msg\w+) Term:(?P<term>\d+) "
    r"Log:(?P<log_term>\d+)/(?P<index>\d+)(?: Rejected \(Hint: (?P<hint>\d+)\))?(?: Commit:(?P<commit>\d+))?"
    r"(?: Vote:(?P<vote>\d+))?(?: Entries:\[(?P<entries>.*?)\]?)?(?P<responses> Responses:\[)?$"
)
_ENTRY = re.compile(r"(\d+)/(\d+) (Entry\w+)(?: (.*))?$")
_HARD_STATE = re.compile(r"HardState Term:(\d+)(?: Vote:(\d+))?(?: Commit:(\d+))?$")


def _numbers(found: re.Match[str]) -> tuple[object, ...]:
    return tuple(int(part) if part and part.isdigit() else part for part in found.groups())


def meaning(text: str) -> list[tuple[object, ...]]:
    """An answer as a list of tuples, without log lines, indentation and the `ok` of commands that say nothing."""
    result: list[tuple[object, ...]] = []
    for raw in text.split("\n"):
        line = raw.strip()
        if not line or line == "ok" or _LOG_LINE.match(raw):
            continue
        for name, pattern in (("message", _MESSAGE), ("entry", _ENTRY), ("hard state", _HARD_STATE)):
            found = pattern.match(line)
            if found:
                result.append((name, *_numbers(found)))
                break
        else:
            result.append(("line", line))
    return result


@pytest.mark.parametrize("path", _parameters("interaction"))
def test_interaction(path: Path | None) -> None:
    file = _require(path)
    if file.name in DIFFERS:
        pytest.skip(DIFFERS[file.name])
    interpreter = Interpreter()
    wrong = datadriven.run(file, interpreter.handle, lambda a, b: meaning(a) == meaning(b))
    assert not wrong, wrong[0]


# Quorum files.


def _ids(words: tuple[str, ...]) -> list[int]:
    return [int(word) for word in words]


def _quorum(directive: Directive) -> str:
    incoming: list[int] = []
    outgoing: list[int] = []
    joint = False
    values: tuple[str, ...] = ()
    for argument in directive.arguments:
        if argument.key == "cfg":
            incoming = _ids(argument.values)
        elif argument.key == "cfgj":
            joint = True
            outgoing = [] if argument.values == ("zero",) else _ids(argument.values)
        elif argument.key in ("idx", "votes"):
            values = argument.values
        else:
            raise ValueError(f"quorum files have no option {argument.key!r}")
    voters = list(dict.fromkeys([*incoming, *outgoing]))
    if len(values) != len(voters):
        return f"error: mismatched input (explicit or _) for voters {voters}: {list(values)}"
    known = {voter: value for voter, value in zip(voters, values, strict=True) if value != "_"}
    if directive.command == "committed":
        acked = {voter: int(value) for voter, value in known.items()}
        index = (
            quorum.joint_committed(incoming, outgoing, acked)
            if joint
            else quorum.majority_committed(incoming, acked)
        )
        if joint:
            assert index == quorum.joint_committed(outgoing, incoming, acked), "the halves aren't symmetric"
        drawing = quorum.draw_acknowledged(set(voters), acked)
        return drawing + ("∞" if index == quorum.NO_LIMIT else str(index))
    if directive.command == "vote":
        votes = {voter: value == "y" for voter, value in known.items()}
        result = (
            quorum.joint_vote(incoming, outgoing, votes) if joint else quorum.majority_vote(incoming, votes)
        )
        if joint:
            assert result is quorum.joint_vote(outgoing, incoming, votes), "the halves aren't symmetric"
        return result.value
    raise ValueError(f"quorum files have no command {directive.command!r}")


def _same_quorum_text(expected: str, answer: str) -> bool:
    """As text, except that of an error only its sort counts."""
    if expected.startswith("error: mismatched input"):
        return answer.startswith("error: mismatched input")
    return expected == answer


@pytest.mark.parametrize("path", _parameters("quorum"))
def test_quorum(path: Path | None) -> None:
    wrong = datadriven.run(_require(path), _quorum, _same_quorum_text)
    assert not wrong, wrong[0]


# Membership files.


class Membership:
    """The configuration of a file, and the last index, which grows by one with every directive."""

    def __init__(self) -> None:
        self._configuration = Configuration()
        self._progress = ProgressMap()
        self._last_index = 0

    def handle(self, directive: Directive) -> str:
        changer = Changer(self._configuration, self._progress, self._last_index, Inflights(10, 2**62))
        self._last_index += 1
        changes = parse_changes(" ".join(directive.input))
        try:
            if directive.command == "simple":
                after = changer.simple(changes)
            elif directive.command == "enter-joint":
                after = changer.enter_joint(directive.value("autoleave") == "true", changes)
            elif directive.command == "leave-joint":
                if changes:
                    return "this command takes no input"
                after = changer.leave_joint()
            else:
                raise AssertionError(f"membership files have no command {directive.command!r}")
        except ValueError as error:
            return str(error)
        self._configuration, self._progress = after
        lines = [str(self._configuration)]
        lines += [f"{node}: {record}" for node, record in sorted(self._progress.items())]
        return "\n".join(lines)


@pytest.mark.parametrize("path", _parameters("membership"))
def test_membership(path: Path | None) -> None:
    wrong = datadriven.run(_require(path), Membership().handle, str.__eq__)
    assert not wrong, wrong[0]


# The tester tested.


def test_files_are_sorted_by_what_they_say(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("# quorum\nvote cfg=(1) votes=(y)\n----\nVoteWon\n")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.txt").write_text("simple\nv1\n----\nvoters=(1)\n1: StateProbe match=0 next=1\n")
    (tmp_path / "c.txt").write_text("add-nodes 1 voters=(1) index=2\n----\nok\n")
    (tmp_path / "license.txt").write_text("no directive here\n")
    found = {
        kind: [path.name for path in _files(tmp_path, kind)]
        for kind in ("quorum", "membership", "interaction")
    }
    assert found == {"quorum": ["a.txt"], "membership": ["b.txt"], "interaction": ["c.txt"]}
    test_quorum(tmp_path / "a.txt")
    test_membership(tmp_path / "deep" / "b.txt")
    test_interaction(tmp_path / "c.txt")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("fly 1\n----\nok\n", UnknownCommand),
        ("add-nodes 1 wings=2\n----\nok\n", UnknownCommand),
        (
            "add-nodes 1 voters=(1) index=2\n----\nok\n\nraft-state\n----\n1: StateLeader (Voter) Term:0 Lead:0\n",
            AssertionError,
        ),
    ],
)
def test_an_unknown_command_or_another_answer_fails(
    tmp_path: Path, text: str, error: type[BaseException]
) -> None:
    path = tmp_path / "x.txt"
    path.write_text(text)
    with pytest.raises(error):
        test_interaction(path)


def test_absent_data_skip_or_fail_as_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARNESS_REQUIRE", raising=False)
    with pytest.raises(pytest.skip.Exception, match="HARNESS_CONFORMANCE"):
        _require(None)
    monkeypatch.setenv("HARNESS_REQUIRE", "docker,conformance")
    with pytest.raises(pytest.fail.Exception, match="HARNESS_CONFORMANCE"):
        _require(None)


def test_meaning_ignores_log_lines_and_layout_only() -> None:
    told = 'INFO 1 became leader\n  1->2 MsgApp Term:1 Log:1/3 Commit:4 Entries:[1/4 EntryNormal "x"]\n'
    assert meaning(told) == meaning('1->2 MsgApp Term:1 Log:1/3 Commit:4 Entries:[1/4 EntryNormal "x"]\nok')
    assert meaning(told) != meaning('1->2 MsgApp Term:1 Log:1/3 Commit:4 Entries:[1/4 EntryNormal "y"]')
    assert meaning(told) != meaning('1->2 MsgApp Term:1 Log:1/3 Commit:3 Entries:[1/4 EntryNormal "x"]')
    assert meaning(told + told) != meaning(told)
