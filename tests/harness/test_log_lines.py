"""Lines of the nodes' logs that enter a history: which, and which traceback led to which."""

from __future__ import annotations

from pathlib import Path

from harness.run import matching_log_lines

HEAD = r"Traceback \(most recent call last\)"


def failing(error: Exception, message: str) -> None:
    raise RuntimeError(message) from error


def tracebacks(*, direct: bool) -> str:
    import traceback

    try:
        try:
            raise OSError(28, "No space left on device")
        except OSError as error:
            if direct:
                failing(error, "the disk failed")
            raise KeyError("a mistake of the handler")  # noqa: B904
    except (RuntimeError, KeyError) as error:
        return "".join(traceback.format_exception(error))


def heads_in(tmp_path: Path, text: str) -> list[dict[str, object]]:
    path = tmp_path / "node.log"
    path.write_text(text)
    return matching_log_lines({"n1": path}, (HEAD,))


def test_a_traceback_names_the_one_that_is_its_direct_cause(tmp_path: Path) -> None:
    first, second = heads_in(tmp_path, "stopping at once\n" + tracebacks(direct=True))
    assert first["line"] == 2
    assert "caused_by" not in first
    assert second["caused_by"] == 2


def test_a_mistake_while_an_error_is_handled_is_not_caused_by_it(tmp_path: Path) -> None:
    assert not any("caused_by" in event for event in heads_in(tmp_path, tracebacks(direct=False)))


def test_a_traceback_of_its_own_has_no_cause(tmp_path: Path) -> None:
    text = tracebacks(direct=True) + "12:00:01 INFO goes on\n" + tracebacks(direct=True)
    causes = [event.get("caused_by") for event in heads_in(tmp_path, text)]
    assert [cause is None for cause in causes] == [True, False, True, False]
    assert causes[1] != causes[3]
