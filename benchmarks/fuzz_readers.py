"""Fuzzes the readers of history files: any bytes must give a history or an error that names a place, and soon.

    pip install atheris
    python -m benchmarks.fuzz_readers --seconds 600 [--format edn]

Each format is fuzzed for the time given, in a process of its own, from small samples. The reader runs interpreted, so
that atheris sees which branches an input takes; where the reader is a kernel and is compiled, the compiled form must
say the same. What could be read is judged too, by the model that the history looks like, in a tenth of a second. An
exception that is no answer is a finding: its input is printed, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable

SAMPLES = {
    "edn": [
        b'[{:process 0, :type :invoke, :f :write, :value [1 -2.5 nil "a\\n\\u0041" \\a #{1N 1/2}], :index 0}]',
        b"#jepsen.history.Op{:process 0 :type :ok :f :txn :value [[:append 1 2] [:r 3 [1]]]} #_ x ; c\n",
        b'^{:a 1} ({:process :nemesis :type :info :time 1e9 :key "k" :value ##NaN :error {[1] 2}})',
    ],
    "json": [
        b'[{"process":0,"type":"invoke","f":"read","value":null,"time":1.5,"index":0},{"process":0,"type":"ok"}]',
        b'{"process":0,"type":"invoke","value":[["append",1,-2e3]]}\n{"process":0,"type":"ok","value":{"a":"\\u00e4"}}\n',
    ],
    "jepsen-log": [
        b"INFO  jepsen.util - 0\t:invoke\t:cas\t[2 4]\nINFO  jepsen.util - 0\t:info\t:cas\t:timed-out\n",
        b"0\t:invoke\t:read\tnil\n0\t:ok\t:read\t3\t[:why]\n:nemesis\t:info\t:start\tnil\n",
    ],
    "sessions": [b"w 0 0\nw 1 0\n=====\nw 0 1\n-----\nr 0 1\n"],
    "isovista": [b"w(1,0,0,0)\nr(1,0,1,1)\nw(x,y,1,2)"],
    "micro-operations": [b"invoke 7 a 9 1 r 8 -\nok 7 a 9 1 r 8 1,2\nfail 5 w 1 2\n"],
}


def target(format_: str) -> Callable[[bytes], None]:
    """What is done with each input."""
    from checkers.checker import Limits
    from checkers.judge import Question, judge
    from checkers.registry import QuestionError
    from results import kernels
    from results.history import HistoryError
    from results.interchange import events_kernel
    from results.interchange.formats import read_text
    from results.interchange.places import FormatError

    interpreted = kernels.load_interpreted(events_kernel)
    limits = Limits(time_s=0.1, memory_mb=200)

    def spelt(kernel: object, data: bytes) -> tuple[object, ...]:
        reader = kernel.Reader(data, format_ == "json")  # type: ignore[attr-defined]
        into: list[object] = []
        try:
            reader.events(into)
        except FormatError as error:
            if not 0 <= error.offset <= len(data):
                raise AssertionError(f"{error.offset} is no place in {len(data)} bytes") from error
            return repr(into), error.reason, error.offset
        return repr(into), reader.indexed, reader.timed

    def one(data: bytes) -> None:
        if format_ in ("edn", "json"):
            ours = spelt(interpreted, data)
            if kernels.is_compiled(events_kernel):
                theirs = spelt(events_kernel, data)
                assert ours == theirs, f"interpreted {ours!r}, compiled {theirs!r}"
        for chosen in (format_, None):
            try:
                history = read_text(data, chosen).history
            except HistoryError:
                continue
            try:
                verdict = judge(history, Question(), limits)
            except (QuestionError, HistoryError):
                continue
            trace = verdict.details.get("traceback")
            assert trace is None or "Error: event" in trace, trace

    return one


def fuzz(format_: str, seconds: int) -> None:
    """Fuzzes one format in this process; does not return."""
    import tempfile

    import atheris

    with atheris.instrument_imports(include=["results.interchange"]):
        one = target(format_)
        for samples in SAMPLES.values():
            for sample in samples:
                one(sample)  # What is imported only now must not count as the time of an input.
    with tempfile.TemporaryDirectory(prefix="fuzz-") as corpus:
        for number, sample in enumerate(SAMPLES[format_]):
            with open(os.path.join(corpus, str(number)), "wb") as file:
                file.write(sample)
        options = [
            f"-max_total_time={seconds}",
            "-timeout=10",
            "-rss_limit_mb=3000",
            "-max_len=400",
            "-print_final_stats=1",
            f"-artifact_prefix={corpus}/",
        ]
        atheris.Setup([sys.argv[0], corpus, *options], lambda data: one(bytes(data)))
        atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=int, default=60, help="for each format")
    parser.add_argument("--format", choices=SAMPLES, help="only this one, in this process")
    arguments = parser.parse_args()
    if arguments.format is not None:
        fuzz(arguments.format, arguments.seconds)
        return 0
    worst = 0
    for format_ in SAMPLES:
        command = [
            sys.executable,
            "-m",
            "benchmarks.fuzz_readers",
            "--format",
            format_,
            "--seconds",
            str(arguments.seconds),
        ]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
        lines = done.stderr.splitlines()
        runs = next((line.split()[-1] for line in lines if "number_of_executed_units" in line), "?")
        print(f"{format_}: {runs} inputs, exit code {done.returncode}", flush=True)
        if done.returncode:
            print("\n".join(lines[-40:]))
            worst = 1
    return worst


if __name__ == "__main__":
    sys.exit(main())
