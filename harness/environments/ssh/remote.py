"""The far end of an SSH channel: runs one of our programs there, and carries its lines to and fro.

Run on a host as `python -m harness.environments.ssh.remote MODULE CLEANUP ARGUMENT...`. Our programs speak over an
inherited socket, and a channel is standard input and output; this page joins the two. When the channel closes, however
that comes, the program is told by its socket, is waited for, and then the commands of CLEANUP (JSON, a list of lists of
words) are run: rules that nobody wants any more are gone. Unless the program was told to `stay`.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading

END_TIMEOUT_S = 15.0


def main() -> None:
    """Entry point of the process."""
    module, cleanup, arguments = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3:]
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # When the session ends there is something to clean up.
    ours, theirs = socket.socketpair()
    child = subprocess.Popen(
        [sys.executable, "-m", module, str(theirs.fileno()), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        pass_fds=[theirs.fileno()],
    )
    theirs.close()

    def answers() -> None:
        while data := ours.recv(1 << 16):
            try:
                os.write(1, data)
            except OSError:
                break
        finish()

    stays = threading.Event()
    finished = threading.Lock()

    def finish() -> None:
        with finished:
            if not stays.is_set():
                try:
                    child.wait(END_TIMEOUT_S)
                except subprocess.TimeoutExpired:
                    child.kill()
                for command in cleanup:
                    subprocess.run(
                        command,
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL,
                        env={**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"},
                        check=False,
                    )
            os._exit(child.returncode or 0)

    threading.Thread(target=answers, daemon=True).start()
    while data := os.read(0, 1 << 16):
        if b'"verb":"stay"' in data:
            stays.set()
        try:
            ours.sendall(data)
        except OSError:
            break
    ours.shutdown(socket.SHUT_RDWR)
    finish()


if __name__ == "__main__":
    main()
