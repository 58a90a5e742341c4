"""Serves a results folder on loopback: the index of runs, their reports and files, comparisons, trends. Reads only.

Rules that live here:
- It listens on loopback, and answers only requests whose `Host` is this machine: a page on the internet that has made
  its own name point here (DNS rebinding) is refused.
- Only GET and HEAD. Nothing in the folder changes; a report that is missing is rendered and not written.
- A file is served if it lies in a run folder by its real path, and no part of its path is a link or begins with a dot.
- What a run wrote is shown as text. Only the harness's own pages at the top of a run folder, which escape everything
  themselves, are pages; every other file, one that a node left under the same name too, goes out as plain text or as a
  download, with a policy that runs nothing.
"""

from __future__ import annotations

import contextlib
import mimetypes
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO, Final
from urllib.parse import parse_qs, unquote, urlsplit

from results.history import History, HistoryError
from results.operation import HARNESS, INFO, NEMESIS
from results.report.comparison import compare
from results.report.comparison import render as render_comparison
from results.report.escape import html_text, shortened
from results.report.index_page import Live, index_page, live_page, page, trends, trends_page
from results.report.record import read_record
from results.report.runs_index import SORTS, Filter, RunsIndex, is_plain_name
from results.report.writer import render
from results.run_folder import RunFolder

LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
PIECE: Final = 1 << 16
PLAIN_SUFFIXES: Final = frozenset(
    {".json", ".jsonl", ".toml", ".log", ".txt", ".md", ".edn", ".xml", ".sarif", ""}
)
PAGE_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
FILE_POLICY: Final = "default-src 'none'; sandbox; frame-ancestors 'none'"


class Refused(Exception):
    """A request that gets no page; the message is for people."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


@dataclass(frozen=True)
class OwnPage:
    """A file that the harness itself has written as a page."""

    path: Path


class Site:
    """The pages of a results folder, by address; knows nothing of sockets."""

    def __init__(self, root: Path) -> None:
        self.index = RunsIndex(root.resolve())

    def page(self, path: str, query: dict[str, str]) -> str | Path | OwnPage:
        """The page at an address, or the file. Raises Refused."""
        if path == "/":
            return self._index(query)
        if path == "/trends":
            return trends_page(trends(self.index.lines()))
        if path == "/compare":
            return self._comparison(query)
        if path.startswith("/run/"):
            return self._run(path.removeprefix("/run/"))
        raise Refused(HTTPStatus.NOT_FOUND, f"there is no page {path}")

    def _index(self, query: dict[str, str]) -> str:
        sort = query.get("sort", "time")
        if sort not in SORTS:
            raise Refused(HTTPStatus.BAD_REQUEST, f"cannot sort by {sort!r}; there are {', '.join(SORTS)}")
        start = query.get("start", "0")
        if not (start.isascii() and start.isdigit() and len(start) < 10):
            raise Refused(HTTPStatus.BAD_REQUEST, f"start={start!r} is no number of a run")
        wanted = Filter(
            **{name: query.get(name, "") for name in ("search", "workload", "system", "verdict", "commit")},
            sort=sort,
            reverse=bool(query.get("reverse")),
        )
        return index_page(self.index.lines(), wanted, int(start))

    def _comparison(self, query: dict[str, str]) -> str:
        if "a" not in query or "b" not in query:
            raise Refused(HTTPStatus.BAD_REQUEST, "choose two runs, A and B")
        return render_comparison(compare(*(read_record(self._folder(query[side])) for side in ("a", "b"))))

    def _folder(self, run_id: str) -> RunFolder:
        folder = self.index.folder(run_id)
        if folder is None:
            raise Refused(HTTPStatus.NOT_FOUND, f"there is no run {run_id}")
        return folder

    def _run(self, rest: str) -> str | Path | OwnPage:
        """`ID/`, `ID/report`, or `ID/` and the path of a file; an id has one part or two."""
        parts = rest.split("/")
        for length in (2, 1):
            folder = self.index.folder("/".join(parts[:length])) if len(parts) > length else None
            if folder is not None:
                return self._in_folder(folder, "/".join(parts[:length]), parts[length:])
        raise Refused(HTTPStatus.NOT_FOUND, f"there is no run at {rest}")

    def _in_folder(self, folder: RunFolder, run_id: str, inner: list[str]) -> str | Path | OwnPage:
        name = "/".join(inner)
        if name in ("", "report", "report.html"):
            if folder.running() is not None and not folder.verdict_path.exists():
                return self._live(folder, run_id) if name == "" else render(read_record(folder))
            if folder.report_path.is_file() and not folder.report_path.is_symlink():
                return OwnPage(folder.report_path)
            return render(read_record(folder))
        found = file_in(folder.path, inner)
        return OwnPage(found) if found == folder.shrink_page_path else found

    def _live(self, folder: RunFolder, run_id: str) -> str:
        running = folder.running()
        counts: dict[str, int] = {}
        phase, seconds, broken = "set-up", 0.0, dict[int, str]()
        with contextlib.suppress(OSError, HistoryError):
            for event in History.load(folder.history_path).operations:
                seconds = event.time / 1e9
                if event.is_client:
                    counts[event.type] = counts.get(event.type, 0) + 1
                elif event.process == HARNESS and event.f == "phase":
                    phase = shortened(str(event.value), 100)
                elif event.process == NEMESIS and event.type == INFO and isinstance(event.value, dict):
                    step = int(event.value.get("step", -1))
                    if event.f == "stop":
                        broken.pop(step, None)
                    elif event.value.get("took_effect"):
                        broken[step] = shortened(str(event.value.get("fault")), 100)
        began = running.began if running is not None else ""
        return live_page(Live(run_id, began, phase, seconds, counts, list(broken.values())))


def file_in(folder: Path, inner: list[str]) -> Path:
    """The file at this path in a run folder. Raises Refused for what does not lie in it."""
    place = folder
    for part in inner:
        if not is_plain_name(part):
            raise Refused(HTTPStatus.NOT_FOUND, "no file of a run has such a name")
        place = place / part
        if place.is_symlink():
            raise Refused(HTTPStatus.NOT_FOUND, "links are not followed")
    if not place.is_file() or not place.resolve().is_relative_to(folder.resolve()):
        raise Refused(HTTPStatus.NOT_FOUND, f"the run has no file {'/'.join(inner)}")
    return place


class _Exchange(BaseHTTPRequestHandler):
    """One request and its answer."""

    server: Server
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        """A page, a file, or an error page."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """The same without its body."""
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        try:
            self._check_host()
            address = urlsplit(self.path)
            query = {
                name: values[-1] for name, values in parse_qs(address.query, keep_blank_values=True).items()
            }
            found = self.server.site.page(unquote(address.path, errors="replace"), query)
            if isinstance(found, OwnPage):
                self._send_file(found.path, with_body, is_own=True)
            elif isinstance(found, Path):
                self._send_file(found, with_body)
            else:
                self._send_page(HTTPStatus.OK, found, with_body)
        except Refused as refused:
            body = page(refused.status.phrase, [f"<h1>{html_text(refused.why)}</h1>"])
            self._send_page(refused.status, body, with_body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        except Exception as error:  # noqa: BLE001 - a page that breaks must not end the server.
            self.server.log(f"{self.path}: {type(error).__name__}: {error}")
            body = page("failed", [f"<h1>This page could not be made: {html_text(error)}</h1>"])
            with contextlib.suppress(OSError):
                self._send_page(HTTPStatus.INTERNAL_SERVER_ERROR, body, with_body)

    def _check_host(self) -> None:
        host = self.headers.get("Host", "")
        name = urlsplit(f"//{host}").hostname if host else None
        if name not in LOOPBACK:
            raise Refused(
                HTTPStatus.MISDIRECTED_REQUEST, f"this server is for this machine only, not for {host!r}"
            )

    def _send_page(self, status: HTTPStatus, text: str, with_body: bool) -> None:
        data = text.encode("utf-8", "replace")
        self._head(status, "text/html; charset=utf-8", len(data), PAGE_POLICY)
        if with_body:
            self.wfile.write(data)

    def _send_file(self, path: Path, with_body: bool, *, is_own: bool = False) -> None:
        try:
            file: BinaryIO = open(path, "rb", opener=_without_links)  # noqa: SIM115 - closed by the block below.
        except OSError as error:
            raise Refused(HTTPStatus.NOT_FOUND, f"cannot read {path.name}: {error.strerror}") from error
        with file:
            size = os.fstat(file.fileno()).st_size
            if is_own:
                kind, policy = "text/html; charset=utf-8", PAGE_POLICY
            elif path.suffix in PLAIN_SUFFIXES:
                kind, policy = "text/plain; charset=utf-8", FILE_POLICY
            else:
                guessed = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
                kind = "application/octet-stream" if guessed.startswith("text/html") else guessed
                policy = FILE_POLICY
            self._head(HTTPStatus.OK, kind, size, policy)
            left = size
            # A log may grow while it is read: as much goes out as was promised.
            while with_body and left and (piece := file.read(min(PIECE, left))):
                self.wfile.write(piece)
                left -= len(piece)
            if with_body and left:
                self.close_connection = True

    def _head(self, status: HTTPStatus, kind: str, length: int, policy: str) -> None:
        self.send_response(status)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", str(length)),
            ("Content-Security-Policy", policy),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Cache-Control", "no-store"),
        ):
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are nothing to tell of."""


def _without_links(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC)


class Server(ThreadingHTTPServer):
    """The site on a loopback socket; a thread a request."""

    daemon_threads = True

    def __init__(self, root: Path, host: str, port: int, log: Callable[[str], None]) -> None:
        """Listens at once; port 0 takes a free one. Raises OSError where it cannot, ValueError for another host."""
        if host not in LOOPBACK:
            raise ValueError(f"host {host!r}: only this machine is served ({', '.join(LOOPBACK)})")
        if ":" in host:
            self.address_family = socket.AF_INET6
        self.site = Site(root)
        self.log = log
        super().__init__((host, port), _Exchange)

    @property
    def address(self) -> str:
        """What to open in a browser."""
        host, port = self.server_address[:2]
        name = host.decode() if isinstance(host, bytes | bytearray) else str(host)
        return f"http://[{name}]:{port}/" if ":" in name else f"http://{name}:{port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is nothing to tell of."""
