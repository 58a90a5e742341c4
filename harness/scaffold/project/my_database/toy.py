"""A toy database, to be replaced by yours: one node keeps the data in a file, the others pass requests on to it.

A request is a line of JSON: {"do": "get" | "put" | "delete" | "cas", "key": ..., "value": ..., "expected": ...}. So is
its reply: {"ok": ...}, or {"refused": why} if it certainly did nothing, or {"unknown": why}.

With --acknowledge early it replies before a write is on disk, and a kill loses what it has promised to keep.
"""

import argparse
import asyncio
import json
import os


class Store:
    """The data of the first node, and the file from which it comes back after a restart."""

    def __init__(self, path: str, early: bool) -> None:
        self.data: dict = {}
        self.early = early
        self.unwritten: list[str] = []
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                for line in file:
                    if line.endswith("\n"):
                        self.keep(json.loads(line))
        self.file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - for as long as the process lives

    def keep(self, change: dict) -> None:
        if change["value"] is None:
            self.data.pop(change["key"], None)
        else:
            self.data[change["key"]] = change["value"]

    def write(self, change: dict) -> None:
        """On disk first, then for everybody to see; unless it is to be early."""
        self.unwritten.append(json.dumps(change) + "\n")
        if not self.early:
            self.sync()
        self.keep(change)

    def sync(self) -> None:
        self.file.writelines(self.unwritten)
        self.unwritten.clear()
        self.file.flush()
        os.fsync(self.file.fileno())

    def answer(self, request: dict) -> dict:
        key, value = request["key"], request.get("value")
        match request["do"]:
            case "get":
                return {"ok": self.data.get(key)}
            case "put":
                self.write({"key": key, "value": value})
                return {"ok": True}
            case "delete":
                self.write({"key": key, "value": None})
                return {"ok": True}
            case "cas":
                if self.data.get(key) != request["expected"]:
                    return {"ok": False}
                self.write({"key": key, "value": value})
                return {"ok": True}
        return {"refused": f"cannot do {request['do']!r}"}


async def passed_on(line: bytes, host: str, port: int) -> bytes:
    """What the first node replies. Nobody knows what became of a request that has no reply."""
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError as error:
        return json.dumps({"refused": str(error)}).encode() + b"\n"
    try:
        writer.write(line)
        await writer.drain()
        reply = await reader.readline()
    except OSError as error:
        return json.dumps({"unknown": str(error)}).encode() + b"\n"
    finally:
        writer.close()
    return reply or b'{"unknown": "the first node hung up"}\n'


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", required=True, help="HOST:PORT")
    parser.add_argument("--data", required=True, help="file of the first node")
    parser.add_argument("--first", help="HOST:PORT of the first node; left out: it is this one")
    parser.add_argument("--acknowledge", choices=("durable", "early"), default="durable")
    given = parser.parse_args()
    early = given.acknowledge == "early"
    store = None if given.first else Store(given.data, early)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                if store is not None:
                    writer.write(json.dumps(store.answer(json.loads(line))).encode() + b"\n")
                else:
                    host, _, port = given.first.rpartition(":")
                    writer.write(await passed_on(line, host, int(port)))
                await writer.drain()
        except OSError:
            pass  # The client has gone.
        finally:
            writer.close()

    host, _, port = given.listen.rpartition(":")
    server = await asyncio.start_server(serve, host, int(port))
    print(f"listening on {given.listen}", flush=True)
    while server.is_serving():
        await asyncio.sleep(0.5)
        if store is not None and early:
            store.sync()


if __name__ == "__main__":
    asyncio.run(main())
