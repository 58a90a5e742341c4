"""What the harness has on a host: a supervisor of the processes there, which also runs programs and writes files.

Run by `remote.py`. It is the supervisor of the local environments with a few verbs more, and ends what it has started
for the same reasons: its control socket closes, or its parent goes. It imports only what is shipped (`shipping.py`).
"""

from __future__ import annotations

import base64
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.environments.clock_file import ClockSetting, write_clock
from harness.environments.linux import vdso
from harness.environments.supervisor import Supervisor
from results.process_identity import process_state

RUN_TIMEOUT_S = 20.0


class Agent(Supervisor):
    """One on each host."""

    def _do(self, request: dict[str, Any]) -> Any:
        match request["verb"]:
            case "run":
                return _run(request["argv"], request.get("text", ""))
            case "state":
                return process_state(request["pid"])
            case "write":
                path = Path(request["path"])
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(base64.b64decode(request["content"]))
                return None
            case "tail":
                with Path(request["path"]).open("rb") as file:
                    file.seek(max(0, os.fstat(file.fileno()).st_size - request["size"]))
                    return base64.b64encode(file.read()).decode()
            case "clock":
                # Ages travel between hosts, readings of a monotonic clock do not.
                anchor_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC) - request["age_ns"]
                rate_ppb = request["rate_ppb"]
                setting = ClockSetting(request["offset_ns"], rate_ppb, anchor_ns if rate_ppb else 0)
                write_clock(Path(request["path"]), setting)
                return None
            case "why_no_process_clocks":
                return vdso.why_not()
            case "process_clock":
                rate_ppb = request["rate_ppb"]
                anchor_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC) - request["age_ns"]
                setting = ClockSetting(request["offset_ns"], rate_ppb, anchor_ns if rate_ppb else 0)
                return _told(lambda: vdso.set_clock(request["pid"], setting, lambda: not request["paused"]))
            case "shown_by":
                return _told(lambda: list(vdso.shown_by(request["pid"]).values()))
            case "send":
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                    for _ in range(request["count"]):
                        try:
                            sender.sendto(bytes(request["size"]), (request["address"], request["port"]))
                        except PermissionError:
                            continue  # Where OUTPUT drops it the sender is refused: counted all the same.
                return None
            case "time":
                return time.time_ns()
            case _:
                return super()._do(request)


def _told(act: Callable[[], Any]) -> Any:
    """As an error that travels."""
    try:
        return act()
    except vdso.ClockUntouchable as error:
        raise ValueError(str(error)) from error


def _run(argv: list[str], text: str) -> list[Any]:
    """Exit status and output; 127 for a program that is not there."""
    try:
        done = subprocess.run(
            argv,
            input=text.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                "PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin",
            },
            timeout=RUN_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError as error:
        return [127, str(error)]
    return [done.returncode, done.stdout.decode(errors="replace")]


def main() -> None:
    """Entry point of the process."""
    control = socket.socket(fileno=int(sys.argv[1]))
    os.set_inheritable(control.fileno(), False)
    Agent(control).run()


if __name__ == "__main__":
    main()
