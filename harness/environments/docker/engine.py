"""The Docker engine: how it is reached, what its refusals mean, and which of its things are ours.

Everything that a run makes in the engine carries the label of that run, so that it can be found and removed by
somebody who knows nothing but the run's key. The SDK blocks, so every call goes through a pool of threads of its own:
an engine that hangs can never take the threads that the rest of the harness uses.
"""

from __future__ import annotations

import asyncio
import functools
import os
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from harness.environments.environment import EnvironmentFailed

RUN_LABEL = "multiraft-harness.run"
"""On containers and networks: the key of the run that they belong to."""
FOLDER_LABEL = "multiraft-harness.folder"
"""On containers and networks: the run folder, for people."""
NODE_LABEL = "multiraft-harness.node"
IMAGE_LABEL = "multiraft-harness.image"

LONGEST_REMOVAL_S = 10.0
"""How long what belongs to a run is asked to go, again and again, before its removal has failed."""

PULSE_S = 1.0
"""How often an engine is asked whether it is there, while a run lasts."""

Answer = TypeVar("Answer")

_WAY_OUT = (
    "Start it (`systemctl start docker`; without an init system, as root, `.ci/docker-engine start` of a checkout), "
    "or name another engine of this machine by DOCKER_HOST=unix:///path/to/docker.sock"
)


class EngineRefused(EnvironmentFailed):
    """The engine answered, and said no. `status` is the HTTP status, `said` the engine's own words."""

    def __init__(self, doing: str, status: int | None, said: str) -> None:
        super().__init__(f"the Docker engine refused {doing}: {said}")
        self.status = status
        self.said = said


class EngineSilent(EnvironmentFailed):
    """The engine no longer answers."""


class EngineMiscounts(EnvironmentFailed):
    """The engine keeps a network that is empty, as it believes that somebody is in it."""


class Engine:
    """A connection to a Docker engine. `api` is the SDK's low-level client; call its methods through `call`."""

    def __init__(self, client: Any, info: Mapping[str, Any]) -> None:
        self.api = client.api
        self.info = info
        self._client = client
        self._threads = ThreadPoolExecutor(max_workers=16, thread_name_prefix="docker")
        self._jobs: set[Future[Any]] = set()
        """Calls under way. Cancelling whoever waits for one does not end it."""

    async def call(
        self, doing: str, function: Callable[..., Answer], *arguments: Any, **options: Any
    ) -> Answer:
        """The answer of a blocking SDK function. `doing` completes the sentence "the engine refused ...".

        Raises EngineRefused, or EngineSilent if the engine no longer answers.
        """
        job = self._threads.submit(translated, doing, function, *arguments, **options)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        return await asyncio.wrap_future(job)

    async def watch(self, gone: Callable[[str], None]) -> None:
        """Asks the engine whether it is there until it is not, and says so once.

        Containers may outlive their engine; nothing could be done to them any more, and a run would go on without
        faults.
        """
        while True:
            try:
                await self.call("asking whether it is there", self.api.ping)
            except EngineSilent as error:
                gone(str(error))
                return
            except EngineRefused:
                pass  # It is there.
            await asyncio.sleep(PULSE_S)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    async def remove_run(self, run_key: str) -> list[str]:
        """Remove every container and network of a run; returns what was removed, in words. Idempotent.

        Waits for calls under way first: one of them may be making a container that nobody waits for any more.
        Raises EnvironmentFailed if something is still there afterwards.
        """
        under_way = (asyncio.wrap_future(job) for job in list(self._jobs))
        await asyncio.gather(*under_way, return_exceptions=True)
        return await self.call("cleaning up", remove_run, self.api, run_key)


def translated(doing: str, function: Callable[..., Answer], *arguments: Any, **options: Any) -> Answer:
    """Calls, and turns what the SDK raises into EngineRefused, or EngineSilent with the way out."""
    import requests
    import urllib3
    from docker import errors  # type: ignore[import-untyped]

    silence = (
        errors.DockerException,
        requests.exceptions.RequestException,
        urllib3.exceptions.HTTPError,  # In the middle of an answer, as that to a build.
    )
    try:
        return function(*arguments, **options)
    except errors.APIError as error:
        raise EngineRefused(doing, error.status_code, str(error.explanation or error)) from error
    except silence as error:
        raise EngineSilent(
            f"the Docker engine no longer answers ({doing}: {_innermost(error)}). {_WAY_OUT}"
        ) from error


def connect(timeout_s: float = 60) -> Engine:
    """Reach the engine that DOCKER_HOST names, or the one of this machine. Blocks; raises EnvironmentFailed."""
    import docker
    import requests

    where = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    if not where.startswith(("unix://", "http+unix://")):
        raise EnvironmentFailed(
            f"the Docker engine at {where} is on another machine: data, logs and the clock file are shared with the "
            "containers by a folder of this one. Unset DOCKER_HOST, or run the harness there"
        )
    try:
        client = docker.from_env(timeout=timeout_s)
        info = client.info()
    except (docker.errors.DockerException, requests.exceptions.RequestException, OSError) as error:
        if "Permission denied" in str(error):
            raise EnvironmentFailed(
                f"the Docker engine at {where} refuses this user. Run as root, or join the group of the socket "
                "(`usermod -aG docker $USER`, then log in again)"
            ) from error
        raise EnvironmentFailed(
            f"no Docker engine answers at {where} ({_innermost(error)}). {_WAY_OUT}"
        ) from error
    if any("rootless" in option for option in info.get("SecurityOptions") or ()):
        client.close()
        raise EnvironmentFailed(
            f"the Docker engine at {where} runs without root, and its networks cannot be reached from this host: use "
            "an engine that runs as root, or `--environment local`"
        )
    return Engine(client, info)


def _innermost(error: BaseException) -> str:
    """The last reason in a chain of wrapped errors: `No such file or directory`, not five nested class names."""
    reasons = [one.strerror for one in _chain(error) if isinstance(one, OSError) and one.strerror]
    return str(reasons[-1]) if reasons else str(error)


def _chain(error: BaseException, depth: int = 0) -> Iterable[BaseException]:
    yield error
    if depth < 8:
        for inner in (*error.args, error.__cause__, error.__context__):
            if isinstance(inner, BaseException):
                yield from _chain(inner, depth + 1)


def run_key(token: str) -> str:
    """The short form of a run's token (see `LedgerHeader`): in labels, in names, in the names of chains."""
    return token[:12]


def labels(run_key: str, folder: str, **more: str) -> dict[str, str]:
    """The labels of everything that belongs to a run."""
    return {RUN_LABEL: run_key, FOLDER_LABEL: folder, **more}


def run_filter(run_key: str) -> dict[str, str]:
    return {"label": f"{RUN_LABEL}={run_key}"}


def remove_run(api: Any, run_key: str) -> list[str]:
    """See `Engine.remove_run`; blocks.

    The engine lets go of a removed container's place in its network after it has said that the container is gone, and
    refuses to remove the network until then ("has active endpoints"). So what is still there is asked for again, for at
    most `LONGEST_REMOVAL_S` seconds. Rarely it refuses for ever (seen with 20.10.24 on a busy machine); then
    `EngineMiscounts` is raised.
    """
    gone: list[str] = []
    deadline = time.monotonic() + LONGEST_REMOVAL_S
    pause_s = 0.05
    while True:
        found = _remove_once(api, run_key)
        gone += [thing for thing, refusal in found if refusal is None]
        containers = api.containers(all=True, filters=run_filter(run_key))
        networks = api.networks(filters=run_filter(run_key))
        left = [*map(_name, containers), *(network["Name"] for network in networks)]
        if not left:
            return gone
        if time.monotonic() > deadline:
            if (
                networks
                and not containers
                and not any(map(functools.partial(_holds_somebody, api), networks))
            ):
                raise EngineMiscounts(
                    f"the Docker engine keeps {', '.join(left)}, in which there is nobody any more: it has miscounted "
                    "the endpoints, which only its restart mends. The network does no harm"
                )
            refusals = "; ".join(f"{thing}: {refusal}" for thing, refusal in found if refusal is not None)
            raise EnvironmentFailed(
                f"could not remove {', '.join(left)} of run {run_key} within {LONGEST_REMOVAL_S} s: {refusals}"
            )
        time.sleep(pause_s)
        pause_s = min(1.0, 2 * pause_s)


def _remove_once(api: Any, run_key: str) -> list[tuple[str, str | None]]:
    """Ask once for the removal of each container and network of a run: each thing, and why it was refused if it was."""
    from docker import errors

    def removed(kind: str, name: str, remove: Callable[[], object]) -> tuple[str, str | None] | None:
        """The thing, and why it could not be removed; None if it was gone. Whether it *is* gone is looked at later."""
        try:
            remove()
        except errors.NotFound:
            return None
        except errors.APIError as error:
            return f"{kind} {name}", str(error.explanation)
        return f"{kind} {name}", None

    def remove_container(container: Mapping[str, Any]) -> tuple[str, str | None] | None:
        identity = container["Id"]
        return removed(
            "container", _name(container), lambda: api.remove_container(identity, force=True, v=True)
        )

    with ThreadPoolExecutor(max_workers=8) as threads:
        outcomes = list(threads.map(remove_container, api.containers(all=True, filters=run_filter(run_key))))
    for network in api.networks(filters=run_filter(run_key)):
        outcomes.append(
            removed("network", network["Name"], functools.partial(api.remove_network, network["Id"]))
        )
    return [outcome for outcome in outcomes if outcome is not None]


def _holds_somebody(api: Any, network: Mapping[str, Any]) -> bool:
    return bool(api.inspect_network(network["Id"])["Containers"])


def _name(container: Mapping[str, Any]) -> str:
    names = container.get("Names") or [container["Id"][:12]]
    return str(names[0]).lstrip("/")
