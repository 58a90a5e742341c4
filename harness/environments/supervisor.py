"""The parent of all node processes and of the proxy: when the harness is gone, however, they are gone.

Run as `python -m harness.environments.supervisor CONTROL_FD`. It talks JSON lines with the harness over an
inherited socket. It ends everything and then itself when

- the socket closes or its own parent changes: the harness has ended, perhaps by kill -9 (asked every half second,
  because a forked worker of the harness may keep the socket open);
- it is told `shutdown`, or gets SIGTERM.

Ending means SIGKILL to the session of each child, which also ends stopped ones, then to whatever orphans it has
adopted (on Linux it is the subreaper of its descendants). Should the supervisor itself be killed, the kernel kills
its children (PR_SET_PDEATHSIG; Linux only). It runs in a session of its own: a Ctrl-C in the terminal is the
harness's to handle. It imports nothing of ours but the page that identifies processes, so that it starts fast.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from results.process_identity import identify

LINUX = sys.platform.startswith("linux")
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PARENT_CHECK_S = 0.5
END_TIMEOUT_S = 10.0


class Supervisor:
    """One select loop: requests from the harness, and the ends of children."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.parent = os.getppid()
        self.attached = True
        self.stopping = False
        self._received = b""
        self._names: dict[int, str] = {}
        self._libc = ctypes.CDLL(None) if LINUX else None
        self._selector = selectors.DefaultSelector()

    def run(self) -> None:
        """Serve until there is a reason to end, then end everything."""
        if self._libc is not None:
            self._libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        wake_read, wake_write = os.pipe()
        for end in (wake_read, wake_write):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.signal(signal.SIGTERM, self._terminated)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._selector.register(self.control, selectors.EVENT_READ)
        self._selector.register(wake_read, selectors.EVENT_READ)
        try:
            while not self.stopping:
                for key, _ in self._selector.select(PARENT_CHECK_S):
                    if key.fileobj is self.control:
                        self._serve()
                    else:
                        os.read(wake_read, 4096)
                self._reap()
                if self.attached and os.getppid() != self.parent:
                    self.stopping = True
        finally:
            self._end_everything()

    def _terminated(self, number: int, frame: Any) -> None:
        self.stopping = True

    def _serve(self) -> None:
        try:
            data = self.control.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            self._selector.unregister(self.control)
            if self.attached:
                self.stopping = True
            return
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            request = json.loads(line)
            answer: dict[str, Any] = {"id": request["id"]}
            try:
                answer |= {"ok": True, "result": self._do(request)}
            except (OSError, ValueError, subprocess.SubprocessError) as error:
                answer |= {"ok": False, "error": f"{type(error).__name__}: {error}"}
            self._send(answer)

    def _do(self, request: dict[str, Any]) -> Any:
        match request["verb"]:
            case "spawn":
                return self._spawn(request)
            case "signal":
                pid, number = request["pid"], request["signal"]
                if pid not in self._names:
                    raise ValueError(f"process {pid} is not a child (it has ended, or never was)")
                signal_tree(pid, signal.Signals(number))
                return None
            case "stay":
                self.attached = False
                return None
            case "shutdown":
                self._end_everything()
                self.stopping = True
                return None
            case verb:
                raise ValueError(f"unknown verb {verb!r}; known: spawn, signal, stay, shutdown")

    def _spawn(self, request: dict[str, Any]) -> dict[str, Any]:
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            child = subprocess.Popen(
                request["argv"],
                cwd=request["cwd"],
                env=request["env"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=request.get("fds", []),
                preexec_fn=self._die_with_me() if self._libc is not None else None,
            )
        finally:
            os.close(log)
        child.returncode = 0  # It is reaped here and not by Popen.
        for descriptor in request.get("fds", []):
            os.close(descriptor)
        self._names[child.pid] = request["name"]
        identity = identify(child.pid)
        return {"pid": child.pid, "started": identity.started if identity else ""}

    def _die_with_me(self) -> Callable[[], None]:
        libc, me = self._libc, os.getpid()
        assert libc is not None

        def between_fork_and_exec() -> None:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != me:
                os._exit(1)

        return between_fork_and_exec

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            name = self._names.pop(pid, None)
            if name is not None:
                code = os.waitstatus_to_exitcode(status)
                text = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
                self._send({"event": "exit", "name": name, "pid": pid, "status": text})

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self.control.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            return  # The harness is gone; that the socket closes is noticed where it is read.

    def _end_everything(self) -> None:
        deadline = time.monotonic() + END_TIMEOUT_S
        while time.monotonic() < deadline:
            for pid in sorted(self._names):
                _kill(os.killpg, pid)
            for pid in _children_of(os.getpid()):
                _kill(os.kill, pid)
            self._reap()
            try:
                os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            time.sleep(0.005)


def _kill(how: Callable[[int, int], None], pid: int) -> None:
    try:
        how(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def signal_tree(pid: int, number: signal.Signals) -> None:
    """To a child's session; what stops, resumes or kills also to descendants that have left it, as the processes of
    some databases do (PostgreSQL's). SIGTERM is for the child itself to pass on."""
    seen: set[int] = set()
    if number == signal.SIGKILL:
        seen = descendants_of(pid)  # Later they have other parents.
    os.killpg(pid, number)
    if number in (signal.SIGSTOP, signal.SIGCONT):
        # Whoever was not stopped yet may have had a child meanwhile.
        while new := descendants_of(pid) - seen:
            seen |= new
            _send_each(new, number)
    else:
        _send_each(seen, number)


def _send_each(pids: set[int], number: signal.Signals) -> None:
    for pid in sorted(pids):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def descendants_of(pid: int) -> set[int]:
    """Linux, where the kernel tells; elsewhere none."""
    found: set[int] = set()
    unasked = [pid]
    while unasked:
        parent = unasked.pop()
        with contextlib.suppress(OSError, ValueError):
            for thread in os.listdir(f"/proc/{parent}/task"):
                with open(f"/proc/{parent}/task/{thread}/children", encoding="ascii") as file:
                    children = {int(word) for word in file.read().split()}
                unasked += children - found
                found |= children
    return found


def _children_of(parent: int) -> list[int]:
    """Linux: all direct children, adopted ones included. Elsewhere a child that left its session is not found."""
    if not LINUX:
        return []
    children = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                    text = file.read()
            except OSError:
                continue
            if text[text.rindex(")") + 2 :].split()[1] == str(parent):
                children.append(int(name))
    return children


def main() -> None:
    """Entry point of the process."""
    control = socket.socket(fileno=int(sys.argv[1]))
    os.set_inheritable(control.fileno(), False)
    Supervisor(control).run()


if __name__ == "__main__":
    main()
