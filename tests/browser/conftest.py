"""A real headless Chromium: Debian's, driven by playwright."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    """One Chromium for the whole test run."""
    chromium = shutil.which("chromium")
    if not chromium:
        pytest.skip("chromium is not installed (Debian: chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    try:
        driver = playwright.sync_playwright().start()
    except FileNotFoundError as error:
        pytest.skip(f"playwright's driver is missing: {error}")
    browser = driver.chromium.launch(executable_path=Path(chromium), args=FLAGS)
    yield browser
    browser.close()
    driver.stop()


@pytest.fixture
def page(browser: "Browser") -> Iterator["Page"]:
    """A fresh page. The test fails if the page says anything on the console, or an error escapes in it."""
    context = browser.new_context()
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    yield page
    context.close()
    assert said == []
