"""The image of a system under test: what goes into it, the tag that names exactly that, and building it.

The build context holds the Dockerfile, `source/` (the system's own packages, as they are in this checkout), `packages/`
(the distributions it needs, unpacked) and `programs/` (a program of this host that it launches: one file, which has to
bring along what it needs, as those of Go do). The tag is a hash of all of it, so an image is built once and again
when something changed, and never by accident. The distributions are copied from the running interpreter where it is
the same Python as the image's (no network, under a second); otherwise pip on this host fetches wheels of the same
versions for the image's Python. So the build itself needs no network once the base has what the Dockerfile's first
step installs.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib.metadata
import importlib.util
import io
import json
import os
import platform
import re
import subprocess
import sys
import tarfile
import tempfile
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from harness.environments.docker.engine import IMAGE_LABEL, Engine, EngineRefused
from harness.environments.environment import EnvironmentFailed, Launch, Progress

DOCKERFILE = Path(__file__).with_name("Dockerfile")
SYSTEM_LABEL = "multiraft-harness.system"
STAGE_REPOSITORY = "multiraft-harness/base"
PROGRAMS = "/opt/programs"
"""Where the image keeps a program of this host."""
KEPT_IMAGES = 3
"""So many images of one system are kept, the newest ones: switching between branches should not mean building."""

_REQUIREMENT = re.compile(r"^\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(.*)$")
_LAYER = re.compile(r"---> ([0-9a-f]{12,64})")
_ABOUT_PYTHON = (
    "import json, platform, sys; print(json.dumps([sys.version_info[0], sys.version_info[1], "
    "sys.implementation.name, platform.machine(), platform.libc_ver()[0]]))"
)


@dataclass(frozen=True)
class Recipe:
    """What an image is made of."""

    system: str
    base_image: str
    sources: tuple[str, ...]
    """Top-level packages that are copied from where this interpreter finds them."""
    requirements: tuple[str, ...]
    """Distributions, pinned to the version of this interpreter's environment where it has them."""
    program: Path | None = None
    """A file of this host that is launched."""
    debian: tuple[str, ...] = ()
    """Packages that the build installs; it needs a Debian mirror then."""

    def tag(self) -> str:
        """`multiraft-harness/<system>:<hash>`; the hash covers every file and version that goes in."""
        digest = hashlib.sha256()
        for part in (DOCKERFILE.read_bytes(), repr((self.base_image, self.requirements)).encode()):
            digest.update(len(part).to_bytes(8, "big") + part)
        for name, content in source_files(self.sources):
            for part in (name.encode(), content):
                digest.update(len(part).to_bytes(8, "big") + part)
        digest.update(repr(self.debian).encode() if self.debian else b"")
        if self.program is not None:
            digest.update(self.program.name.encode() + self.program.read_bytes())
        return f"{repository(self.system)}:{digest.hexdigest()[:16]}"

    def stage_tag(self) -> str:
        """The tag of the Dockerfile's first stage, which all systems on this base share."""
        content = DOCKERFILE.read_bytes() + b"\0" + self.base_image.encode()
        return f"{STAGE_REPOSITORY}:{hashlib.sha256(content).hexdigest()[:16]}"


@dataclass(frozen=True)
class TargetPython:
    """The Python of an image, which wheels must fit."""

    major: int
    minor: int
    implementation: str
    machine: str
    libc: str

    def is_like_ours(self) -> bool:
        """Whether what is installed for this interpreter runs there unchanged."""
        return sys.platform == "linux" and self == TargetPython(
            sys.version_info[0],
            sys.version_info[1],
            sys.implementation.name,
            platform.machine(),
            platform.libc_ver()[0],
        )

    def pip_options(self) -> list[str]:
        """How pip is told to choose wheels for it."""
        platforms = [f"manylinux_2_{minor}_{self.machine}" for minor in (36, 35, 34, 31, 28, 24, 17, 12, 5)]
        platforms += [f"manylinux2014_{self.machine}", f"manylinux2010_{self.machine}"]
        chosen = [word for name in platforms for word in ("--platform", name)]
        return [*chosen, "--python-version", f"{self.major}.{self.minor}", "--implementation", "cp"]


def repository(system: str) -> str:
    """The image's name without its tag; Docker wants lower case and few other characters."""
    return f"multiraft-harness/{re.sub(r'[^a-z0-9]+', '-', system.lower()).strip('-') or 'system'}"


def make_recipe(system: Any, launch: Launch, base_image: str | None) -> Recipe:
    """What an image for this system must hold.

    `system.python_packages` names the distributions it needs. Its own packages are those in `system.python_sources`,
    else the one that it launches by `python -m`. A system with neither is started in a plain image, with what
    `system.debian_packages` names.
    """
    sources = tuple(getattr(system, "python_sources", ())) or launched_packages(launch.argv)
    requirements = tuple(sorted(pinned(name) for name in getattr(system, "python_packages", ())))
    return Recipe(
        system.name,
        base_image or default_base(),
        sources,
        requirements,
        launched_program(launch.argv),
        tuple(sorted(getattr(system, "debian_packages", ()))),
    )


def default_base() -> str:
    """The base image that the Dockerfile names."""
    found = re.search(r"^ARG BASE_IMAGE=(\S+)$", DOCKERFILE.read_text(), re.MULTILINE)
    assert found is not None, f"{DOCKERFILE} has no line ARG BASE_IMAGE=..."
    return found[1]


def launched_packages(argv: Sequence[str]) -> tuple[str, ...]:
    """The top-level package of `python -m package.module`; () for any other command."""
    if len(argv) > 2 and argv[1] == "-m" and _is_python(argv[0]):
        return (argv[2].partition(".")[0],)
    return ()


def launched_program(argv: Sequence[str]) -> Path | None:
    """The file of this host that is launched: a program that is named by its whole path, and no Python."""
    if not argv or not argv[0].startswith("/") or _is_python(argv[0]) or not Path(argv[0]).is_file():
        return None
    return Path(argv[0])


def _is_python(program: str) -> bool:
    return (
        program == sys.executable or re.fullmatch(r"python[0-9.]*", PurePosixPath(program).name) is not None
    )


def command_in_image(argv: Sequence[str]) -> list[str]:
    """The command as the image knows it: its own Python instead of this one, its own copy of a program."""
    if argv and _is_python(argv[0]):
        return ["python3", *argv[1:]]
    program = launched_program(argv)
    return list(argv) if program is None else [f"{PROGRAMS}/{program.name}", *argv[1:]]


def command_in_other_image(argv: Sequence[str]) -> list[str]:
    """The command as an image that somebody else has made knows it: its own program of that name."""
    program = launched_program(argv)
    return command_in_image(argv) if program is None else [program.name, *argv[1:]]


def pinned(requirement: str) -> str:
    """`msgspec` -> `msgspec==0.22.0`, the version that runs here; unchanged if it is not installed or has a version."""
    try:
        return f"{requirement}=={importlib.metadata.version(requirement)}"
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return requirement


def source_files(packages: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Path in the image's source folder -> content, for every file of these packages, sorted; no compiled files."""
    for package in sorted(packages):
        found = importlib.util.find_spec(package)
        if found is None or (found.submodule_search_locations is None and found.origin is None):
            raise EnvironmentFailed(
                f"cannot put package {package} into an image: this Python does not find it"
            )
        if not found.submodule_search_locations:
            assert found.origin is not None
            yield Path(found.origin).name, Path(found.origin).read_bytes()
            continue
        top = Path(next(iter(found.submodule_search_locations)))
        for path in sorted(top.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts and path.suffix not in (".pyc", ".so"):
                yield f"{package}/{path.relative_to(top).as_posix()}", path.read_bytes()


def installed_files(requirements: Sequence[str]) -> dict[str, Path]:
    """Path in the image's package folder -> file, for installed distributions and what they need in turn.

    Raises LookupError if one is not installed here in a form that can be copied.
    """
    files: dict[str, Path] = {}
    waiting = sorted({_name(requirement) for requirement in requirements})
    seen: set[str] = set()
    while waiting:
        name = waiting.pop(0)
        if name in seen:
            continue
        seen.add(name)
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            raise LookupError(f"{name} is not installed in {sys.prefix}") from None
        copied = {}
        for record in distribution.files or ():
            path = Path(str(distribution.locate_file(record)))
            inside = not record.is_absolute() and ".." not in record.parts
            if inside and record.suffix not in (".pyc", ".pth") and path.is_file():
                copied[record.as_posix()] = path
        if not any(path.endswith(".py") for path in copied):
            raise LookupError(f"{name} is installed in {sys.prefix} in a form that cannot be copied")
        files.update(copied)
        for requirement in distribution.requires or ():
            needed, marker = _name(requirement), requirement.partition(";")[2]
            if "extra" in marker or (marker and not _is_installed(needed)):
                continue
            waiting.append(needed)
    return dict(sorted(files.items()))


def _name(requirement: str) -> str:
    match = _REQUIREMENT.match(requirement)
    if match is None:
        raise LookupError(f"{requirement!r} is not the name of a distribution")
    return match[1]


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def top_level_modules(paths: Sequence[str]) -> list[str]:
    """What can be imported from a folder with these files: its packages with an `__init__.py`, public ones."""
    found = {path.split("/")[0] for path in paths if path.count("/") == 1 and path.endswith("/__init__.py")}
    return sorted(name for name in found if name.isidentifier() and not name.startswith("_"))


def context(
    sources: Sequence[tuple[str, bytes]], packages: Mapping[str, Path], program: Path | None = None
) -> bytes:
    """The build context as a tar file; equal content gives equal bytes, so the engine's cache is hit."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:

        def add(name: str, content: bytes | None, mode: int = 0o644) -> None:
            member = tarfile.TarInfo(name)
            member.mode = mode
            if content is None:
                member.type = tarfile.DIRTYPE
                member.mode = 0o755
                archive.addfile(member)
            else:
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))

        add("Dockerfile", DOCKERFILE.read_bytes())
        add("source", None)
        add("packages", None)
        add("programs", None)
        if program is not None:
            add(f"programs/{program.name}", program.read_bytes(), 0o755)
        for name, content in sources:
            add(f"source/{name}", content)
        for name, path in packages.items():
            add(f"packages/{name}", path.read_bytes(), 0o755 if os.access(path, os.X_OK) else 0o644)
    return buffer.getvalue()


async def ensure_image(engine: Engine, recipe: Recipe, labels: Mapping[str, str], progress: Progress) -> str:
    """The tag of an image made by this recipe; builds it if the engine has none. Raises EnvironmentFailed.

    `labels` are those of the run, for a container that is needed while building.
    """
    tag = recipe.tag()
    if await _exists(engine, tag):
        return tag
    progress(f"building image {tag} (first use, or its sources changed)")
    stage = recipe.stage_tag()
    if not await _exists(engine, stage):
        await _build(engine, recipe, context([], {}), "system", "", stage, progress)
    target = await _python_of(engine, stage, labels)
    progress(f"image has Python {target.major}.{target.minor} on {target.machine}")
    with tempfile.TemporaryDirectory(prefix="multiraft-image-") as folder:
        packages = await _collect(recipe, target, Path(folder), progress)
        sources = await asyncio.to_thread(lambda: list(source_files(recipe.sources)))
        imports = [*top_level_modules(list(packages)), *recipe.sources]
        archive = await asyncio.to_thread(context, sources, packages, recipe.program)
    await _build(engine, recipe, archive, "database", " ".join(imports), tag, progress)
    await _remove_old(engine, recipe.system, tag)
    progress(f"image {tag} is ready")
    return tag


async def _exists(engine: Engine, tag: str) -> bool:
    try:
        await engine.call(f"looking for image {tag}", engine.api.inspect_image, tag)
    except EngineRefused as error:
        if error.status == 404:
            return False
        raise
    return True


async def _collect(recipe: Recipe, target: TargetPython, folder: Path, progress: Progress) -> dict[str, Path]:
    """The files of all requirements for the image's Python: copied if they fit, else fetched into `folder`."""
    if not recipe.requirements:
        return {}
    if target.is_like_ours():
        try:
            return installed_files(recipe.requirements)
        except LookupError as error:
            progress(f"fetching wheels, as {error}")
    else:
        progress(f"fetching wheels for Python {target.major}.{target.minor}")
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-compile",
    ]
    command += ["--target", str(folder), "--only-binary=:all:", *target.pip_options(), *recipe.requirements]
    done = await asyncio.to_thread(
        subprocess.run,
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode:
        raise EnvironmentFailed(
            f"cannot get {', '.join(recipe.requirements)} for Python {target.major}.{target.minor} of the image: "
            f"pip ended with {done.returncode}: {done.stdout.decode(errors='replace').strip()[-600:]}. Use a base "
            f"image with Python {sys.version_info[0]}.{sys.version_info[1]}, whose packages are copied from this "
            "interpreter, or make the package index reachable"
        )
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".pyc")
    return {path.relative_to(folder).as_posix(): path for path in files}


async def _build(
    engine: Engine,
    recipe: Recipe,
    archive: bytes,
    stage: str,
    imports: str,
    tag: str,
    progress: Progress,
) -> None:
    """Build one stage of the Dockerfile. A build that fails leaves nothing behind."""
    loop = asyncio.get_running_loop()
    layers: list[str] = []
    """Images that this build made, oldest first; those that it found in the engine's cache are not among them."""

    def build() -> None:
        last_words: list[str] = []
        from_cache = False
        stream = engine.api.build(
            fileobj=io.BytesIO(archive),
            custom_context=True,
            decode=True,
            rm=True,
            forcerm=True,
            tag=tag,
            target=stage,
            buildargs={
                "BASE_IMAGE": recipe.base_image,
                "IMPORTS": imports,
                "DEBIAN_PACKAGES": " ".join(recipe.debian),
            },
            labels={IMAGE_LABEL: "1"} | ({SYSTEM_LABEL: recipe.system} if stage == "database" else {}),
        )
        for message in stream:
            if "error" in message:
                raise _BuildFailed(str(message["error"]).strip(), last_words[-15:])
            text = str(message.get("stream", "")).strip()
            if text.startswith("Step "):
                loop.call_soon_threadsafe(progress, f"building image: {textwrap.shorten(text, 72)}")
                from_cache = text.split(" : ", 1)[-1].startswith("FROM ")  # Somebody else's, in any case.
            elif text == "---> Using cache":
                from_cache = True
            elif layer := _LAYER.fullmatch(text):
                if not from_cache:
                    layers.append(layer[1])
            elif text and not text.startswith(("---> ", "Removing intermediate")):
                last_words.append(text)

    try:
        await engine.call(f"building an image on {recipe.base_image}", build)
    except _BuildFailed as failure:
        await _remove_images(engine, reversed(layers))
        words = "".join(f"  {line}\n" for line in failure.last_words)
        raise EnvironmentFailed(
            f"the image of {recipe.system} on {recipe.base_image} cannot be built: {failure}\n{words}"
            "Without a registry in reach, make the base image with `.ci/docker-base` of a checkout (as root), or "
            "name one that the engine has: HARNESS_DOCKER_BASE=name:tag"
        ) from failure


class _BuildFailed(Exception):
    """What the engine said when a build step failed, and the output before it."""

    def __init__(self, said: str, last_words: list[str]) -> None:
        super().__init__(said)
        self.last_words = last_words


async def _python_of(engine: Engine, image: str, labels: Mapping[str, str]) -> TargetPython:
    """Ask the Python of an image what it is."""

    from docker import errors  # type: ignore[import-untyped]

    def ask() -> str:
        container = engine.api.create_container(
            image, ["python3", "-c", _ABOUT_PYTHON], network_disabled=True, labels=dict(labels)
        )
        try:
            engine.api.start(container["Id"])
            engine.api.wait(container["Id"], timeout=60)
            return bytes(engine.api.logs(container["Id"], stdout=True, stderr=True)).decode(errors="replace")
        finally:
            # One that the engine is slow to let go carries the run's labels, and goes with the run.
            with contextlib.suppress(errors.APIError):
                engine.api.remove_container(container["Id"], force=True, v=True)

    answer = await engine.call("starting Python in the new image", ask)
    try:
        major, minor, implementation, machine, libc = json.loads(answer.strip().splitlines()[-1])
    except (ValueError, IndexError):
        raise EnvironmentFailed(
            f"the base image has no Python that starts; it said: {answer.strip()}"
        ) from None
    return TargetPython(int(major), int(minor), implementation, machine, libc)


async def _remove_images(engine: Engine, images: Iterable[str]) -> None:
    """Remove images; those that are gone, or that another image or container needs, are let be."""
    for image in images:
        try:
            await engine.call(f"removing image {image}", engine.api.remove_image, image)
        except EngineRefused as error:
            if error.status not in (404, 409):
                raise


async def _remove_old(engine: Engine, system: str, newest: str) -> None:
    """Remove images of this system that newer ones replaced; those that a container uses stay."""
    images = await engine.call(
        "listing images", engine.api.images, filters={"label": f"{SYSTEM_LABEL}={system}"}
    )
    images.sort(key=lambda image: int(image["Created"]), reverse=True)
    old = [tag for image in images[KEPT_IMAGES:] for tag in image.get("RepoTags") or ()]
    await _remove_images(
        engine, [tag for tag in old if tag.startswith(f"{repository(system)}:") and tag != newest]
    )
