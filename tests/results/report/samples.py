"""Run folders as runs leave them, drawn from a seed: a valid bank, a stale register read, an unknown, a torn one."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from checkers.checker import Checker, Limits
from checkers.isolation.list_append import ListAppendChecker
from checkers.set_full import SetFullChecker
from results.history import History
from results.messages import Message
from results.operation import FAIL, INFO, INVOKE, OK, Operation, encode_lines
from results.run_folder import RunFolder
from results.verdict import INVALID, UNKNOWN, VALID, Anomaly, Verdict, merge

SECOND = 1_000_000_000
NODES = ["n1", "n2", "n3"]

SCENARIO = """seed = {seed}
workload = "{workload}"
system = "reference-db"
environment = "local"
nodes = 3
replication = 3
ranges = 8
nemesis = "partition,kill,pause"
time_limit = {seconds:.1f}
concurrency = "2n"
rate = 200.0

[workload_options]
keys = 4
"""


@dataclass
class Fault:
    fault: str
    shape: str | None
    targets: list[Any]
    start_s: float
    end_s: float
    skipped: str | None = None
    links: list[list[str]] = field(default_factory=list)

    def hurts(self, node: str, time_ns: int) -> bool:
        return (
            self.skipped is None
            and self.start_s * SECOND <= time_ns < self.end_s * SECOND
            and node in self.targets
        )


FAULTS = [
    Fault("partition", "one-way", ["n1"], 8, 14, links=[["n2", "n1"], ["n3", "n1"]]),
    Fault("kill", None, ["n2"], 18, 23.5),
    Fault("pause", None, ["n3"], 21, 27),
    Fault("kill", None, ["n2"], 22, 24, skipped="n2 is already down"),
    Fault(
        "partition",
        "majority",
        ["n1"],
        38,
        47,
        links=[["n1", "n2"], ["n1", "n3"], ["n2", "n1"], ["n3", "n1"]],
    ),
    Fault("pause", None, ["n1"], 50, 54),
]


@dataclass
class Sketch:
    """Events with times, put in order and numbered at the end."""

    events: list[tuple[int, dict[str, Any]]] = field(default_factory=list)

    def add(
        self, time_ns: int, process: int | str, type_: str, f: str, value: Any = None, **more: Any
    ) -> int:
        """Keeps an event and says where, so that its index can be found later."""
        self.events.append((time_ns, {"process": process, "type": type_, "f": f, "value": value, **more}))
        return len(self.events) - 1

    def operations(self) -> tuple[list[Operation], dict[int, int]]:
        """The history, and for each kept event its index."""
        order = sorted(range(len(self.events)), key=lambda position: (self.events[position][0], position))
        places = {position: index for index, position in enumerate(order)}
        operations = [
            Operation(index=index, time=self.events[position][0], **self.events[position][1])
            for index, position in enumerate(order)
        ]
        return operations, places

    def add_faults(self, faults: list[Fault]) -> None:
        for step, fault in enumerate(faults):
            plan = {"how": f"leader of r{step}", "links": fault.links, "draw": 3941}
            value = {
                "step": step,
                "fault": fault.fault,
                "shape": fault.shape,
                "target": "leader",
                "plan": plan,
            }
            start, end = int(fault.start_s * SECOND), int(fault.end_s * SECOND)
            self.add(start, "nemesis", INVOKE, "start", value)
            done = {
                **value,
                "targets": fault.targets,
                "took_effect": fault.skipped is None,
                "skipped": fault.skipped,
                "evidence": {
                    "took_effect": fault.skipped is None,
                    "probes": [
                        {
                            "what": f"ping {target}",
                            "before": "answered in 0.4 ms",
                            "after": "no answer in 500 ms",
                            "proves": True,
                        }
                        for target in fault.targets
                    ],
                },
            }
            self.add(start + 480_000_000, "nemesis", INFO, "start", done)
            if fault.skipped is None:
                self.add(end, "nemesis", INVOKE, "stop", value)
                self.add(end + 120_000_000, "nemesis", INFO, "stop", {**done, "healed": True})


def _clients(sketch: Sketch, stream: random.Random, seconds: float, rate: float, workload: str) -> None:
    """Open-loop clients: those of a hurt node get errors and timeouts, the others are a little slower."""
    processes = list(range(6))
    free_at = [0] * 6
    next_number = 6
    accounts = {f"a{i}": 100 for i in range(8)}
    counter = 0
    registers = {key: 0 for key in range(4)}
    time = 0
    while (time := time + int(stream.expovariate(rate) * SECOND)) < seconds * SECOND:
        thread = min(range(6), key=lambda candidate: (free_at[candidate], candidate))
        start = max(time + stream.randrange(40_000, 200_000), free_at[thread] + 20_000)
        if start >= seconds * SECOND:
            break
        process, node = processes[thread], NODES[thread % 3]
        hurt = any(fault.hurts(node, start) for fault in FAULTS)
        fault_somewhere = any(fault.start_s * SECOND <= start < fault.end_s * SECOND for fault in FAULTS)
        latency = int(stream.lognormvariate(14.6 if fault_somewhere else 14.2, 0.45))
        kind = stream.choices([OK, FAIL, INFO], [0.55, 0.3, 0.15] if hurt else [0.995, 0.004, 0.001])[0]
        if hurt:
            latency *= stream.choice([1, 3, 9])
        if kind == INFO:
            latency = 5 * SECOND
        error = None if kind == OK else ["timeout", "no reply in 5 s"] if kind == INFO else ["refused", node]
        more: dict[str, Any] = {"node": node, "intended": time}
        if workload == "bank":
            f = "read" if stream.random() < 0.5 else "transfer"
            source, target = stream.sample(sorted(accounts), 2)
            amount = stream.randrange(1, 6)
            value: Any = None if f == "read" else {"from": source, "to": target, "amount": amount}
            answer: Any = None
            if f == "read":
                answer = dict(accounts) if kind == OK else None
            elif kind == OK and accounts[source] >= amount:
                accounts[source] -= amount
                accounts[target] += amount
                answer = value
            elif kind == OK:
                kind, error = FAIL, ["insufficient", f"{source} holds {accounts[source]}"]
        else:
            key = stream.randrange(4)
            f = stream.choice(["read", "write", "cas"])
            counter += 1
            value = {"read": [key, None], "write": [key, counter], "cas": [key, [registers[key], counter]]}[f]
            answer = [key, registers[key]] if f == "read" else value
            if kind == OK and f != "read":
                registers[key] = counter
        end = start + latency
        sketch.add(start, process, INVOKE, f, value, **more)
        sketch.add(end, process, kind, f, answer if kind == OK else value, error=error)
        free_at[thread] = end
        if kind == INFO:
            processes[thread], next_number = next_number, next_number + 1


def _final_reads(sketch: Sketch, seconds: float, f: str) -> None:
    start = max(time for time, _ in sketch.events) + 2 * SECOND
    for phase in ("main", "final"):
        lag = {"samples": 12000, "median_ns": 21_000, "p99_ns": 410_000, "max_ns": 3_100_000}
        drive = {
            "phase": phase,
            "late": 12,
            "no_client": 31,
            "invalid_completions": 0,
            "loop_lag": lag,
            "stopped": None,
        }
        sketch.add(start + SECOND, "harness", INFO, "drive", drive)
    heal = {"healed": ["n1 resumed"], "failed": [], "problems": []}
    sketch.add(start - SECOND - 1, "harness", INFO, "heal", heal)
    sketch.add(int(seconds * SECOND), "harness", INFO, "phase", "heal")
    sketch.add(start - SECOND, "harness", INFO, "phase", "final")
    for process in range(1000, 1003):
        at = start + process % 3 * 3_000_000
        sketch.add(at, process, INVOKE, f, [0, None], node=NODES[process % 3], phase="final")
        sketch.add(at + 2_500_000, process, OK, f, [0, 0])


def write_folder(
    root: Path,
    workload: str,
    operations: list[Operation],
    verdict: Verdict | None,
    *,
    seconds: float = 60,
    logs: bool = True,
) -> RunFolder:
    """A run folder with these events and this verdict."""
    folder = RunFolder.create(root, workload)
    folder.write_scenario(SCENARIO.format(seed=7, workload=workload, seconds=seconds))
    folder.write_environment(
        {
            "python": "3.11.2",
            "kernel": "6.1.0",
            "harness": {"version": "0.1.0", "commit": "0123abc", "modified": False},
        }
    )
    folder.history_path.write_bytes(encode_lines(operations))
    if verdict is not None:
        folder.write_verdict(verdict)
    if logs:
        for node in NODES:
            lines = "".join(f"2026-01-01T00:00:{i % 60:02} INFO raft: tick {i}\n" for i in range(2000))
            (folder.node_dir(node) / "node.log").write_text(lines)
    return folder


def with_leaders(root: Path, folder: RunFolder, changes: list[dict[str, Any]]) -> RunFolder:
    """The same run, of which it is known who led which range when, and what clocks showed when it began."""
    value = {"began_wall_ns": 1_767_225_600 * SECOND, "changes": changes}
    return with_event(root, folder, "log", "leaders", value)


def with_event(root: Path, folder: RunFolder, process: str, f: str, value: Any) -> RunFolder:
    """The same run with one more event at its end."""
    operations = list(folder.read_history().operations)
    operations.append(Operation(len(operations), operations[-1].time, process, INFO, f, value))
    return write_folder(root, folder.id.rpartition("-")[2], operations, folder.read_verdict())


def with_messages(folder: RunFolder) -> RunFolder:
    """The same run, simulated: heartbeats and their answers every 50 ms around the stale read, cut off in between."""
    messages = []
    for at_ms in range(10_000, 11_000, 50):
        for node in ("n1", "n2"):
            sent = at_ms * 1_000_000 + (0 if node == "n1" else 300_000)
            lost = node == "n1" and at_ms >= 10_500
            messages.append(
                Message(
                    sent, "n3", node, "heartbeat", None if lost else sent + 400_000, node[1:], 3, "commit 7"
                )
            )
            if not lost:
                answer = Message(
                    sent + 500_000, node, "n3", "heartbeat response", sent + 900_000, node[1:], 3
                )
                messages.append(answer)
    request = "#7 Get <script>alert(1)</script> \u202e"
    messages.append(Message(10_990_000_000, "client", "n1", "request", 10_991_000_000, text=request))
    messages.sort(key=lambda one: one.sent_ns)
    folder.write_messages(len(messages) + 1000, messages)
    return folder


def _part(checker: str, sentence: str, outcome: str = VALID, **more: Any) -> Verdict:
    return Verdict(outcome, checker, sentence, **more)


def valid_bank(root: Path, seconds: float = 60, rate: float = 200) -> RunFolder:
    sketch = Sketch()
    sketch.add(0, "harness", INFO, "phase", "main")
    _clients(sketch, random.Random(7), seconds, rate, "bank")
    sketch.add_faults(FAULTS)
    _final_reads(sketch, seconds, "read")
    verdict = merge(
        "bank run",
        [
            _part("bank", "5,881 reads of all 8 accounts: each total is 800, and no balance is negative"),
            _part("stats", "read and transfer each succeeded in the main phase"),
            _part("faults-took-effect", "partition, kill and pause each took effect"),
            _part("availability", "93.1 % of the operations ended with ok", details={"ok": 10234}),
        ],
    )
    return write_folder(root, "bank", sketch.operations()[0], verdict, seconds=seconds)


def stale_register(root: Path) -> RunFolder:
    """A leader behind a partition answers a read with an old value."""
    sketch = Sketch()
    sketch.add(0, "harness", INFO, "phase", "main")
    _clients(sketch, random.Random(11), 60, 200, "register")
    sketch.add_faults(FAULTS)
    at = int(10.4 * SECOND)
    evidence = [
        sketch.add(at, 501, INVOKE, "write", [3, 90001], node="n2"),
        sketch.add(at + 4_200_000, 501, OK, "write", [3, 90001]),
        sketch.add(at + 6_000_000, 502, INVOKE, "read", [3, None], node="n3"),
        sketch.add(at + 9_100_000, 502, OK, "read", [3, 90001]),
        sketch.add(at + 11_000_000, 503, INVOKE, "read", [3, None], node="n1"),
        sketch.add(at + 12_300_000, 503, OK, "read", [3, 88]),
    ]
    for number, line in enumerate(["lost contact with n2", "n1 is no longer leader of range 3"]):
        value = {"node": "n1", "line": 100 + number, "text": line}
        sketch.add(at + (number + 2) * SECOND, "log", INFO, "log", value)
    _final_reads(sketch, 60, "read")
    operations, places = sketch.operations()
    anomaly = Anomaly(
        "stale read",
        "process 503 read 88 from key 3 at 10.412 s, although write 90001 had been acknowledged at 10.404 s and "
        "process 502 had read it: no order of these operations that respects their times explains it",
        [places[position] for position in evidence],
        key=3,
        evidence={"window": "10.400 s to 10.412 s", "states tried": 14},
    )
    verdict = merge(
        "register run",
        [
            _part(
                "linearizability",
                "key 3 is not linearizable; the other 3 keys are",
                INVALID,
                anomalies=[anomaly],
                details={"keys": 4, "states": 18200},
            ),
            _part("stats", "read, write and cas each succeeded in the main phase"),
            _part("faults-took-effect", "partition, kill and pause each took effect"),
        ],
    )
    return write_folder(root, "register", operations, verdict)


Call = tuple[int, int, int, str, Any, Any]
"""Process, start and end in milliseconds, function, what is asked and what is answered."""


def _judged(root: Path, workload: str, calls: list[Call], checker: Checker) -> RunFolder:
    """A short run with a partition, with the verdict that the real checker has about it."""
    sketch = Sketch()
    sketch.add(0, "harness", INFO, "phase", "main")
    for process, start, end, f, asked, answered in calls:
        sketch.add(start * 1_000_000, process, INVOKE, f, asked, node=NODES[process % 3])
        sketch.add(end * 1_000_000, process, OK, f, answered)
    sketch.add_faults([Fault("partition", "one-way", ["n1"], 0.1, 2, links=[["n2", "n1"]])])
    operations = sketch.operations()[0]
    verdict = checker.check(History(operations), Limits())
    return write_folder(root, workload, operations, merge(f"{workload} run", [verdict]), seconds=3)


def g1c_cycle(root: Path) -> RunFolder:
    """Each of two transactions saw what the other one appended."""
    calls: list[Call] = [
        (0, 700, 800, "txn", [["append", 1, 1], ["r", 2, None]], [["append", 1, 1], ["r", 2, [5]]]),
        (1, 710, 805, "txn", [["append", 2, 5], ["r", 1, None]], [["append", 2, 5], ["r", 1, [1]]]),
        (2, 2500, 2510, "txn", [["r", 1, None], ["r", 2, None]], [["r", 1, [1]], ["r", 2, [5]]]),
    ]
    return _judged(root, "list-append", calls, ListAppendChecker("serializable"))


def g_single_cycle(root: Path) -> RunFolder:
    """A transaction saw one append of another transaction, and missed the other append."""
    calls: list[Call] = [
        (0, 700, 800, "txn", [["append", 1, 1], ["append", 2, 5]], [["append", 1, 1], ["append", 2, 5]]),
        (1, 710, 805, "txn", [["r", 1, None], ["r", 2, None]], [["r", 1, []], ["r", 2, [5]]]),
        (2, 2500, 2510, "txn", [["r", 1, None], ["r", 2, None]], [["r", 1, [1]], ["r", 2, [5]]]),
    ]
    return _judged(root, "list-append", calls, ListAppendChecker("snapshot-isolation"))


def lost_element(root: Path) -> RunFolder:
    """Of three acknowledged elements one is gone in the end."""
    calls: list[Call] = [
        (0, 700, 710, "add", 1, 1),
        (1, 720, 730, "add", 2, 2),
        (0, 740, 750, "read", None, [1, 2]),
        (2, 800, 830, "add", 3, 3),
        (0, 2500, 2510, "read", None, [1, 3]),
        (1, 2600, 2610, "read", None, [1, 3]),
    ]
    return _judged(root, "set", calls, SetFullChecker())


def unknown_register(root: Path) -> RunFolder:
    """The search ran out of time, and a checker broke."""
    sketch = Sketch()
    _clients(sketch, random.Random(13), 20, 200, "register")
    verdict = merge(
        "register run",
        [
            _part("linearizability", "key 2: gave up after 60 s and 1,204,311 states; 3 keys hold", UNKNOWN),
            _part(
                "set-full",
                "broke: KeyError: 'elements'",
                UNKNOWN,
                details={"traceback": "Traceback (most recent call last):\n  ...\nKeyError: 'elements'"},
            ),
            _part("faults-took-effect", "no fault was asked for"),
        ],
    )
    return write_folder(root, "register", sketch.operations()[0], verdict, seconds=20)


def interrupted(root: Path) -> RunFolder:
    """Killed in the middle of a write, while faults were active and operations open."""
    sketch = Sketch()
    _clients(sketch, random.Random(17), 12, 200, "bank")
    sketch.add_faults(FAULTS[:1])
    operations = [operation for operation in sketch.operations()[0] if operation.time < 11 * SECOND]
    folder = write_folder(root, "bank", operations, None)
    with folder.history_path.open("ab") as file:
        file.write(b'{"index":99999,"time":110000')
    return folder


HOSTILE = (
    "</script><img src=x onerror=alert(1)><!-- \u2028\u2029 \u202eevil\u202c \x00\x1b[31m \ufeff & &amp; '\""
)


def hostile(root: Path) -> RunFolder:
    """Everything that a client, a node, a checker or a scenario can write tries to be markup."""
    sketch = Sketch()
    text = HOSTILE
    for number in range(40):
        at = number * 10_000_000
        value = text * 10 if number % 2 else {text: [text, number]}
        sketch.add(at, number, INVOKE, text, value, node=text)
        sketch.add(at + 5_000_000, number, FAIL, text, value, error=[text, "x" * 100_000 + text])
    sketch.add_faults([Fault(text, text, [text, "n1->" + text], 0.1, 0.2)])
    sketch.add(15_000_000, "log", INFO, "log", {"node": text, "line": 1, "text": text})
    sketch.add(16_000_000, "harness", INFO, "phase", text)
    operations, _ = sketch.operations()
    anomaly = Anomaly(text, text, [0, 5, 10**9, -3], key=text, evidence={text: text})
    verdict = Verdict(INVALID, text, text, anomalies=[anomaly], details={text: text, "traceback": text})
    folder = write_folder(root, "register", operations, verdict, logs=False)
    folder.write_environment({text: text, "command": text})
    (folder.node_dir("n1") / "<b>&.log").write_text(text)
    return folder
