"""What goes into an image, and the tag that names exactly that."""

import io
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.environments.docker.image import (
    DOCKERFILE,
    Recipe,
    TargetPython,
    command_in_image,
    command_in_other_image,
    context,
    default_base,
    installed_files,
    launched_packages,
    launched_program,
    make_recipe,
    pinned,
    repository,
    source_files,
    top_level_modules,
)
from harness.environments.environment import EnvironmentFailed, Launch


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package `tiny_database` with one subfolder, importable."""
    top = tmp_path / "tiny_database"
    (top / "server" / "__pycache__").mkdir(parents=True)
    (top / "__init__.py").write_text("")
    (top / "server" / "__main__.py").write_text("print('serving')")
    (top / "server" / "__pycache__" / "__main__.cpython-311.pyc").write_bytes(b"compiled")
    monkeypatch.syspath_prepend(str(tmp_path))
    return top


def recipe(**changes):
    return Recipe(
        **{"system": "tiny", "base_image": "debian:1", "sources": (), "requirements": (), **changes}
    )


def test_the_tag_changes_with_everything_that_goes_in_and_with_nothing_else(package):
    first = recipe(sources=("tiny_database",))
    tag = first.tag()
    assert tag == first.tag()
    (package / "server" / "__pycache__" / "more.pyc").write_bytes(b"compiled again")
    assert first.tag() == tag, "compiled files do not count"
    others = [
        recipe(sources=("tiny_database",), base_image="debian:2").tag(),
        recipe(sources=("tiny_database",), requirements=("msgspec==1",)).tag(),
        recipe(sources=()).tag(),
    ]
    (package / "server" / "__main__.py").write_text("print('serving better')")
    others.append(first.tag())
    assert len({tag, *others}) == 5
    assert tag.startswith("multiraft-harness/tiny:")


def test_sources_are_the_files_of_the_package_only(package):
    assert [name for name, _ in source_files(["tiny_database"])] == [
        "tiny_database/__init__.py",
        "tiny_database/server/__main__.py",
    ]
    with pytest.raises(EnvironmentFailed, match="no_such_database"):
        list(source_files(["no_such_database"]))


def test_a_system_started_as_a_module_brings_its_package():
    system = SimpleNamespace(name="reference-db", python_packages=("msgspec", "no-such-distribution"))
    launch = Launch([sys.executable, "-m", "reference_db.server", "--config", "x"])
    made = make_recipe(system, launch, None)
    assert made.sources == ("reference_db",)
    assert made.requirements == (pinned("msgspec"), "no-such-distribution")
    assert pinned("msgspec").startswith("msgspec==")
    assert made.base_image == default_base()
    plain = make_recipe(SimpleNamespace(name="echo"), Launch(["python3", "server.py"]), "base:1")
    assert (plain.sources, plain.requirements, plain.base_image) == ((), (), "base:1")
    said = make_recipe(SimpleNamespace(name="x", python_sources=("results",)), launch, None)
    assert said.sources == ("results",)


def test_the_command_uses_the_python_of_the_image():
    assert command_in_image([sys.executable, "-m", "a.b"]) == ["python3", "-m", "a.b"]
    assert command_in_image(["/usr/bin/python3.12", "x.py"]) == ["python3", "x.py"]
    assert command_in_image(["/usr/bin/etcd", "--name"]) == ["/usr/bin/etcd", "--name"]
    assert launched_packages(["/usr/bin/etcd", "-m", "x"]) == ()


def test_installed_distributions_are_copied_whole_with_what_they_need():
    files = installed_files(["msgspec==0.0", "click"])
    assert "msgspec/__init__.py" in files
    assert any(path.startswith("msgspec/_core") for path in files), "the compiled part belongs to it"
    assert "click/__init__.py" in files
    assert not any(path.startswith(("..", "/")) for path in files)
    assert {"msgspec", "click"} <= set(top_level_modules(list(files)))
    with pytest.raises(LookupError, match="no-such-distribution is not installed"):
        installed_files(["no-such-distribution"])


def test_the_same_content_gives_the_same_bytes(tmp_path):
    """So that the engine finds in its cache what it has built."""
    wheel_file = tmp_path / "module.py"
    wheel_file.write_text("x = 1")
    packed = [context([("a/b.py", b"y = 2")], {"module.py": wheel_file}) for _ in range(2)]
    assert packed[0] == packed[1]
    with tarfile.open(fileobj=io.BytesIO(packed[0])) as archive:
        names = archive.getnames()
        assert names[:4] == ["Dockerfile", "source", "packages", "programs"]
        assert names[4:] == ["source/a/b.py", "packages/module.py"]
        assert {member.mtime for member in archive} == {0}


def test_wheels_are_chosen_for_the_image_and_not_for_this_host():
    options = TargetPython(3, 13, "cpython", "aarch64", "glibc").pip_options()
    assert options[-4:] == ["--python-version", "3.13", "--implementation", "cp"]
    assert "manylinux2014_aarch64" in options
    assert not TargetPython(3, 99, "cpython", "x86_64", "glibc").is_like_ours()


def test_names_of_images_are_what_docker_allows():
    assert repository("Reference DB/2") == "multiraft-harness/reference-db-2"
    assert repository("///") == "multiraft-harness/system"


def test_the_base_that_ci_makes_is_the_one_that_the_dockerfile_names():
    """`.ci/docker-base` reads the tag from the Dockerfile; both must go on saying it in the same way."""
    script = (Path(__file__).parents[4] / ".ci" / "docker-base").read_text()
    assert "s/^ARG BASE_IMAGE=//p" in script
    assert f"ARG BASE_IMAGE={default_base()}\n" in DOCKERFILE.read_text()


def test_a_program_of_this_host_goes_in_and_is_launched_there(tmp_path):
    """Only one that is named by its whole path, and is no Python."""
    program = tmp_path / "acme-server"
    program.write_bytes(b"one")
    argv = [str(program), "--data", "x"]
    assert launched_program(argv) == program
    assert command_in_image(argv) == ["/opt/programs/acme-server", "--data", "x"]
    assert command_in_other_image(argv) == ["acme-server", "--data", "x"]
    for other in ([sys.executable, "-m", "x"], ["acme-server"], [str(tmp_path / "none")], []):
        assert launched_program(other) is None
    assert command_in_other_image(["python3.11", "x"]) == ["python3", "x"]
    made = make_recipe(SimpleNamespace(name="acme"), Launch(argv), None)
    first = made.tag()
    with tarfile.open(fileobj=io.BytesIO(context([], {}, made.program))) as archive:
        member = archive.getmember("programs/acme-server")
        assert (member.size, member.mode) == (3, 0o755)
    program.write_bytes(b"two")
    assert made.tag() != first
