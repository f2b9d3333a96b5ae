"""A browser for tests of pages."""

import shutil
from pathlib import Path

import pytest

CHROMIUM = next((path for path in map(shutil.which, ("chromium", "chromium-browser")) if path), None)


@pytest.fixture(scope="session")
def opened():
    """A function that opens a page in a browser and answers with what an expression says there; no page may ask for
    anything or say anything in the console."""
    sync_api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("there is no chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])

        def look(path, expression, **context):
            page = browser.new_page(**context)
            said, asked = [], []
            page.on("console", lambda message: said.append(message.text))
            page.on("pageerror", lambda error: said.append(str(error)))
            page.on("request", lambda request: asked.append(request.url))
            page.goto(Path(path).as_uri())
            answer = page.evaluate(expression)
            page.close()
            assert said == []
            assert [url for url in asked if not url.startswith("data:")] == [Path(path).as_uri()]
            return answer

        yield look
        browser.close()
