"""The network namespace of a run: where harness and clients live, with two bridges that lead to the nodes.

While a run lasts, the harness itself is in a namespace of its own, the *hub*. So the host's network is neither touched
nor seen, every run may use the same addresses, and nothing can be left behind: a namespace and all that is in it ends
with its last process. As root, the thread that runs the harness enters the hub and leaves it again; anybody else
enters a user namespace first, in which he is root, and stays there for the rest of his process.

On the bridge *data*, nodes speak with each other and with the clients, and faults cut links. On the bridge *control*,
the harness asks a node whether it is ready and what its clock shows, whatever is cut; nodes cannot reach each other
there.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import ipaddress
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence

from harness.environments.environment import EnvironmentFailed
from harness.environments.linux.namespace import lacking_programs, search_path

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
THREAD_NAMESPACE = "/proc/thread-self/ns/net"

DATA = ipaddress.IPv4Network("10.77.0.0/17")
CONTROL = ipaddress.IPv4Network("10.77.128.0/17")
CLIENT_ADDRESS, CONTROL_ADDRESS = str(DATA[1]), str(CONTROL[1])
"""Those of the hub on the two bridges: clients come from the first, the harness itself from the second."""
FIRST_HOST = 11
MOST_NODES = 1000


def data_address(index: int) -> str:
    """Of the node with this index, on *data*."""
    return str(DATA[FIRST_HOST + index])


def control_address(index: int) -> str:
    return str(CONTROL[FIRST_HOST + index])


@functools.cache
def objection() -> str | None:
    """Why there can be no namespaces here, and what would help; None if there can."""
    if sys.platform != "linux":
        return f"network namespaces are Linux's, this is {sys.platform}: use --environment local"
    lacking = [
        f"{program} (package {package})"
        for program, package in (("ip", "iproute2"), ("unshare", "util-linux"))
        if shutil.which(program, path=search_path()) is None
    ]
    lacking += lacking_programs()
    if lacking:
        return f"these programs are not installed: {', '.join(dict.fromkeys(lacking))}"
    way = ["--net"] if os.geteuid() == 0 else ["--user", "--map-root-user", "--net"]
    tried = subprocess.run(
        ["unshare", *way, "true"],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": search_path()},
        check=False,
    )
    if tried.returncode == 0:
        return None
    said = tried.stderr.strip() or f"exit {tried.returncode}"
    if os.geteuid() == 0:
        return f"a network namespace cannot be made ({said}): inside a container, allow it CAP_SYS_ADMIN"
    return (
        f"a user namespace cannot be made ({said}): run as root, or allow them (sysctl "
        "kernel.unprivileged_userns_clone=1, on Ubuntu kernel.apparmor_restrict_unprivileged_userns=0)"
    )


@contextlib.contextmanager
def hub() -> Iterator[None]:
    """Inside, the calling thread is in the hub of a run, and so is what it starts. Not inside another one.

    Raises EnvironmentFailed where there can be none.
    """
    reason = objection()
    if reason is not None:
        raise EnvironmentFailed(f"the environment netns is not available here: {reason}")
    if os.geteuid() != 0:
        _unshare(CLONE_NEWUSER | CLONE_NEWNET, _as_root_inside(os.getuid(), os.getgid()))
        _prepare()
        yield
        return
    descriptor = os.open(THREAD_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _unshare(CLONE_NEWNET)
        try:
            _prepare()
            yield
        finally:
            _check(_libc().setns(descriptor, CLONE_NEWNET), "returning to the host's network")
    finally:
        os.close(descriptor)


def _prepare() -> None:
    """The hub's bridges, to which no node is connected yet."""
    batch(
        [
            "link set lo up",
            "link add data type bridge",
            "link add control type bridge",
            f"addr add {CLIENT_ADDRESS}/{DATA.prefixlen} dev data",
            f"addr add {CONTROL_ADDRESS}/{CONTROL.prefixlen} dev control",
            "link set data up",
            "link set control up",
        ]
    )


def connect(pids: Sequence[int]) -> None:
    """Connects namespaces to the bridges; that of the i-th process gets the addresses of the node with index i.

    Raises EnvironmentFailed with what `ip` says.
    """
    lines = []
    for index, pid in enumerate(pids):
        for bridge, port in (("data", f"d{index}"), ("control", f"c{index}")):
            lines += [
                f"link add {port} type veth peer name {bridge} netns {pid}",
                f"link set {port} master {bridge} up",
            ]
        # Ports that are isolated exchange nothing with each other.
        lines.append(f"link set dev c{index} type bridge_slave isolated on")
    batch(lines)
    for index, pid in enumerate(pids):
        batch(
            [
                "link set lo up",
                f"addr add {data_address(index)}/{DATA.prefixlen} dev data",
                f"addr add {control_address(index)}/{CONTROL.prefixlen} dev control",
                "link set data up",
                "link set control up",
            ],
            pid,
        )


def batch(lines: Sequence[str], pid: int | None = None) -> None:
    """Commands of `ip`, all in one process: in our namespace, or in that of a process."""
    entering = [] if pid is None else ["nsenter", f"--net=/proc/{pid}/ns/net", "--"]
    done = subprocess.run(
        [*entering, "ip", "-batch", "-"],
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": search_path()},
        check=False,
    )
    if done.returncode != 0:
        raise EnvironmentFailed(f"the network of this run cannot be made: {done.stderr.strip()[:500]}")


def _as_root_inside(uid: int, gid: int) -> tuple[tuple[str, str], ...]:
    """What is written where, so that this user is root in the user namespace that was just made."""
    return (
        ("/proc/self/setgroups", "deny"),
        ("/proc/self/uid_map", f"0 {uid} 1"),
        ("/proc/self/gid_map", f"0 {gid} 1"),
    )


def _unshare(flags: int, maps: Sequence[tuple[str, str]] = ()) -> None:
    _check(
        _libc().unshare(flags),
        "making the namespace of this run" + (" (is another thread running?)" if maps else ""),
    )
    for path, text in maps:
        with open(path, "w") as file:
            file.write(text)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        raise EnvironmentFailed(f"{what}: {os.strerror(ctypes.get_errno())}")
