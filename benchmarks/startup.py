"""How long `harness --help` and `harness test --help` take, as whole processes: median of many. Budget: 0.3 s."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

BUDGET_S = 0.3


def main(rounds: int = 15) -> int:
    """Prints a table; exit code 1 above the budget."""
    over = False
    print(f"{'command':24} {'median':>9} {'slowest':>9}   budget {BUDGET_S:g} s")
    for words in (["--help"], ["test", "--help"], ["--version"]):
        times = []
        for _ in range(rounds):
            began = time.perf_counter()
            subprocess.run([sys.executable, "-m", "harness", *words], check=True, stdout=subprocess.DEVNULL)
            times.append(time.perf_counter() - began)
        median = statistics.median(times)
        over = over or median > BUDGET_S
        judged = "OVER" if median > BUDGET_S else "ok"
        print(f"harness {' '.join(words):16} {median:7.3f} s {max(times):7.3f} s   {judged}")
    return int(over)


if __name__ == "__main__":
    raise SystemExit(main())
