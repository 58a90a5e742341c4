"""A results folder in a browser: what is in it can be found, nothing outside of it, and nothing in it acts."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from results.history import HistoryBuilder
from results.operation import encode_lines
from results.report.index_page import Filter, index_page, trends, trends_page
from results.report.runs_index import RunLine, RunsIndex
from results.report.server import Refused, Server, Site
from results.run_folder import RunFolder
from results.verdict import Verdict

HOSTILE = "<script>alert('x')</script>"


def save_run(
    root: Path,
    name: str,
    outcome: str | None = "valid",
    *,
    workload: str = "register",
    commit: str = "c0de" * 10,
) -> RunFolder:
    """A run folder with one read, as a run leaves it."""
    folder = RunFolder(root / name)
    folder.path.mkdir(parents=True)
    folder.write_scenario(
        f'seed = 7\nworkload = "{workload}"\nsystem = "reference-db"\nenvironment = "local"\n'
    )
    builder = HistoryBuilder()
    builder.invoke(0, "read")
    builder.ok(0, HOSTILE)
    folder.history_path.write_bytes(encode_lines(list(builder.done().operations)))
    folder.environment_path.write_text(f'{{"harness": {{"commit": "{commit}"}}}}')
    if outcome is not None:
        availability = Verdict("valid", "availability", "", details={"answers_per_s": 50.0})
        folder.write_verdict(Verdict(outcome, "run", f"because {HOSTILE}", parts=[availability]))
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "secret.txt").write_text("outside")
    root = tmp_path / "runs"
    save_run(root, "20260101T120000Z-register")
    save_run(root, "20260102T120000Z-bank", "invalid", workload="bank", commit="feed" * 10)
    save_run(root, "gate-20260103T120000Z-plan/bank-1-seed-7", "unknown", workload="bank", commit="feed" * 10)
    save_run(root, "20260104T120000Z-set", None, workload="set")
    (root / "latest").symlink_to("20260104T120000Z-set")
    return root


# The index.


def test_every_run_is_a_line_also_those_inside_of_gates_and_those_that_were_not_judged(root: Path) -> None:
    lines = RunsIndex(root).lines()
    assert [(line.id, line.verdict, line.time[:10]) for line in lines] == [
        ("20260104T120000Z-set", "not judged", "2026-01-04"),
        ("gate-20260103T120000Z-plan/bank-1-seed-7", "unknown", "2026-01-03"),
        ("20260102T120000Z-bank", "invalid", "2026-01-02"),
        ("20260101T120000Z-register", "valid", "2026-01-01"),
    ]
    assert (lines[2].seed, lines[2].answers_per_s, lines[2].commit[:8]) == (7, 50.0, "feedfeed")


def test_a_verdict_that_comes_later_is_seen_and_a_damaged_one_hides_nothing(root: Path) -> None:
    index = RunsIndex(root)
    index.lines()
    RunFolder(root / "20260104T120000Z-set").write_verdict(Verdict("valid", "run", ""))
    (root / "20260102T120000Z-bank" / "verdict.json").write_text("{")
    (root / "20260101T120000Z-register" / "scenario.toml").write_text("= nonsense")
    assert [line.verdict for line in index.lines()] == ["valid", "unknown", "not judged", "valid"]
    assert index.lines()[3].workload == ""


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        (
            Filter(search="BANK because"),
            ["gate-20260103T120000Z-plan/bank-1-seed-7", "20260102T120000Z-bank"],
        ),
        (Filter(workload="bank", verdict="invalid"), ["20260102T120000Z-bank"]),
        (Filter(commit="c0de", reverse=True), ["20260101T120000Z-register", "20260104T120000Z-set"]),
        (
            Filter(sort="verdict", commit="feed"),
            ["20260102T120000Z-bank", "gate-20260103T120000Z-plan/bank-1-seed-7"],
        ),
        (Filter(search="no such words"), []),
    ],
)
def test_runs_are_found_by_words_fields_and_order(root: Path, wanted: Filter, ids: list[str]) -> None:
    assert [line.id for line in wanted.choose(RunsIndex(root).lines())] == ids


def test_a_long_index_comes_in_pages() -> None:
    lines = [RunLine(id=f"run-{number:04}", time="") for number in range(450)]
    first, last = index_page(lines, Filter()), index_page(lines, Filter(), 400)
    assert (first.count("/run/run-"), last.count("/run/run-")) == (200, 50)
    assert "older" in first
    assert "newer" not in first
    assert "newer" in last
    assert "older" not in last


def test_trends_have_a_bar_a_commit_in_the_order_of_their_runs(root: Path) -> None:
    save_run(root, "20260105T120000Z-bank", "valid", workload="bank", commit="beef" * 10)
    found = trends(RunsIndex(root).lines())
    points = found["bank on reference-db (local), faults: none"]
    assert [(point.commit[:4], point.outcomes) for point in points] == [
        ("feed", {"invalid": 1, "unknown": 1}),
        ("beef", {"valid": 1}),
    ]
    assert trends_page(found).count("<rect") == 2


# Its pages.


def test_what_runs_wrote_is_text_on_every_page(root: Path) -> None:
    site = Site(root)
    two = {"a": "20260101T120000Z-register", "b": "20260102T120000Z-bank"}
    for path, query in (("/", {}), ("/", {"search": HOSTILE}), ("/trends", {}), ("/compare", two)):
        page = site.page(path, query)
        assert isinstance(page, str)
        assert "<script>alert" not in page


def test_a_report_is_rendered_where_there_is_none_and_nothing_is_written(root: Path) -> None:
    before = sorted(root.rglob("*"))
    page = Site(root).page("/run/20260102T120000Z-bank/", {})
    assert isinstance(page, str)
    assert "20260102T120000Z-bank" in page
    assert sorted(root.rglob("*")) == before


def test_a_run_in_progress_has_a_page_that_looks_again(root: Path) -> None:
    folder = RunFolder(root / "20260104T120000Z-set")
    folder.claim()
    page = Site(root).page("/run/20260104T120000Z-set/", {})
    assert isinstance(page, str)
    assert 'http-equiv="refresh"' in page
    assert "<tr><th>ok</th><td>1</td></tr>" in page
    assert "The report so far" in page


@pytest.mark.parametrize(
    "path",
    [
        "/run/../secret.txt",
        "/run/20260102T120000Z-bank/../../secret.txt",
        "/run/20260102T120000Z-bank/../20260101T120000Z-register/history.jsonl",
        "/run/20260102T120000Z-bank//etc/passwd",
        "/run/20260102T120000Z-bank/link.txt",
        "/run/20260102T120000Z-bank/away/secret.txt",
        "/run/20260102T120000Z-bank/.hidden",
        "/run/20260102T120000Z-bank/nodes",
        "/run/latest/history.jsonl",
        "/run/no-such-run/",
        "/elsewhere",
    ],
)
def test_nothing_is_served_that_is_not_a_file_of_a_run(root: Path, path: str) -> None:
    run = root / "20260102T120000Z-bank"
    (run / "link.txt").symlink_to(root.parent / "secret.txt")
    (run / "away").symlink_to(root.parent)
    (run / ".hidden").write_text("hidden")
    (run / "nodes").mkdir()
    with pytest.raises(Refused):
        Site(root).page(path, {})


# Over a socket.


@pytest.fixture
def server(root: Path) -> Iterator[Server]:
    server = Server(root, "127.0.0.1", 0, lambda _: None)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def ask(
    server: Server, path: str, method: str = "GET", host: str | None = None
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    try:
        connection.request(method, path, headers={} if host is None else {"Host": host})
        answer = connection.getresponse()
        return answer.status, dict(answer.headers), answer.read()
    finally:
        connection.close()


def test_pages_and_files_go_out_with_policies(server: Server) -> None:
    status, headers, body = ask(server, "/run/20260102T120000Z-bank/history.jsonl")
    assert (status, headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
    assert "sandbox" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert body.count(b"\n") == 2
    status, headers, body = ask(server, "/")
    assert (status, b"4 of 4 runs" in body) == (200, True)
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert ask(server, "/", "HEAD")[2] == b""


def test_a_page_that_a_node_left_is_no_page_of_ours(server: Server, root: Path) -> None:
    """What has the name of our report, and runs scripts, is a download as every other file."""
    run = RunFolder(root / "20260102T120000Z-bank")
    for name in ("report.html", "shrink.html", "scenario.toml", "history.jsonl"):
        (run.node_dir("n1") / name).write_text(HOSTILE)
    for name in ("report.html", "shrink.html"):
        _, headers, _ = ask(server, f"/run/{run.id}/nodes/n1/{name}")
        assert headers["Content-Type"] == "application/octet-stream"
        assert "sandbox" in headers["Content-Security-Policy"]
        assert "script-src" not in headers["Content-Security-Policy"]
    run.shrink_page_path.write_text("<p>smaller</p>")
    assert ask(server, f"/run/{run.id}/shrink.html")[1]["Content-Type"].startswith("text/html")


@pytest.mark.parametrize(
    "path",
    [
        "/run/20260102T120000Z-bank/%2e%2e/%2e%2e/secret.txt",
        "/run/20260102T120000Z-bank/..%2f..%2fsecret.txt",
        "/run/20260102T120000Z-bank/..%5c..%5csecret.txt",
        "/run/%2fetc%2fpasswd",
        "//etc/passwd",
        "/run/20260102T120000Z-bank/history.jsonl%00.txt",
        "/run/20260102T120000Z-bank/%ff%fe",
        "/compare?a=../secret.txt&b=20260102T120000Z-bank",
        "/compare?a=latest&b=20260102T120000Z-bank",
        "/run/latest/",
        f"/run/{'x' * 5000}/",
        f"/run/20260102T120000Z-bank/{'x' * 5000}",
        f"/compare?a={'x' * 5000}&b=20260102T120000Z-bank",
    ],
)
def test_tricks_with_paths_get_an_error_page(server: Server, path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    connection._validate_path = lambda _path: None  # type: ignore[attr-defined]
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    assert answer.status == 404
    assert b"outside" not in body
    assert b"root:" not in body


def test_only_this_machine_is_answered_and_nothing_can_be_changed(server: Server) -> None:
    assert ask(server, "/", host="evil.example")[0] == 421
    assert ask(server, "/", host="localhost:1")[0] == 200
    assert ask(server, "/", "POST")[0] == 501
    assert ask(server, "/run/%2e%2e/secret.txt")[0] == 404
    assert ask(server, "/?sort=nonsense")[0] == 400


def test_no_other_host_is_served(root: Path) -> None:
    with pytest.raises(ValueError, match="only this machine is served"):
        Server(root, "0.0.0.0", 0, lambda _: None)
