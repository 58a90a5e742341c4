"""The committed template is what its sources build, and Python finds its places in it."""

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

from tests.support.requirements import is_required, skip_unless_required

FRONT_END = Path(__file__).parents[3] / "results" / "report" / "front_end"
TEMPLATE = files("results.report").joinpath("template.html").read_text(encoding="utf-8")


def test_the_policy_allows_exactly_the_script_of_the_template():
    (script,) = re.findall(r'<script type="module">(.*?)</script>', TEMPLATE, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in TEMPLATE
    assert "<!--" not in script, "a comment's start inside a script changes how the page is read"


def test_each_place_that_python_fills_is_there_once():
    for place in ("title", "verdict", "tables", "data"):
        assert TEMPLATE.count(f"<!--report:{place}-->") == 1


def test_the_lock_file_names_no_registry():
    lock = json.loads((FRONT_END / "package-lock.json").read_text())
    assert all("resolved" not in package for package in lock["packages"].values())
    assert len(lock["packages"]) > 10


@pytest.mark.slow
def test_the_committed_template_is_what_the_sources_build(tmp_path):
    """Needs node; the packages are installed from the lock file if they are not there."""
    if not is_required("node") or shutil.which("node") is None:
        skip_unless_required("node", "it builds only where that is required, and there is Node")
    if not (FRONT_END / "node_modules").exists():
        subprocess.run(["npm", "ci", "--ignore-scripts"], cwd=FRONT_END, check=True, timeout=300)
    environment = {**os.environ, "REPORT_OUT_DIR": str(tmp_path)}
    subprocess.run(["npm", "run", "build"], cwd=FRONT_END, env=environment, check=True, timeout=300)
    assert (tmp_path / "template.html").read_text(encoding="utf-8") == TEMPLATE, (
        "results/report/template.html is not what its sources build: run `npm run build` in results/report/front_end"
    )
