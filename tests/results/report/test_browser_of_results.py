"""All runs of a folder, and two of them side by side, in Debian's Chromium: hostile runs are text, and nothing acts."""

import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from results.operation import INFO, INVOKE, OK
from results.report.comparison import compare, render
from results.report.record import read_record
from results.report.server import Server
from results.run_folder import RunFolder
from results.verdict import INVALID, Anomaly, Verdict, merge
from tests.results.report import samples
from tests.results.report.chromium import Chromium

pytestmark = [pytest.mark.browser, pytest.mark.slow]

LONG = "x" * 10_000_000
LONGISH = "y" * 10_000
TRICKS = f"{samples.HOSTILE}<img src=x onerror=hacked=1>\u202e\u0007\x1b[31m"


def hostile_run(root: Path) -> RunFolder:
    """Names, values and sentences try to be markup; a value, a sentence and a commit have ten million characters."""
    sketch = samples.Sketch()
    sketch.add(0, "harness", INFO, "phase", TRICKS + LONGISH)
    for number, f in enumerate((TRICKS, LONGISH, "read")):
        sketch.add(number * 1000, number, INVOKE, f, [TRICKS, LONGISH], node=TRICKS)
        sketch.add(number * 1000 + 500, number, OK, f, LONG if f == "read" else TRICKS)
    sketch.add_faults([samples.Fault(TRICKS, TRICKS, [TRICKS], 0.1, 0.2)])
    fault = {"fault": TRICKS, "shape": LONGISH, "took_effect": True, "operations": 1, "ok": 1}
    availability = Verdict("valid", "availability", TRICKS, details={"answers_per_s": 5.0, "faults": [fault]})
    judged = Verdict(INVALID, "register", TRICKS, anomalies=[Anomaly(TRICKS, LONG, [0])])
    folder = samples.write_folder(
        root, "register", sketch.operations()[0], merge(TRICKS + LONG, [judged, availability]), logs=False
    )
    folder.scenario_path.write_text(
        "".join(f"{name} = {toml(TRICKS + LONGISH)}\n" for name in ("workload", "system", "nemesis"))
    )
    folder.write_environment({TRICKS: LONGISH, "harness": {"commit": TRICKS + LONG}})
    return folder


def toml(text: str) -> str:
    return '"' + "".join(one if one.isalnum() or one == " " else f"\\u{ord(one):04x}" for one in text) + '"'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("results") / "runs"
    hostile_run(root)
    samples.valid_bank(root, seconds=5)
    samples.stale_register(root)
    server = Server(root, "127.0.0.1", 0, lambda text: pytest.fail(text))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def ids(server: Server) -> dict[str, str]:
    """Beginning of the workload -> run."""
    return {line.workload[:4]: line.id for line in server.site.index.lines()}


def assert_it_is_text(chromium: Chromium, address: str) -> None:
    assert chromium.console == []
    assert {url for url in chromium.requests if not url.startswith("data:")} == {address}
    assert chromium.ask("typeof hacked") == "undefined"
    text = chromium.ask("document.documentElement.textContent")
    assert "\u202e" not in text
    assert "\u0007" not in text
    assert len(text) < 2_000_000, "what is very long is shown shortened"


@pytest.mark.parametrize("place", ["", "?search=alert&sort=verdict", "trends", "?workload=" + quote(TRICKS)])
def test_the_index_and_the_trends_show_hostile_runs_as_text(chromium, server, place):
    address = server.address + place
    chromium.visit(address)
    assert_it_is_text(chromium, chromium.ask("location.href"))


def test_reports_comparisons_and_files_of_hostile_runs_act_nowhere(chromium, server, tmp_path):
    hostile = next(id for beginning, id in ids(server).items() if beginning not in ("bank", "regi"))
    base = f"{server.address}run/{hostile}/"
    for address in (
        base,
        f"{server.address}compare?a={hostile}&b={ids(server)['bank']}",
        f"{server.address}compare?a={ids(server)['bank']}&b={hostile}",
    ):
        chromium.visit(address)
        assert_it_is_text(chromium, address)
    root = server.site.index.root
    page = tmp_path / "compared.html"
    records = [read_record(RunFolder(root / one)) for one in (hostile, ids(server)["bank"])]
    page.write_text(render(compare(*records)))
    chromium.visit(page.as_uri())
    assert_it_is_text(chromium, page.as_uri())


def test_a_hostile_run_in_progress_is_text(chromium, server):
    hostile = next(id for beginning, id in ids(server).items() if beginning not in ("bank", "regi"))
    folder = RunFolder(server.site.index.root / hostile)
    verdict = folder.verdict_path.read_bytes()
    folder.claim()
    folder.verdict_path.unlink()
    try:
        address = f"{server.address}run/{hostile}/"
        chromium.visit(address)
        assert_it_is_text(chromium, address)
        assert "goes on" in chromium.ask("document.body.innerText")
    finally:
        folder.verdict_path.write_bytes(verdict)
        folder.release()


def test_people_search_sort_filter_and_compare(chromium, server):
    def rows():
        return chromium.ask("[...document.querySelectorAll('table tr')].slice(1).map((row) => row.innerText)")

    def act(script):
        with chromium.page.expect_navigation():
            chromium.ask(f"void setTimeout(() => {script})")

    chromium.visit(server.address)
    assert len(rows()) == 3
    act(
        "(document.querySelector('[name=search]').value = 'bank', document.querySelector('form button').click())"
    )
    assert len(rows()) == 1
    act("[...document.querySelectorAll('a')].find((link) => link.textContent === 'everything').click()")
    act(
        "[...document.querySelectorAll('th a')].find((link) => link.textContent.startsWith('verdict')).click()"
    )
    assert "invalid" in rows()[0]
    assert "valid" in rows()[2]
    act(
        "(document.querySelector('select[name=workload]').value = 'bank', "
        "document.querySelector('form button').click())"
    )
    assert len(rows()) == 1
    chromium.visit(server.address)
    act(
        "(document.querySelectorAll('[name=a]')[0].click(), document.querySelectorAll('[name=b]')[1].click(), "
        "[...document.querySelectorAll('button')].find((one) => one.textContent.startsWith('compare')).click())"
    )
    assert "Two runs side by side" in chromium.ask("document.body.innerText")
    assert chromium.console == []
