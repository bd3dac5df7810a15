"""A learner's hand on labs 00, 02 and 04: JupyterLab in headless Chromium, every cell, a slider, a hint, an exercise.

Lab 00 alone is the fast part: `pytest tests/labs/test_browser.py -k 00`. Skips, and says so, where there is no Chromium
(Debian: `apt-get install chromium`) or no Playwright (`pip install 'xferlab[dev]'`).
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import build
import pytest

LABS = Path(__file__).parents[2] / "labs"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE = 1000 * int(os.environ.get("XFERLAB_BROWSER_SECONDS", "240"))  # for one wait, in ms; a shared machine is slow
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
]
NOTEBOOK = "@jupyterlab/notebook-extension/tracker.jupyterlab-settings"
NEWS = "@jupyterlab/apputils-extension/notification.jupyterlab-settings"
DONE = """() => {
    const prompts = [...document.querySelectorAll('.jp-Notebook .jp-CodeCell .jp-InputPrompt')];
    return prompts.length > 0 && prompts.every(prompt => /\\[\\d+\\]/.test(prompt.textContent));
}"""


@pytest.fixture(scope="module")
def page():
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install 'xferlab[dev]'")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.set_default_timeout(PATIENCE)
        yield page
        browser.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("browser")


@pytest.fixture(scope="module")
def server(folder):
    """JupyterLab on `folder`, every cell in the page (no windowing), its settings and progress apart from the user's."""
    pytest.importorskip("jupyterlab")
    for name, content in ((NOTEBOOK, {"windowingMode": "none"}), (NEWS, {"fetchNews": "false"})):
        file = folder / "settings" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {
        "XFERLAB_PROFILE": "quick",
        "XFERLAB_DATA": str(folder / "cache"),
        "PYTHONPATH": str(LABS.parent),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_PREFER_ENV_PATH": "1",
    }
    # as for a learner, who sets no backend
    env = {k: v for k, v in os.environ.items() if not k.startswith("XFERLAB_") and k != "MPLBACKEND"} | own
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}", "--allow-root"]
    command += ["--IdentityProvider.token=", f"--ServerApp.root_dir={folder}", "--LabApp.extension_manager=readonly"]
    with open(folder / "server.log", "wb") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log, cwd=folder)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{address}/api", process, folder / "server.log")
        yield address
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(address, process, log):
    end = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            time.sleep(0.3)
    raise AssertionError(f"JupyterLab did not start:\n{log.read_text()[-2000:]}")


@pytest.mark.parametrize("number", ["00", "02", "04"])
def test_a_learner_works_through_the_lab(number, server, page, folder):
    source, manifest = build.load(LABS, number)
    notebook = build.student(source, manifest)
    name = f"{source.entry['name']}.ipynb"
    (folder / name).write_text(build.write_notebook(notebook))
    assert any("xl.widgets." in cell.source for cell in notebook.cells), f"lab {number} has no live picture"

    open_and_run_all(page, f"{server}/lab/tree/{name}?reset")
    move_the_first_control(page)
    open_a_hint(page)
    answer_the_quiz_by_keyboard(page)
    exercise = f"{number}.1"
    parts = source.exercises[exercise]
    wrong = parts["wrong"][0][1]
    right = "\n".join(text for kind, text in parts["solution"] if kind == "code")
    assert "not yet" in answer(page, notebook, exercise, wrong)
    assert "passed" in answer(page, notebook, exercise, right)
    assert tracebacks(page) == []
    alone = page.locator(".jp-OutputArea-output img:not([alt]), .jp-OutputArea-output img[alt='']")
    assert alone.count() == 0, "a picture without words"
    page.goto("about:blank")  # its kernel is not asked to go on


def open_and_run_all(page, address):
    page.goto(address)
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
    page.get_by_text("| Idle").first.wait_for()  # the kernel, in the status bar
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.wait_for_function(DONE, polling=500)
    assert tracebacks(page) == []


def tracebacks(page) -> list[str]:
    return page.locator("[data-mime-type='application/vnd.jupyter.error']").all_inner_texts()


def move_the_first_control(page):
    """Moves it with the keyboard alone, and waits for another picture with other words."""
    live = page.locator(".widget-vbox:has(.widget-html img)").first
    live.scroll_into_view_if_needed()
    picture = live.locator(".widget-html img").first
    before = picture.get_attribute("src"), picture.get_attribute("alt")
    assert before[0].startswith("data:image/png")
    handle = live.locator(".noUi-handle, .ui-slider-handle").first
    handle.focus()
    for key in ("ArrowRight", "ArrowLeft"):  # from the far end only one way is open
        page.keyboard.press(key)
        try:
            page.wait_for_function(
                "([image, before]) => image.isConnected ? image.src !== before : true",
                arg=[picture.element_handle(), before[0]],
                timeout=PATIENCE / 4,
            )
            break
        except Exception as error:
            if type(error).__name__ != "TimeoutError":
                raise
    picture = live.locator(".widget-html img").first
    after = picture.get_attribute("src"), picture.get_attribute("alt")
    assert after[0] != before[0], "the picture did not follow the slider"
    assert after[1] != before[1], "the words did not follow the slider"


def open_a_hint(page):
    page.get_by_role("button", name="Next hint").first.click()
    page.get_by_text("Hint 1 of 3").first.wait_for()
    assert page.get_by_text("Hint 2 of 3").count() == 0


def answer_the_quiz_by_keyboard(page):
    """Its first question: from the first option's button Tab to the second's, and Space."""
    quiz = page.locator(".jp-CodeCell").filter(has_text="checks.quiz(").last
    quiz.scroll_into_view_if_needed()
    quiz.locator("button:text-is('a')").first.focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    quiz.get_by_text(re.compile("^b: (right|not quite)\\.$")).first.wait_for()


def answer(page, notebook, exercise, code) -> str:
    """Types `code` over the exercise's cell, runs it and its check, and returns what the check then says."""
    at = {
        tag: index
        for index, cell in enumerate(notebook.cells)
        if cell.metadata.get("exercise") == exercise
        for tag in cell.metadata["tags"]
    }
    for index, text in ((at["exercise"], code), (at["check"], None)):
        cell = page.locator(".jp-Notebook .jp-Cell").nth(index)
        editor = cell.locator(".cm-content")
        editor.scroll_into_view_if_needed()
        editor.click()
        if text is not None:
            page.keyboard.press("Control+A")
            page.keyboard.insert_text(text)
        before = cell.locator(".jp-InputPrompt").inner_text()
        page.keyboard.press("Control+Enter")
        page.wait_for_function(
            "([prompt, before]) => prompt.textContent !== before && /\\[\\d+\\]/.test(prompt.textContent)",
            arg=[cell.locator(".jp-InputPrompt").element_handle(), before],
        )
    output = cell.locator(".jp-OutputArea-output")
    output.first.wait_for()
    return output.first.inner_text()
