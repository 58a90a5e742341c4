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
Layout = dict[str, Any]
"""How many `nodes` founded the cluster, `ranges`, `replication`; `options` of the database, `zones` of added nodes."""

SHELL_HELP = """\
get KEY                    put KEY VALUE             delete KEY
cas KEY EXPECTED NEW       scan [START [END]]        status
split KEY                  merge KEY
move RANGE FROM TO         transfer RANGE NODE
decommission NODE          recommission NODE
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
@click.option(
    "--metrics-port",
    default=0,
    type=click.IntRange(0, 65000),
    help="First of one port a node where Prometheus finds /metrics; 0: nowhere.",
)
@click.option(
    "--system-option",
    "system_option",
    multiple=True,
    metavar="NAME=VALUE",
    help="An option of the database, such as placement=on; kept with the cluster.",
)
def start(
    folder: Path,
    nodes: int,
    ranges: int,
    replication: int,
    defect: str | None,
    port: int,
    metrics_port: int,
    system_option: tuple[str, ...],
) -> None:
    """Start a cluster on this machine, or start its stopped nodes again on the data they have."""
    from harness.scenario import ScenarioError, parse_options

    known = load(folder)
    if known is not None:
        layout, members = known
        if system_option:
            click.echo(f"{folder} holds a cluster already; its system options are kept")
        if (nodes, ranges, replication) != (layout["nodes"], layout["ranges"], layout["replication"]):
            click.echo(f"{folder} holds a cluster of {layout['nodes']} nodes; its layout is kept")
    else:
        try:
            options = parse_options(system_option, "system option")
        except ScenarioError as error:
            raise click.UsageError(str(error)) from error
        layout = {
            "nodes": nodes,
            "ranges": ranges,
            "replication": min(replication, nodes),
            "options": options,
        }
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
        started.append(
            start_process(system, folder, layout, members, at, metrics_port + at if metrics_port else 0)
        )
        save(folder, layout, [*started, *members[at + 1 :]])
    save(folder, layout, started)
    run(wait_ready(system, started))
    for member in started:
        click.echo(f"{member.name}  process {member.pid}  clients at {member.client[0]}:{member.client[1]}")
    click.echo(f"data and logs are in {folder}; `harness db shell`, `harness db status`, `harness db stop`")


@command.command()
@folder_option
@click.option("--json", "in_json", is_flag=True, help="All that is known, as one JSON object.")
@click.option(
    "--most",
    default=50,
    show_default=True,
    type=click.IntRange(0),
    help="Ranges that are shown; 0: all of them.",
)
def status(folder: Path, in_json: bool, most: int) -> None:
    """Show nodes, counters, and of each range who leads it, who lags, leases and closed timestamps."""
    from harness.cli.db_status import as_json, as_tables

    layout, members = get(folder)
    cluster = run(describe(make_system(layout), members))
    click.echo(as_json(cluster) if in_json else as_tables(cluster, most))


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
@click.argument("range_id", metavar="RANGE", type=int)
@click.argument("source", metavar="FROM")
@click.argument("to", metavar="TO")
def move(folder: Path, range_id: int, source: str, to: str) -> None:
    """Move the replica of RANGE (its number) from one node to another, while clients go on."""
    reshape(folder, f"move {range_id} {shlex.quote(source)} {shlex.quote(to)}")


@command.command()
@folder_option
@click.argument("range_id", metavar="RANGE", type=int)
@click.argument("node")
def transfer(folder: Path, range_id: int, node: str) -> None:
    """Let NODE, which has a replica of RANGE (its number), lead it."""
    reshape(folder, f"transfer {range_id} {shlex.quote(node)}")


@command.command()
@folder_option
@click.option("--zone", default="", help="Where the node stands; see the system option zones.")
def add(folder: Path, zone: str) -> None:
    """Start one more node, which joins the running cluster and gets its share; needs placement=on."""
    layout, members = get(folder)
    if not any(member.is_running() for member in members):
        raise click.ClickException(f"no node of {folder} is running; start it with `harness db start`")
    name = f"n{len(members) + 1}"
    client, peer = (("127.0.0.1", port) for port in free_ports(2))
    zones = {**layout.get("zones", {}), name: zone}
    layout = {**layout, "zones": zones}
    members = [*members, RunningNode(name, 0, "", client, peer)]
    system = make_system(layout)
    members[-1] = start_process(system, folder, layout, members, len(members) - 1, 0)
    try:
        run(wait_ready(system, members[-1:]))
    except click.ClickException as error:
        end_of_log = (folder / name / "log").read_text(errors="replace").strip().splitlines()[-1:]
        raise click.ClickException("; ".join([str(error), *end_of_log])) from error
    save(folder, layout, members)
    click.echo(f"{name}  process {members[-1].pid}  clients at {client[0]}:{client[1]}")
    click.echo("it gets replicas once every other node counts it; `harness db status` shows how far that is")


@command.command()
@folder_option
@click.argument("node")
def decommission(folder: Path, node: str) -> None:
    """Move everything off NODE; it may be stopped once it is decommissioned (`status`). Needs placement=on."""
    reshape(folder, f"decommission {shlex.quote(node)}")


@command.command()
@folder_option
@click.argument("node")
def recommission(folder: Path, node: str) -> None:
    """Let NODE stay after all, if it has not gone yet."""
    reshape(folder, f"recommission {shlex.quote(node)}")


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


def make_system(layout: Layout, defect: str | None = None) -> ReferenceDatabase:
    """The database in this layout. Raises ValueError for a defect or an option that does not exist."""
    from harness.systems.reference_db import ReferenceDatabase

    for name, instead in (("cores", "one port each for clients and peers"), ("joiners", "harness db add")):
        if name in layout.get("options", {}):
            raise ValueError(
                f"system option {name} is for runs of the harness; nodes of harness db have {instead}"
            )
    return ReferenceDatabase(
        ranges=layout["ranges"],
        replication=layout["replication"],
        defect=defect,
        options=layout.get("options", {}),
    )


def start_process(
    system: ReferenceDatabase,
    folder: Path,
    layout: Layout,
    members: list[RunningNode],
    at: int,
    metrics_port: int,
) -> RunningNode:
    """Start the process of one member: of a founder, or of one that was added."""
    from harness.environments.environment import NodePlan
    from harness.environments.processes import identify

    member = members[at]
    data_dir = (folder / member.name).resolve()
    data_dir.mkdir(exist_ok=True)
    others = [other for other in members if other.name != member.name]
    plan = NodePlan(
        name=member.name,
        index=at,
        data_dir=data_dir,
        log_path=data_dir / "log",
        listen={
            **member.addresses,
            **({"metrics": ("127.0.0.1", metrics_port)} if metrics_port else {}),
        },
        reach={other.name: other.addresses for other in others},
    )
    founders = tuple(one.name for one in members[: layout["nodes"]])
    if member.name in founders:
        launch = system.launch(plan, founders)
    else:
        zone = layout.get("zones", {}).get(member.name, "")
        launch = system.launch_joining(plan, founders, [other.addresses for other in others], zone)
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
    started = identity.started if identity else ""
    return RunningNode(member.name, process.pid, started, member.client, member.peer)


def load(folder: Path) -> tuple[Layout, list[RunningNode]] | None:
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


def get(folder: Path) -> tuple[Layout, list[RunningNode]]:
    """The same, or an error that says how to start one."""
    known = load(folder)
    if known is None:
        raise click.ClickException(f"there is no cluster in {folder}; start one with `harness db start`")
    return known


def save(folder: Path, layout: Layout, members: list[RunningNode]) -> None:
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


async def describe(system: ReferenceDatabase, members: list[RunningNode]) -> dict[str, Any]:
    """What all nodes say about themselves, see `db_status`."""
    from harness.cli.db_status import ask_all, put_together

    return put_together(await ask_all(system, members), members)


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
                from harness.cli.db_status import as_tables

                click.echo(as_tables(await describe(system, members)))
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


def range_id_of(text: str) -> int:
    """The number of a range. Raises Definite for what is none."""
    from workloads.session import Definite

    if not text.isdecimal():
        raise Definite("bad-request", f"{text!r} is no range's number; `harness db status` lists them")
    return int(text)


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
            case ["move", one, source, to] if self._transaction is None:
                return str(await self._session.move(range_id_of(one), source, to))
            case ["transfer", one, node] if self._transaction is None:
                return str(await self._session.transfer(range_id_of(one), node))
            case ["decommission" | "recommission" as wish, node] if self._transaction is None:
                return await self._session.place(wish, node)
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
