"""PostgreSQL as a system under test, at each of its isolation levels; or a server elsewhere that speaks its protocol.

The first node is a server, the others pass connections on to it (`relay.py`): a client of n2 depends on the link from
n2 to n1. With `address=HOST:PORT` all nodes pass connections on to a server that runs already, PostgreSQL, CockroachDB
or YugabyteDB; its life is none of ours, and what is broken is the way to it.

Keys and values are the rows of one table, made anew when a run begins. What a session says follows two rules: an error
that the server reports has rolled the statement or transaction back, but for those of classes that tell of the server's
or the connection's end; and before COMMIT is sent nothing has happened.
"""

from __future__ import annotations

import asyncio
import shlex
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from harness.environments import relay
from harness.environments.environment import CLIENT_PORT, Addresses, EnvironmentFailed, Launch, NodePlan
from harness.environments.relay import parse_address
from harness.systems.foreign import ForeignSystem, Setting
from workloads.session import (
    COMPARE_AND_SET,
    KEY_VALUE,
    SCAN,
    TRANSACTIONAL_SCAN,
    TRANSACTIONS,
    Definite,
    Indefinite,
    SessionError,
)

if TYPE_CHECKING:
    import psycopg

ISOLATIONS = ("serializable", "repeatable-read", "read-committed")
UNKNOWN_CLASSES = ("08", "57P", "58", "XX", "40003")
"""Beginnings of SQLSTATE of errors after which nobody knows: connection, operator intervention, system, internal,
statement completion unknown."""
CONFLICTS = ("40001", "40P01", "23505")
READY_TIMEOUT_S = 2.0
PORT = 5432
DEBIAN_PROGRAMS = "/usr/lib/postgresql/*/bin/postgres"
NO_PROGRAM = (
    "there is no program postgres where this node runs; install it (Debian: apt-get install postgresql), or give "
    "--system-option binary=PATH"
)


class PostgreSQL(ForeignSystem):
    """PostgreSQL 12 or later: one server, and relays to it; or a server at an address."""

    name = "postgresql"
    ports = (CLIENT_PORT,)
    debian_packages = ("postgresql",)
    """Its server is many files: an image gets them from Debian, a host has to have them."""
    refuses_root = True
    usual_ports: Mapping[str, int] = {CLIENT_PORT: 5432}
    interfaces = frozenset({KEY_VALUE, COMPARE_AND_SET, SCAN, TRANSACTIONS, TRANSACTIONAL_SCAN})
    log_patterns = (r"\bPANIC:", r"TRAP: ")
    known_settings: Mapping[str, Setting] = {
        "isolation": Setting("serializable", "the level of all transactions", ISOLATIONS),
        "address": Setting("", "HOST:PORT of a server that runs already; empty: one is started"),
        "user": Setting("postgres", "who logs in"),
        "password": Setting("", "its password, as env:NAME or file:PATH"),
        "database": Setting("postgres", "the database in which the table is made"),
        "sslmode": Setting("disable", "as in libpq", ("disable", "prefer", "require", "verify-full")),
        "binary": Setting(
            "", "path of the program postgres, beside which is initdb; empty: the newest of Debian's"
        ),
    }

    def __init__(self, **told: Any) -> None:
        super().__init__(**told)
        self._table = asyncio.Lock()
        self._table_made = False
        address = str(self.settings["address"])
        self.address = parse_address(address, PORT) if address else None

    # Nodes.

    def launch(self, plan: NodePlan, all_nodes: tuple[str, ...]) -> Launch:
        """The server, or a way to it."""
        listen = plan.listen[CLIENT_PORT]
        if self.address is None and plan.name == all_nodes[0]:
            return self._server(plan.data_dir / "server", listen)
        to = self.address or plan.reach[all_nodes[0]][CLIENT_PORT]
        program = Path(relay.__file__)
        argv = [
            sys.executable,
            str(plan.data_dir / program.name),
            "--listen",
            _text(listen),
            "--to",
            _text(to),
        ]
        return Launch(argv, files={program.name: program.read_bytes()})

    def _server(self, data_dir: Path, listen: tuple[str, int]) -> Launch:
        """The program is looked for where the node runs: here, in a container, or on another host."""
        options = {
            "listen_addresses": listen[0],
            "port": listen[1],
            "unix_socket_directories": "",
            "fsync": "on",
            "max_connections": 300,
            "restart_after_crash": "off",
        }
        flags = shlex.join(word for name, value in options.items() for word in ("-c", f"{name}={value}"))
        data, parent = shlex.quote(str(data_dir)), shlex.quote(str(data_dir.parent))
        binary = shlex.quote(str(self.settings["binary"]))
        serve = (
            # Made elsewhere: the many small writes of initdb would take ten times as long on a layer of FUSE. It
            # appears as a whole, so that a node that was killed meanwhile makes it anew.
            f'test -e {data} || {{ made=$(mktemp -d) && "$0/initdb" -D "$made/data" --no-sync '
            f"-U {shlex.quote(self.settings['user'])} --auth=trust --encoding=UTF8 --locale=C >/dev/null && "
            f'rm -rf {data}.new && cp -a "$made/data" {data}.new && rm -r "$made" && '
            f"find {data}.new -type f -exec sync {{}} + && mv {data}.new {data} && sync {parent}; }} || exit 1; "
            # Its nodes are reached by other addresses than loopback too.
            f"grep -q 'all all all' {data}/pg_hba.conf || echo 'host all all all trust' >>{data}/pg_hba.conf; "
            f'exec "$0/postgres" -D {data} {flags}'
        )
        script = (
            f"postgres={binary}; "
            f'test -n "$postgres" || postgres=$(ls {DEBIAN_PROGRAMS} 2>/dev/null | sort -V | tail -n 1); '
            'postgres=$(readlink -f "$(command -v "${postgres:-postgres}")") || '
            f'{{ echo "{NO_PROGRAM}" >&2; exit 1; }}; '
            f'set -- sh -c {shlex.quote(serve)} "${{postgres%/*}}"; '
            # It refuses to be root; who is gets a user namespace in which he has another name, as initdb asks for it.
            'test "$(id -u)" != 0 || set -- unshare --user --map-group=65534 '
            '--map-user="$(id -u postgres 2>/dev/null || id -u nobody)" -- "$@"; '
            'exec "$@"'
        )
        return Launch(["sh", "-c", script], {"LC_ALL": "C"})

    async def is_ready(self, address: Addresses) -> bool:
        """It answers, and the table is there. The first time, the table is made anew."""
        async with asyncio.timeout(READY_TIMEOUT_S), self._table:
            try:
                session = await self.open_session(address, "")
            except Definite as error:
                if "authentication failed" in error.text:
                    raise EnvironmentFailed(
                        f"postgresql: {error.text}; see the options user and password"
                    ) from error
                raise
            try:
                if not self._table_made:
                    await session.run("DROP TABLE IF EXISTS harness")
                    await session.run("CREATE TABLE harness (key text PRIMARY KEY, value text NOT NULL)")
                    self._table_made = True
                await session.get("ready")
                return True
            finally:
                await session.close()

    async def open_session(self, address: Addresses, node: str) -> PostgreSQLSession:
        """A connection through this node. Raises Definite where it cannot be made."""
        return PostgreSQLSession(self, *address[CLIENT_PORT], await self.connect(*address[CLIENT_PORT]))

    async def connect(self, host: str, port: int) -> psycopg.AsyncConnection[Any]:
        """Raises Definite where there is none to be had."""
        try:
            import psycopg

            from harness.systems.postgresql_connection import Connection
        except ImportError as error:
            raise EnvironmentFailed(
                "postgresql: the library psycopg is not installed; install psycopg and psycopg-binary"
            ) from error
        try:
            return await Connection.connect(
                host=host,
                port=port,
                user=self.settings["user"],
                password=self.secret("password"),
                dbname=self.settings["database"],
                sslmode=self.settings["sslmode"],
                gssencmode="disable",
                autocommit=True,
                prepare_threshold=None,
            )
        except (psycopg.Error, OSError) as error:
            raise Definite("refused", self.hidden(" ".join(str(error).split()))) from error

    def sorted_error(self, error: psycopg.Error) -> SessionError:
        """What the server has reported is rolled back; what it has not reported may have happened."""
        state, text = error.sqlstate, self.hidden(" ".join(str(error).split()))
        if state is None or state.startswith(UNKNOWN_CLASSES):
            return Indefinite("connection-lost" if state is None else f"sqlstate-{state}", text)
        return Definite("conflict" if state in CONFLICTS else f"sqlstate-{state}", text)


class Statements(ABC):
    """Calls as statements, alone or in a transaction."""

    @abstractmethod
    async def run(self, statement: str, *values: Any) -> tuple[list[tuple[Any, ...]], int]:
        """Its rows, and how many it has changed. Raises Definite or Indefinite."""

    async def get(self, key: str) -> Any:
        rows, _ = await self.run("SELECT value FROM harness WHERE key = %s", key)
        return msgspec.json.decode(rows[0][0]) if rows else None

    async def scan(self, start: str, end: str, limit: int) -> list[tuple[str, Any]]:
        """One statement is one snapshot."""
        interval = 'key COLLATE "C" >= %s AND key COLLATE "C" < %s ORDER BY key COLLATE "C" LIMIT %s'
        rows, _ = await self.run(f"SELECT key, value FROM harness WHERE {interval}", start, end, limit)
        return [(key, msgspec.json.decode(value)) for key, value in rows]

    async def put(self, key: str, value: Any) -> None:
        replaced = "ON CONFLICT (key) DO UPDATE SET value = excluded.value"
        await self.run(f"INSERT INTO harness VALUES (%s, %s) {replaced}", key, _json(value))

    async def delete(self, key: str) -> None:
        await self.run("DELETE FROM harness WHERE key = %s", key)


class PostgreSQLSession(Statements):
    """One connection; see `workloads.session` for what each call promises. A connection that a transaction has lost is
    made again by the next call, before that has asked anything."""

    interfaces = PostgreSQL.interfaces

    def __init__(
        self, system: PostgreSQL, host: str, port: int, connection: psycopg.AsyncConnection[Any]
    ) -> None:
        self._system = system
        self._place = (host, port)
        self._connection = connection
        self._closed = False

    async def close(self) -> None:
        """At once: the socket is closed, nothing is said to the server."""
        self._closed = True
        self._connection.pgconn.finish()

    async def drop(self) -> None:
        """The connection is in a state that nobody knows: the next call makes a new one."""
        self._connection.pgconn.finish()

    async def connected(self) -> None:
        """Raises Definite where there is no connection to be had."""
        if self._connection.closed:
            if self._closed:
                raise Definite("closed", "this session was closed")
            self._connection = await self._system.connect(*self._place)

    async def run(self, statement: str, *values: Any) -> tuple[list[tuple[Any, ...]], int]:
        await self.connected()
        return await self.execute(statement, *values)

    async def execute(self, statement: str, *values: Any) -> tuple[list[tuple[Any, ...]], int]:
        """On the connection that there is. Raises Definite or Indefinite; this is where it is decided."""
        import psycopg

        try:
            cursor = await self._connection.execute(statement, values or None)
            if statement == "COMMIT" and cursor.statusmessage != "COMMIT":
                raise Definite("rolled-back", f"the server answered COMMIT with {cursor.statusmessage}")
            return (await cursor.fetchall() if cursor.description else []), cursor.rowcount
        except psycopg.Error as error:
            raise self._system.sorted_error(error) from error

    async def compare_and_set(self, key: str, expected: Any, new: Any) -> bool:
        if expected is None:
            statement = "INSERT INTO harness VALUES (%s, %s) ON CONFLICT (key) DO NOTHING"
            return (await self.run(statement, key, _json(new)))[1] == 1
        statement = "UPDATE harness SET value = %s WHERE key = %s AND value = %s"
        return (await self.run(statement, _json(new), key, _json(expected)))[1] == 1

    def transaction(self) -> PostgreSQLTransaction:
        return PostgreSQLTransaction(self, str(self._system.settings["isolation"]).replace("-", " ").upper())


class PostgreSQLTransaction(Statements):
    """BEGIN to COMMIT. Whatever goes wrong before COMMIT is Definite: the server rolls back what has no COMMIT."""

    def __init__(self, session: PostgreSQLSession, isolation: str) -> None:
        self._session = session
        self._isolation = isolation

    async def __aenter__(self) -> PostgreSQLTransaction:
        await self._session.connected()
        await self.run(f"BEGIN ISOLATION LEVEL {self._isolation}")
        return self

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is None:
            await self._session.execute("COMMIT")
        elif issubclass(kind, Exception):
            try:
                await self._session.execute("ROLLBACK")
            except SessionError:
                await self._session.drop()

    async def append(self, key: str, element: Any) -> None:
        """In one statement: the row's lock is taken before its list is read."""
        joined = (
            "ON CONFLICT (key) DO UPDATE SET value = (harness.value::jsonb || excluded.value::jsonb)::text"
        )
        await self.run(f"INSERT INTO harness VALUES (%s, %s) {joined}", key, _json([element]))

    async def run(self, statement: str, *values: Any) -> tuple[list[tuple[Any, ...]], int]:
        try:
            return await self._session.execute(statement, *values)
        except Indefinite as error:
            raise Definite(error.kind, error.text) from error


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _text(address: tuple[str, int]) -> str:
    return f"{address[0]}:{address[1]}"
