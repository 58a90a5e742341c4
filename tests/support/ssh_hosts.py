"""Hosts with real SSH servers, each in a network namespace of its own, for tests of the environment `ssh`.

They are namespaces of this machine with one file system: what differs between them is the network. By hand, as root:
`python -m tests.support.ssh_hosts 5 ./run test --environment ssh ...` runs a command with the options added that lead
to the hosts.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.environments.netns import hub

SSHD = "/usr/sbin/sshd"
CONFIGURATION = """
Port 22
ListenAddress {address}
HostKey {folder}/host_key
PidFile {folder}/sshd-{index}.pid
AuthorizedKeysFile {folder}/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin yes
AllowTcpForwarding yes
SetEnv PATH={folder}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin
"""
SUDO = """#!/bin/sh
test "$1" = -n || exit 9
shift
echo "$@" >>{folder}/sudo.log
exec "$@"
"""
"""Stands for the program: says that it was called, and how."""


@dataclass(frozen=True)
class Hosts:
    """Where they are, and what lets one in."""

    addresses: tuple[str, ...]
    folder: Path
    key: Path
    known_hosts: Path
    marker: Path
    pids: tuple[int, ...]
    """Of each a process in its namespace."""

    def options(self) -> dict[str, str | bool]:
        """For the environment `ssh`."""
        return {
            "hosts": ",".join(f"root@{address}" for address in self.addresses),
            "key": str(self.key),
            "known_hosts": str(self.known_hosts),
            "marker": str(self.marker),
            "python": sys.executable,
            "directory": str(self.folder / "work"),
        }


def why_none() -> str | None:
    """Why there can be none here; None if there can."""
    if os.geteuid() != 0:
        return "servers in namespaces need root"
    if not Path(SSHD).exists() or shutil.which("ssh-keygen") is None:
        return "no SSH server is installed (packages openssh-server, openssh-client)"
    return hub.objection()


@contextlib.contextmanager
def ssh_hosts(count: int) -> Iterator[Hosts]:
    """While the block runs, this thread is in a network in which there are so many hosts."""
    processes: list[subprocess.Popen[bytes]] = []
    Path("/run/sshd").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ssh-hosts-") as made, hub.hub():
        folder = Path(made)
        for name in ("host_key", "user_key"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True
            )
        shutil.copy(folder / "user_key.pub", folder / "authorized_keys")
        addresses = tuple(hub.data_address(index) for index in range(count))
        kind, key = (folder / "host_key.pub").read_text().split()[:2]
        (folder / "known_hosts").write_text("".join(f"{address} {kind} {key}\n" for address in addresses))
        (folder / "marker").touch()
        (folder / "bin").mkdir()
        (folder / "bin" / "sudo").write_text(SUDO.format(folder=folder))
        (folder / "bin" / "sudo").chmod(0o755)
        try:
            for _ in addresses:
                processes.append(subprocess.Popen(["unshare", "--net", "--", "sleep", "infinity"]))
            ours = os.readlink(hub.THREAD_NAMESPACE)
            for process in processes:
                while os.readlink(f"/proc/{process.pid}/ns/net") == ours:
                    time.sleep(0.001)
            hub.connect([process.pid for process in processes])
            for index, address in enumerate(addresses):
                text = CONFIGURATION.format(address=address, folder=folder, index=index)
                (folder / f"sshd-{index}.conf").write_text(text)
                namespace = f"--net=/proc/{processes[index].pid}/ns/net"
                command = [SSHD, "-D", "-e", "-f", str(folder / f"sshd-{index}.conf")]
                with (folder / f"sshd-{index}.log").open("wb") as log:
                    processes.append(
                        subprocess.Popen(["nsenter", namespace, "--", *command], stdout=log, stderr=log)
                    )
            for index in range(count):
                while not (folder / f"sshd-{index}.pid").exists():
                    assert processes[count + index].poll() is None, (folder / f"sshd-{index}.log").read_text()
                    time.sleep(0.005)
            yield Hosts(
                addresses,
                folder,
                folder / "user_key",
                folder / "known_hosts",
                folder / "marker",
                tuple(process.pid for process in processes[:count]),
            )
        finally:
            for process in reversed(processes):
                process.kill()
                process.wait()


def main() -> None:
    """Entry point of the program."""
    with ssh_hosts(int(sys.argv[1])) as hosts:
        options = [
            word
            for name, value in hosts.options().items()
            for word in ("--environment-option", f"{name}={value}")
        ]
        sys.exit(subprocess.run([*sys.argv[2:], *options], check=False).returncode)


if __name__ == "__main__":
    main()
