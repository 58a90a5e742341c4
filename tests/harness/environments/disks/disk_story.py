"""One story of failing disks, told in every environment that has them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from harness.environments.disks.mounts import TABLE, mount_points


async def tell(cluster: Any, folder: Path) -> None:
    """A cluster that expected disk faults and is ready; `folder` is where this host sees the data of its n1."""

    def write(name: str, content: bytes, synced: bool) -> None:
        descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            os.write(descriptor, content)
            if synced:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    assert str(folder) in mount_points(TABLE.read_text())
    tails = set()
    for _ in range(12):
        (folder / "log").unlink(missing_ok=True)
        write("log", b"synced", True)
        write("log", b"not synced" * 100, False)
        evidence = await cluster.power_loss("n1")
        assert evidence.took_effect, evidence
        content = (folder / "log").read_bytes()
        assert "log" in os.listdir(folder), "files are listed, as a database does that starts again"
        assert content.startswith(b"synced"), "never a byte that was synced is lost"
        tails.add(len(content) - len(b"synced"))
        if len(tails) > 1:
            break
    assert len(tails) > 1, "what is not synced is lost at one time, and stays at another"
    assert (await cluster.start("n1")).took_effect
    for mode, share, delay_ms in (
        ("eio-sync", 0.3, 0.0),
        ("eio-write", 1.0, 0.0),
        ("full", 1.0, 0.0),
        ("slow", 1.0, 30.0),
        ("stall", 1.0, 0.0),
    ):
        evidence = await cluster.fail_disk("n1", mode, share, delay_ms)
        assert evidence.took_effect, evidence
    evidence = await cluster.kill("n1")
    assert evidence.took_effect, "a disk that stalls keeps nobody from dying"
    for damage in (cluster.flip_bits, cluster.truncate):
        evidence = await damage("n1")
        assert evidence.took_effect, evidence
    report = await cluster.heal_all()
    assert report.failed == (), report
    assert "healed the disk of n1" in report.healed
    assert (await cluster.kill("n1")).took_effect
    for damage in (cluster.lose_file, cluster.wipe):
        write("table", b"the log may have been cut off to nothing", True)
        evidence = await damage("n1")
        assert evidence.took_effect, evidence
    assert os.listdir(folder) == []
    assert (await cluster.start("n1")).took_effect
