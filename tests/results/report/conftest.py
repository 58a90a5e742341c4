"""A browser for the tests of pages, and a fresh page in it for each test."""

from collections.abc import Iterator

import pytest

from tests.results.report.chromium import CHROMIUM, Chromium, browser
from tests.support.requirements import skip_unless_required


@pytest.fixture(scope="module")
def launched() -> Iterator[Chromium]:
    if CHROMIUM is None:
        skip_unless_required("browser", "there is no chromium on the path")
    with browser() as chromium:
        yield chromium


@pytest.fixture
def chromium(launched: Chromium) -> Chromium:
    launched.another_page()
    return launched
