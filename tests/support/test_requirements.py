"""What a machine lacks is skipped, unless somebody required it."""

import pytest

from tests.support.requirements import VARIABLE, is_required, skip_unless_required


@pytest.mark.parametrize("named", ["docker", "browser,docker", "browser docker", "browser, docker"])
def test_a_required_part_that_is_missing_fails(monkeypatch, named):
    monkeypatch.setenv(VARIABLE, named)
    assert is_required("docker")
    with pytest.raises(pytest.fail.Exception, match="needs a Docker engine: no socket"):
        skip_unless_required("docker", "no socket")
    with pytest.raises(pytest.skip.Exception, match="needs Node"):
        skip_unless_required("node", "no program")


def test_a_part_is_not_required_by_a_name_that_contains_its_name(monkeypatch):
    monkeypatch.setenv(VARIABLE, "nodes")
    with pytest.raises(pytest.fail.Exception, match="names nodes; known: docker"):
        is_required("node")


def test_nothing_is_required_by_default(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(pytest.skip.Exception, match="no engine"):
        skip_unless_required("docker", "no engine")
