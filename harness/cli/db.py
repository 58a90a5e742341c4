"""`harness db`: run the reference database for people: start, status, shell, stop."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from harness.environments.environment import Addresses
    from harness.systems.reference_db import ReferenceDatabase, ReferenceSession, ReferenceTransaction

DEFAULT_FOLDER = Path("runs/db")
STATE_FILE = "cluster.json"
READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0

T = TypeVar("T")

SHELL_HELP = """\
get KEY                    put KEY VALUE             delete KEY
cas KEY EXPECTED NEW       scan [START [END]]        status
split KEY                  merge KEY
begin                      commit                    rollback
help                       quit
Values are JSON where they can be read as such (1, true, [1, 2], null), else text. In `cas`, null stands for a key that
does not exist. Between begin and commit, get, put and delete belong to the transaction."""


@dataclass(frozen=True)
class RunningNode:
    """One node of a cluster that was started for people."""

    name: str
    pid: int
    started: str
    """When the process started, as the system tells it: together with the pid it names the process for ever."""
    client: tuple[str, int]
    peer: tuple[str, int]

    @property
    def addresses(self) -> Addresses:
        return {"client": self.client, "peer": self.peer}

    def is_running(self) -> bool:
        from harness.environments.processes import ProcessIdentity, is_running

        return is_running(ProcessIdentity(self.pid, self.started))


folder_option = click.option(
    "--folder",
    default=DEFAULT_FOLDER,
    type=click.Path(path_type=Path),
    show_default=True,
    help="Where the cluster keeps its data, logs and addresses.",
)


@click.group(name="db")
def command() -> None:
    """Run the reference database for people: start, status, shell, stop."""


@command.command()
@folder_option
@click.option("--nodes", default=3, show_default=True, type=click.IntRange(1, 9), help="How many nodes.")
@click.option("--ranges", default=8, show_default=True, type=click.IntRange(1, 1024), help="How many ranges.")
@click.option(
    "--replication", default=3, show_default=True, type=click.IntRange(1, 9), help="Replicas of a range."
)
@click.option("--defect", default=None, help="Plant this defect in every node.")
@click.option(
    "--port", default=0, type=click.IntRange(0, 65000), help="First of two ports a node; 0: any free ones."
)
def start(folder: Path, nodes: int, ranges: int, replication: int, defect: str | None, port: int) -> None:
    """Start a cluster on this machine, or start its stopped nodes again on the data they have."""
    from harness.environments.environment import NodePlan
    from harness.environments.processes import identify

    known = load(folder)
    if known is not None:
        layout, members = known
        if (nodes, ranges, replication) != (layout["nodes"], layout["ranges"], layout["replication"]):
            click.echo(f"{folder} holds a cluster of {layout['nodes']} nodes; its layout is kept")
    else:
        layout = {"nodes": nodes, "ranges": ranges, "replication": min(replication, nodes)}
        names = [f"n{number}" for number in range(1, nodes + 1)]
        ports = list(range(port, port + 2 * nodes)) if port else free_ports(2 * nodes)
        members = [
            RunningNode(name, 0, "", ("127.0.0.1", ports[2 * at]), ("127.0.0.1", ports[2 * at + 1]))
            for at, name in enumerate(names)
        ]
    try:
        system = make_system(layout, defect)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    folder.mkdir(parents=True, exist_ok=True)
    started: list[RunningNode] = []
    for at, member in enumerate(members):
        if member.pid and member.is_running():
            started.append(member)
            continue
        data_dir = (folder / member.name).resolve()
        data_dir.mkdir(exist_ok=True)
        plan = NodePlan(
            name=member.name,
            index=at,
            data_dir=data_dir,
            log_path=data_dir / "log",
            listen=member.addresses,
            reach={other.name: other.addresses for other in members if other.name != member.name},
        )
        launch = system.launch(plan, tuple(other.name for other in members))
        for name, content in launch.files.items():
            (data_dir / name).write_bytes(content)
        with plan.log_path.open("ab") as log:
            process = subprocess.Popen(
                list(launch.argv),
                env={**os.environ, **launch.env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        identity = identify(process.pid)
        started.append(
            RunningNode(
                member.name, process.pid, identity.started if identity else "", member.client, member.peer
            )
        )
        save(folder, layout, [*started, *members[at + 1 :]])
    save(folder, layout, started)
    run(wait_ready(system, started))
    for member in started:
        click.echo(f"{member.name}  process {member.pid}  clients at {member.client[0]}:{member.client[1]}")
    click.echo(f"data and logs are in {folder}; `harness db shell`, `harness db status`, `harness db stop`")


@command.command()
@folder_option
def status(folder: Path) -> None:
    """Show nodes, ranges and who leads them."""
    layout, members = get(folder)
    system = make_system(layout)
    for line in run(describe(system, members)):
        click.echo(line)


@command.command()
@folder_option
@click.option("--node", default=None, help="The node to connect to; by default the first that runs.")
@click.option("-c", "--command", "commands", multiple=True, help="Carry out this and end; may be repeated.")
def shell(folder: Path, node: str | None, commands: tuple[str, ...]) -> None:
    """Type requests: get, put, cas, scan, transactions; `help` lists them."""
    layout, members = get(folder)
    system = make_system(layout)
    running = [member for member in members if member.is_running() and node in (None, member.name)]
    if not running:
        raise click.ClickException(
            f"no node {node or 'at all'} of {folder} is running; start it with `harness db start --folder {folder}`"
        )
    run(converse(system, running[0], members, commands))


@command.command()
@folder_option
@click.argument("key")
def split(folder: Path, key: str) -> None:
    """Cut the range of KEY in two before it, while clients go on."""
    reshape(folder, f"split {shlex.quote(key)}")


@command.command()
@folder_option
@click.argument("key")
def merge(folder: Path, key: str) -> None:
    """Merge the range of KEY with its right neighbour, while clients go on."""
    reshape(folder, f"merge {shlex.quote(key)}")


@command.command()
@folder_option
@click.option("--remove", is_flag=True, help="Remove the data as well.")
def stop(folder: Path, remove: bool) -> None:
    """Stop every node; the data stays unless --remove is given."""
    from harness.environments.processes import ProcessIdentity, end_process

    layout, members = get(folder)
    running = [member for member in members if member.is_running()]
    for member in running:
        os.kill(member.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while any(member.is_running() for member in running) and time.monotonic() < deadline:
        time.sleep(0.02)
    for member in running:
        end_process(ProcessIdentity(member.pid, member.started))
        click.echo(f"{member.name} stopped")
    if not running:
        click.echo("no node was running")
    if remove:
        for member in members:
            shutil.rmtree(folder / member.name, ignore_errors=True)
        (folder / STATE_FILE).unlink()
        click.echo(f"the data in {folder} was removed")
    else:
        save(folder, layout, members)


# What the commands share.


def reshape(folder: Path, wish: str) -> None:
    """Have ranges changed through the first node that runs."""
    layout, members = get(folder)
    running = [member for member in members if member.is_running()]
    if not running:
        raise click.ClickException(f"no node of {folder} is running; start it with `harness db start`")
    run(converse(make_system(layout), running[0], members, (wish,)))


def make_system(layout: dict[str, int], defect: str | None = None) -> ReferenceDatabase:
    """The database in this layout. Raises ValueError for a defect that does not exist."""
    from harness.systems.reference_db import ReferenceDatabase

    return ReferenceDatabase(ranges=layout["ranges"], replication=layout["replication"], defect=defect)


def load(folder: Path) -> tuple[dict[str, int], list[RunningNode]] | None:
    """Layout and nodes of the cluster in a folder; None if there is none."""
    try:
        state = json.loads((folder / STATE_FILE).read_text())
    except FileNotFoundError:
        return None
    members = [
        RunningNode(one["name"], one["pid"], one["started"], tuple(one["client"]), tuple(one["peer"]))
        for one in state["members"]
    ]
    return state["layout"], members


def get(folder: Path) -> tuple[dict[str, int], list[RunningNode]]:
    """The same, or an error that says how to start one."""
    known = load(folder)
    if known is None:
        raise click.ClickException(f"there is no cluster in {folder}; start one with `harness db start`")
    return known


def save(folder: Path, layout: dict[str, int], members: list[RunningNode]) -> None:
    """Remember the cluster."""
    state = {
        "layout": layout,
        "members": [
            {"name": one.name, "pid": one.pid, "started": one.started, "client": one.client, "peer": one.peer}
            for one in members
        ],
    }
    path = folder / STATE_FILE
    path.with_suffix(".new").write_text(json.dumps(state, indent=1))
    path.with_suffix(".new").replace(path)


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end."""
    return asyncio.run(coroutine)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on at the moment."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


async def wait_ready(system: ReferenceDatabase, members: list[RunningNode]) -> None:
    """Wait until every node answers and knows all leaders. Raises ClickException with the log of one that ended."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    for member in members:
        while not await system.is_ready(member.addresses):
            if not member.is_running():
                raise click.ClickException(f"{member.name} ended at once; its log says why")
            if time.monotonic() > deadline:
                raise click.ClickException(f"{member.name} was not ready within {READY_TIMEOUT_S:g} s")
            await asyncio.sleep(0.05)


async def describe(system: ReferenceDatabase, members: list[RunningNode]) -> list[str]:
    """What `status` prints."""
    lines = []
    ranges: dict[int, dict[str, Any]] = {}
    for member in members:
        if not member.is_running():
            lines.append(f"{member.name}  down")
            continue
        try:
            state = await system.status(member.addresses)
        except (OSError, TimeoutError) as error:
            lines.append(f"{member.name}  process {member.pid} does not answer ({error or 'silent'})")
            continue
        counters = state["counters"]
        leads = sum(1 for one in state["ranges"] if one["leader"] == member.name)
        lines.append(
            f"{member.name}  process {member.pid}, clients at {member.client[0]}:{member.client[1]}, leads {leads} of "
            f"{len(state['ranges'])} ranges, {counters['syncs']} syncs, {counters['requests']} range requests"
        )
        for one in state["ranges"]:
            known = ranges.get(one["id"])
            if known is None or (one["term"], one["leader"] is not None) > (
                known["term"],
                known["leader"] is not None,
            ):
                ranges[one["id"]] = one
    if ranges:
        lines.append("range  leader  term  applied  keys from")
    for range_id, one in sorted(ranges.items()):
        start = one["start"] or "(start)"
        lines.append(
            f"{range_id:>5}  {one['leader'] or '-':<6}  {one['term']:>4}  {one['applied']:>7}  {start}"
        )
    return lines


async def converse(
    system: ReferenceDatabase, member: RunningNode, members: list[RunningNode], commands: tuple[str, ...]
) -> None:
    """Read requests, from `commands` or from the terminal, and answer them."""
    from workloads.session import SessionError

    session = await system.open_session(member.addresses, member.name)
    conversation = Conversation(session)
    if not commands:
        click.echo(f"connected to {member.name}; `help` lists what can be asked, `quit` ends")
    pending = list(commands)
    try:
        while True:
            if commands:
                if not pending:
                    return
                line = pending.pop(0)
            else:
                try:
                    line = await asyncio.to_thread(input, conversation.prompt)
                except (EOFError, KeyboardInterrupt):
                    click.echo()
                    return
            words = words_of(line)
            if not words:
                continue
            if words[0] in ("quit", "exit"):
                return
            if words[0] == "status":
                for described in await describe(system, members):
                    click.echo(described)
                continue
            try:
                answer = await conversation.ask(words)
            except SessionError as error:
                conversation.forget()
                sure = (
                    "certainly did not happen" if type(error).__name__ == "Definite" else "may have happened"
                )
                answer = f"{error} ({sure})"
            click.echo(answer)
    finally:
        await session.close()


def words_of(line: str) -> list[str]:
    """Words as a shell would split them; a line with an open quote as blanks would."""
    try:
        return shlex.split(line)
    except ValueError:
        return line.split()


def value_of(text: str) -> Any:
    """JSON where it can be read as such, else the text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


class Conversation:
    """Turns typed words into requests; knows whether a transaction is open."""

    def __init__(self, session: ReferenceSession) -> None:
        self._session = session
        self._transaction: ReferenceTransaction | None = None

    @property
    def prompt(self) -> str:
        return "db> " if self._transaction is None else "db (transaction)> "

    def forget(self) -> None:
        """An error ends the open transaction."""
        self._transaction = None

    async def ask(self, words: list[str]) -> str:
        """Carry out one request and say what came of it. Raises SessionError."""
        target = self._transaction if self._transaction is not None else self._session
        match words:
            case ["help"]:
                return SHELL_HELP
            case ["get", key]:
                return json.dumps(await target.get(key))
            case ["put", key, value]:
                await target.put(key, value_of(value))
                return "ok"
            case ["delete", key]:
                await target.delete(key)
                return "ok"
            case ["cas", key, expected, new] if self._transaction is None:
                done = await self._session.compare_and_set(key, value_of(expected), value_of(new))
                return "ok" if done else "not applied: the value was another"
            case ["scan", *span] if len(span) <= 2 and self._transaction is None:
                start, end = [*span, "", ""][:2]
                pairs = await self._session.scan(start, end, 0)
                return "\n".join(f"{key}  {json.dumps(value)}" for key, value in pairs) or "no keys"
            case ["merge", key] if self._transaction is None:
                return str(await self._session.merge(key))
            case ["split", key] if self._transaction is None:
                return "\n".join(map(str, await self._session.split(key)))
            case ["begin"] if self._transaction is None:
                transaction = self._session.transaction()
                await transaction.__aenter__()
                self._transaction = transaction
                return "ok"
            case ["commit"] if self._transaction is not None:
                transaction, self._transaction = self._transaction, None
                await transaction.__aexit__(None, None, None)
                return "ok"
            case ["rollback"] if self._transaction is not None:
                transaction, self._transaction = self._transaction, None
                await transaction.__aexit__(RuntimeError, RuntimeError(), None)
                return "ok"
            case _:
                return f"not understood: {' '.join(words)} (try `help`)"
