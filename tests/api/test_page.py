"""The page in a real browser: sound before the clip is whole, errors shown, voices added, nothing in the console."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.clips import TEXT, file, silence, speech
from tests.ffmpeg import decode
from tests.server import ServerThread
from tests.toy_programs import ToyPrograms

CHROMIUM = shutil.which("chromium")
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--use-fake-device-for-media-stream"),
    "--use-fake-ui-for-media-stream",
]
SHOTS = os.environ.get("F5_TEST_SHOTS")  # a folder for screenshots to look at

# Keeps every audio context the page makes, and counts what it starts to play.
WATCH_AUDIO = """
window.contexts = [];
window.started = 0;
const Real = AudioContext;
window.AudioContext = class extends Real { constructor(...given) { super(...given); contexts.push(this); } };
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (...given) { started += 1; return start.apply(this, given); };
"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def slow(serve: Callable[..., ServerThread]) -> ServerThread:
    return serve(ToyPrograms(step_s=0.03))


@pytest.fixture
def page(browser: Browser, slow: ServerThread) -> Iterator[Page]:
    """The page of a server that takes its time; no console error and no request to anywhere else by the test's end."""
    context = browser.new_context(viewport={"width": 1100, "height": 1500}, accept_downloads=True)
    context.grant_permissions(["clipboard-read", "clipboard-write", "microphone"], origin=slow.url)
    page = context.new_page()
    page.add_init_script(WATCH_AUDIO)
    faults: list[str] = []

    def console(message: ConsoleMessage) -> None:
        # The browser itself reports every reply with an error status; those are wanted here.
        if message.type == "error" and "Failed to load resource" not in message.text:
            faults.append(message.text)

    page.on("console", console)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: faults.append(request.url) if not local(request.url, slow) else None)
    page.goto(slow.url)
    expect(page.locator("#server")).to_have_text("toy, ready")
    yield page
    context.close()
    assert faults == []


def local(url: str, server: ServerThread) -> bool:
    return url.startswith((f"{server.url}/", f"blob:{server.url}/", "data:"))


def shoot(page: Page, name: str) -> None:
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)


def speak(page: Page, text: str) -> None:
    page.fill("#text", text)
    page.click("#go")


LONG = "This is a sentence that goes on for some time, so that there is more than one piece of it. " * 4


def test_it_sounds_before_the_clip_is_whole(page: Page) -> None:
    ended: list[str] = []
    page.on("requestfinished", lambda request: ended.append(request.url))
    speak(page, LONG)
    expect(page.locator("body")).to_have_attribute("data-state", "streaming", timeout=20_000)
    page.wait_for_function(
        "contexts.length && contexts.at(-1).state === 'running' && contexts.at(-1).currentTime > 0.2"
    )
    assert page.evaluate("started") > 0
    assert not any(url.endswith("/v1/generate/stream") for url in ended)
    assert page.locator("body").get_attribute("data-state") == "streaming"
    shoot(page, "streaming")
    expect(page.locator("#status")).to_have_text("The clip is whole.", timeout=60_000)
    assert re.fullmatch(r"\d+ ms", page.inner_text("#first-audio"))
    assert float(page.inner_text("#factor")) > 0
    shoot(page, "done")


def test_the_clip_is_downloaded_whole(page: Page, slow: ServerThread) -> None:
    page.click("summary")
    page.fill("#seed", "7")
    speak(page, "A short clip to take away.")
    expect(page.locator("#download")).to_be_visible(timeout=30_000)
    with page.expect_download() as download:
        page.click("#download")
    body = {"gen_text": "A short clip to take away.", "seed": 7, "response_format": "pcm"}
    with httpx.Client(base_url=slow.url, timeout=30) as client:
        chunks = client.post(
            "/v1/audio/speech", json={"model": "m", "input": body["gen_text"], "seed": 7, "response_format": "wav"}
        )
    np.testing.assert_array_equal(
        decode("wav", Path(download.value.path()).read_bytes()), decode("wav", chunks.content)
    )
    assert page.inner_text("#used-seed") == "7"


def test_the_copied_command_makes_the_same_clip(page: Page, tmp_path: Path) -> None:
    page.click("summary")
    page.fill("#seed", "7")
    page.fill("#text", "It's a 'quoted' text.")
    page.click("#copy")
    expect(page.locator("#status")).to_contain_text("clipboard")
    command = page.evaluate("navigator.clipboard.readText()")
    paste(command, tmp_path)
    page.click("#go")
    expect(page.locator("#download")).to_be_visible(timeout=30_000)
    with page.expect_download() as download:
        page.click("#download")
    made = decode("wav", (tmp_path / "speech.wav").read_bytes())
    np.testing.assert_array_equal(decode("wav", Path(download.value.path()).read_bytes()), made)


def paste(command: str, folder: Path) -> None:
    """Run a command as if pasted into a shell."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    subprocess.run(["bash", "-c", command], cwd=folder, check=True, timeout=60)


def test_stop_frees_the_server(page: Page, slow: ServerThread) -> None:
    speak(page, LONG * 3)
    expect(page.locator("body")).to_have_attribute("data-state", "streaming", timeout=20_000)
    page.click("#stop")
    expect(page.locator("#status")).to_have_text("Stopped.")
    with httpx.Client(base_url=slow.url) as client:
        for _ in range(200):
            if client.get("/v1/health").json()["engine"]["queues"]["active"]["depth"] == 0:
                return
    raise AssertionError("the engine still works for a page that has stopped it")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("...", "nothing to say"),
        ("A [pause:99] b.", "10 seconds"),
        (f"{LONG} And then a fail-step comes.", "failed"),
    ],
)
def test_errors_are_shown(page: Page, text: str, words: str) -> None:
    speak(page, text)
    expect(page.locator("#error")).to_contain_text(words, timeout=30_000)
    expect(page.locator("body")).to_have_attribute("data-state", "failed")
    shoot(page, f"error-{words.split()[0]}")


def test_a_voice_is_uploaded_used_and_deleted(page: Page, tmp_path: Path) -> None:
    clip = tmp_path / "my voice.wav"
    clip.write_bytes(file(np.concatenate([silence(0.3), speech(4)])))
    page.set_input_files("#file", clip)
    page.fill("#words", TEXT)
    page.click("#save")
    expect(page.locator("#report")).to_contain_text("is saved")
    expect(page.locator("#report")).to_contain_text("characters a second")
    expect(page.locator("#voice option:checked")).to_have_text("my voice")
    shoot(page, "report")
    speak(page, "Spoken in that voice.")
    expect(page.locator("#download")).to_be_visible(timeout=30_000)
    page.click("#delete-voice")
    expect(page.locator("#voice option:checked")).to_have_text("Ada")


def test_a_clip_is_recorded_and_used_without_saving(page: Page) -> None:
    page.click("#record")
    expect(page.locator("#record")).to_have_attribute("aria-pressed", "true")
    page.wait_for_timeout(2500)
    page.click("#record")
    expect(page.locator("#sample")).to_be_visible()
    page.click("#once")
    expect(page.locator("#report")).to_contain_text("Say what is said")
    page.fill("#words", "beep beep beep")
    page.click("#once")
    expect(page.locator("#voice option:checked")).to_have_text("This clip (not saved)")
    speak(page, "Spoken like a beep.")
    expect(page.locator("#download")).to_be_visible(timeout=30_000)


def test_a_bad_clip_is_refused_in_words(page: Page, tmp_path: Path) -> None:
    clip = tmp_path / "quiet.wav"
    clip.write_bytes(file(silence(3)))
    page.set_input_files("#file", clip)
    page.fill("#words", TEXT)
    page.click("#save")
    expect(page.locator("#report [role=alert]")).to_contain_text("silent")


def test_a_key_is_asked_for(browser: Browser, serve: Callable[..., ServerThread]) -> None:
    server = serve(api_keys=("secret-key-1",))
    page = browser.new_page()
    page.goto(server.url)
    expect(page.locator("#error")).to_contain_text("an API key is needed")
    page.fill("#key", "secret-key-1")
    page.press("#key", "Enter")
    expect(page.locator("#server")).to_have_text("toy, ready")
    page.close()


def test_a_phone_shows_everything_without_scrolling_sideways(browser: Browser, slow: ServerThread) -> None:
    context = browser.new_context(
        viewport={"width": 360, "height": 740},
        device_scale_factor=2,
        is_mobile=True,
        has_touch=True,
        color_scheme="dark",
    )
    page = context.new_page()
    page.goto(slow.url)
    expect(page.locator("#server")).to_have_text("toy, ready")
    page.tap("#go")
    expect(page.locator("#status")).to_have_text("The clip is whole.", timeout=30_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    small = page.evaluate(
        "[...document.querySelectorAll('button')].filter(b => !b.hidden && b.getBoundingClientRect().height < 44).length"
    )
    assert small == 0
    shoot(page, "phone")
    context.close()


def test_every_control_has_a_name_and_headings_are_in_order(page: Page) -> None:
    unnamed: list[Any] = page.evaluate(
        """[...document.querySelectorAll('input, select, textarea, button, canvas, progress')].filter(control =>
            !(control.labels?.length || control.getAttribute('aria-label') || control.textContent.trim()))
            .map(control => control.id)"""
    )
    assert unnamed == []
    assert page.evaluate("[...document.querySelectorAll('h1, h2')].map(h => h.tagName)") == ["H1", "H2", "H2"]
