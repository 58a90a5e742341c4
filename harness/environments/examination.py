"""What this machine can do for the harness: each part probed, not assumed; why it cannot; and what would mend it.

A part is examined by doing a small piece of what it is for, in namespaces that vanish with the probe: a packet rule is
added, a link made, a delay set. So a kernel without a module, a container without rights and a missing package are told
apart by what the program said. Nothing of this machine is changed.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.environments.environment import EnvironmentFailed
from harness.environments.linux import netem
from harness.environments.linux.namespace import search_path
from harness.environments.netns import hub

PROBE_TIMEOUT_S: Final = 20.0


@dataclass(frozen=True)
class Found:
    """What came of examining a part."""

    name: str
    purpose: str
    """What it is for, in a few words."""
    ok: bool
    says: str
    """What is there, or why it is not."""
    fix: str | None = None
    """A command or a step that would mend it; None where nothing is known, or nothing is wrong."""


@dataclass(frozen=True)
class Part:
    """Something that the harness can use."""

    name: str
    purpose: str
    look: Callable[[], tuple[bool, str, str | None]]

    def examine(self) -> Found:
        """Looks; whatever goes wrong in that is an answer too."""
        try:
            ok, says, fix = self.look()
        except Exception as error:  # noqa: BLE001 - a probe that breaks says that the part cannot be used.
            ok, says, fix = False, f"{type(error).__name__}: {error}", None
        return Found(self.name, self.purpose, ok, says, fix)


# Programs and libraries.


def _python() -> tuple[bool, str, str | None]:
    return True, f"{sys.implementation.name} {sys.version.split()[0]}, {len(_cores())} cores", None


def _cores() -> Sequence[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return range(os.cpu_count() or 1)


def _kernels() -> tuple[bool, str, str | None]:
    from results.kernels import is_current, sources

    there = sources()
    compiled = sum(is_current(source) for source in there)
    if compiled == len(there):
        return True, f"all {compiled} kernels are compiled", None
    says = f"{len(there) - compiled} of {len(there)} kernels are not compiled: checking is right, and ten times slower"
    if not any(shutil.which(name) for name in ("cc", "gcc", "clang")):
        return (
            False,
            f"{says}; there is no C compiler",
            "apt-get install gcc libc6-dev (or your system's like)",
        )
    return False, says, f"{sys.executable} build_kernels.py"


def _library(module: str, package: str, found: str) -> Callable[[], tuple[bool, str, str | None]]:
    def look() -> tuple[bool, str, str | None]:
        if importlib.util.find_spec(module) is None:
            return (
                False,
                f"the package {package} is not installed",
                f"{sys.executable} -m pip install {package}",
            )
        return True, found, None

    return look


def _program(names: Sequence[str], fix: str) -> Callable[[], tuple[bool, str, str | None]]:
    def look() -> tuple[bool, str, str | None]:
        for name in names:
            place = shutil.which(name, path=search_path())
            if place is not None:
                return True, place, None
        return False, f"{' or '.join(names)} is not there", fix

    return look


# Environments.


def _local() -> tuple[bool, str, str | None]:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        return True, f"processes on loopback; port {server.getsockname()[1]} could be opened", None


def _docker() -> tuple[bool, str, str | None]:
    from harness.environments.docker.engine import connect

    if sys.platform != "linux":
        return False, "the nodes' namespaces have to be reachable, which only Linux offers", None
    try:
        engine = connect(5)
    except EnvironmentFailed as error:
        return False, str(error), "apt-get install docker.io && systemctl start docker (as root)"
    engine.close()
    return True, "an engine answers", None


def _netns() -> tuple[bool, str, str | None]:
    reason = hub.objection()
    if reason is not None:
        packages = sorted(set(re.findall(r"\(package ([\w.-]+)\)", reason)))
        return False, reason, f"apt-get install {' '.join(packages)} (as root)" if packages else None
    done = _inside("ip link add one type veth peer name two && ip link add bridge type bridge")
    if done is not None:
        return False, f"links and a bridge cannot be made in a namespace: {done}", None
    return (
        True,
        "namespaces, links and bridges, " + ("as root" if os.geteuid() == 0 else "as this user"),
        None,
    )


def _feature(
    script: str, found: str, fix: str | None, *, program: str, package: str
) -> Callable[[], tuple[bool, str, str | None]]:
    """Something of the kernel, tried by a program in a namespace of its own."""

    def look() -> tuple[bool, str, str | None]:
        if shutil.which(program, path=search_path()) is None:
            return False, f"the program {program} is missing", f"apt-get install {package} (as root)"
        done = _inside(script)
        return (True, found, None) if done is None else (False, done, fix)

    return look


def _inside(script: str) -> str | None:
    """Runs a shell script in a network namespace that ends with it; None if it went well, else what was said."""
    way = ["--net"] if os.geteuid() == 0 else ["--user", "--map-root-user", "--net"]
    try:
        done = subprocess.run(
            ["unshare", *way, "--", "sh", "-e", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=PROBE_TIMEOUT_S,
            # The older iptables wants to lock a file that only root may make.
            env={**os.environ, "PATH": search_path(), "XTABLES_LOCKFILE": os.devnull},
            check=False,
        )
    except FileNotFoundError:
        return "the program unshare is missing (package util-linux)"
    except subprocess.TimeoutExpired:
        return f"no answer within {PROBE_TIMEOUT_S:g} s"
    if done.returncode == 0:
        return None
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    return lines[-1] if lines else f"exit code {done.returncode}"


def _freezer() -> tuple[bool, str, str | None]:
    for place in ("/sys/fs/cgroup/cgroup.controllers", "/sys/fs/cgroup/freezer"):
        if Path(place).exists():
            return True, f"{place} is there", None
    return False, "no cgroup freezer is mounted; processes are paused by SIGSTOP all the same", None


def _fuse() -> tuple[bool, str, str | None]:
    from harness.environments.disks.disks import why_no_layers

    reason = why_no_layers()
    if reason is None:
        return True, "file systems of our own can be mounted", None
    fix = "apt-get install libfuse3-3 (as root)" if "libfuse3" in reason else None
    return False, reason, "modprobe fuse (as root)" if "/dev/fuse" in reason else fix


def _clocks() -> tuple[bool, str, str | None]:
    """In the order of choice; see `process_clocks.py`."""
    from harness.environments.linux import faketime, vdso

    tried = {
        "the vDSO of processes": vdso.why_not(),
        "libfaketime for programs of C": faketime.why_not("sh"),
        "libfaketime for this Python": faketime.why_not(sys.executable),
    }
    shown = [f"{way}: {why or 'a process of ours was sent an hour ahead'}" for way, why in tried.items()]
    says = "; ".join(["in this order: the database's own clock port", *shown])
    works = None in (tried["the vDSO of processes"], tried["libfaketime for programs of C"])
    return works, says, None if works else "apt-get install libfaketime (as root)"


_IPTABLES: Final = {"program": "iptables", "package": "iptables"}
_TC: Final = {"program": "tc", "package": "iproute2"}
_NFQUEUE_SCRIPT: Final = "iptables -A INPUT -p udp -j NFQUEUE --queue-num 1"
PARTS: Final[tuple[Part, ...]] = (
    Part("python", "everything", _python),
    Part("kernels", "fast checkers", _kernels),
    Part("simulation", "runs on virtual time", lambda: (True, "nothing more is needed", None)),
    Part("local", "nodes as processes", _local),
    Part("netns", "nodes in network namespaces", _netns),
    Part("docker", "nodes in containers", _docker),
    Part(
        "iptables",
        "partitions in namespaces and containers",
        _feature(
            "iptables -A INPUT -s 192.0.2.1 -j DROP",
            "rules can be added",
            "modprobe ip_tables (as root)",
            **_IPTABLES,
        ),
    ),
    Part(
        "nfqueue",
        "latency, loss and the like where netem is missing",
        _feature(
            _NFQUEUE_SCRIPT,
            "packets can be handed to a program",
            "modprobe xt_NFQUEUE (as root)",
            **_IPTABLES,
        ),
    ),
    Part(
        "netem",
        "latency, loss and the like by the kernel",
        _feature(
            netem.PROBE,
            "the kernel delays packets itself, and is the first choice for that",
            "modprobe sch_netem (as root); without it the packet engine does the same",
            **_TC,
        ),
    ),
    Part(
        "tbf",
        "rate limits by the kernel",
        _feature(
            "ip link set lo up && tc qdisc add dev lo root tbf rate 1mbit burst 10kb latency 10ms",
            "the kernel limits rates itself",
            "modprobe sch_tbf (as root)",
            **_TC,
        ),
    ),
    Part("freezer", "pauses of whole containers", _freezer),
    Part("fuse", "faults of disks below any database", _fuse),
    Part("clocks", "clock faults of any database", _clocks),
    Part("sat", "isolation with unknown version order", _library("pysat", "python-sat", "a solver is there")),
    Part("dask", "sweeps on a cluster", _library("distributed", "distributed", "Dask is there")),
    Part("parquet", "exports for pandas and the like", _library("pyarrow", "pyarrow", "pyarrow is there")),
    Part(
        "browser",
        "tests of the report",
        _program(("chromium", "chromium-browser", "google-chrome"), "apt-get install chromium"),
    ),
    Part(
        "node", "building the report's front end", _program(("node", "nodejs"), "apt-get install nodejs npm")
    ),
)


def examine() -> list[Found]:
    """All parts, in their order."""
    return [part.examine() for part in PARTS]
