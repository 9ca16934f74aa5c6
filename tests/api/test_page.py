"""The page in a real browser: what it makes, keeps, shows and says; nothing in the console, no fault found by axe."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from numpy.typing import NDArray
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from f5_tts_server.embedded.config import ASSETS
from tests.clips import TEXT, file, silence, speech
from tests.ffmpeg import decode
from tests.server import ServerThread, running, serving
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

expect.set_options(timeout=20_000)  # a busy machine takes its time

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerThread]:
    """A server that takes its time. Each test has a browser context, and so a history, of its own."""
    with serving(tmp_path_factory.mktemp("slow"), ToyPrograms(step_s=0.03)) as server:
        yield server


@pytest.fixture
def page(browser: Browser, slow: ServerThread) -> Iterator[Page]:
    """The page of a server that takes its time; no console error and no request to anywhere else by the test's end."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000}, accept_downloads=True, locale="en-GB")
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


def wait_until(page: Page, expression: str) -> None:
    """Playwright's own wait for a function evaluates strings inside of the page, which the page's policy forbids."""
    for _ in range(300):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"never true: {expression}")


LONG = "This is a sentence that goes on for some time, so that there is more than one piece of it. " * 4


def test_it_sounds_before_the_clip_is_whole(page: Page) -> None:
    ended: list[str] = []
    page.on("requestfinished", lambda request: ended.append(request.url))
    speak(page, LONG)
    expect(page.locator("body")).to_have_attribute("data-state", "streaming", timeout=20_000)
    wait_until(page, "contexts.length && contexts.at(-1).state === 'running' && contexts.at(-1).currentTime > 0.2")
    assert page.evaluate("started") > 0
    assert not any(url.endswith("/v1/generate/stream") for url in ended)
    assert page.locator("body").get_attribute("data-state") == "streaming"
    shoot(page, "streaming")
    expect(page.locator("#status")).to_have_text("The clip is complete.", timeout=60_000)
    assert re.fullmatch(r"\d+ ms", page.inner_text("#first-audio"))
    assert float(page.inner_text("#factor")) > 0
    shoot(page, "done")


def finished(page: Page) -> None:
    expect(page.locator("body")).to_have_attribute("data-state", "done", timeout=60_000)
    expect(page.locator("#download")).to_be_visible()


def downloaded(page: Page) -> NDArray[np.float32]:
    """The samples of the file behind the download link."""
    with page.expect_download() as download:
        page.click("#download")
    return decode("wav", Path(download.value.path()).read_bytes())


def test_the_clip_is_downloaded_whole(page: Page, slow: ServerThread) -> None:
    page.click("summary")
    page.fill("#seed", "7")
    speak(page, "A short clip to take away.")
    finished(page)
    body = {"model": "m", "input": "A short clip to take away.", "seed": 7, "response_format": "wav"}
    reply = httpx.post(f"{slow.url}/v1/audio/speech", json=body, timeout=30)
    np.testing.assert_array_equal(downloaded(page), decode("wav", reply.content))
    assert page.inner_text("#used-seed") == "7"


RUN = {"curl": ["bash", "-c"], "python": [sys.executable, "-c"], "javascript": ["node", "--input-type=module", "-e"]}


@pytest.mark.parametrize("language", RUN)
def test_the_code_makes_the_same_clip(page: Page, tmp_path: Path, language: str) -> None:
    """The command that was copied had no seed unless one was typed, so that it made another clip."""
    if shutil.which(RUN[language][0]) is None:
        pytest.skip(f"{RUN[language][0]} is not installed")
    page.click("summary")
    page.fill("#steps", "5")
    page.uncheck("#numbers")
    speak(page, 'It\'s a "quoted" text\nof `two` lines, with $HOME and \\ in it.')
    finished(page)
    page.click(f"[data-code={language}]")
    expect(page.locator("#code-note")).to_contain_text("with its seed")
    page.click("#copy")
    expect(page.locator("#copied")).to_have_text("Copied.")
    copied = page.evaluate("navigator.clipboard.readText()")
    subprocess.run([*RUN[language], copied], cwd=tmp_path, check=True, timeout=60)
    np.testing.assert_array_equal(downloaded(page), decode("wav", (tmp_path / "speech.wav").read_bytes()))
    page.fill("#text", "Another text.")
    expect(page.locator("#code")).to_contain_text("Another text.")
    expect(page.locator("#code-note")).to_contain_text("form as it stands")


@pytest.mark.parametrize("language", RUN)
def test_the_code_of_a_clip_sent_along_makes_the_same_clip(page: Page, tmp_path: Path, language: str) -> None:
    if shutil.which(RUN[language][0]) is None or (language == "curl" and shutil.which("jq") is None):
        pytest.skip(f"{language} needs a program that is not installed")
    clip = tmp_path / "clip.wav"
    clip.write_bytes(file(speech(9)))  # as text longer than a command line may be
    page.click("#add-voice")
    page.set_input_files("#file", clip)
    page.fill("#words", TEXT)
    page.click("#once")
    page.click("#close-add")
    speak(page, "Spoken like the clip.")
    finished(page)
    page.click(f"[data-code={language}]")
    subprocess.run([*RUN[language], page.inner_text("#code")], cwd=tmp_path, check=True, timeout=60)
    np.testing.assert_array_equal(downloaded(page), decode("wav", (tmp_path / "speech.wav").read_bytes()))


def test_stop_frees_the_server_and_keeps_what_was_made(page: Page, slow: ServerThread) -> None:
    speak(page, LONG * 3)
    expect(page.locator("body")).to_have_attribute("data-state", "streaming", timeout=20_000)
    page.click("#stop")
    expect(page.locator("#status")).to_have_text("Stopped before the end.")
    expect(page.locator("#stop")).to_be_disabled()
    for _ in range(200):
        if slow.active() == 0:
            break
    else:
        raise AssertionError("the engine still works for a page that has stopped it")
    expect(page.locator("#download")).to_have_text("Download the part that was made")
    assert len(downloaded(page)) > 2400
    expect(page.locator("#history li")).to_contain_text("incomplete")


def test_what_breaks_off_is_kept(page: Page) -> None:
    """The clip so far was thrown away, although it had been heard."""
    speak(page, f"{LONG} And then a fail-step comes.")
    expect(page.locator("#error")).to_contain_text("failed", timeout=30_000)
    expect(page.locator("#status")).to_have_text("Ended before the clip was complete.")
    assert len(downloaded(page)) > 24_000
    assert f'"seed":{page.inner_text("#used-seed")}' in page.inner_text("#code")
    shoot(page, "broken-off")


def test_a_server_that_has_gone_is_not_called_ready(browser: Browser, tmp_path: Path) -> None:
    page = browser.new_page(locale="en-GB")
    with serving(tmp_path, ToyPrograms()) as server:
        page.goto(server.url)
        expect(page.locator("#server")).to_have_text("toy, ready")
    speak(page, "Is anybody there?")
    expect(page.locator("#error")).to_have_text("The server does not answer.")
    expect(page.locator("#server")).to_have_text("the server does not answer")
    page.close()


def test_the_state_of_the_server_is_shown(browser: Browser) -> None:
    page = browser.new_page(locale="en-GB")
    with running(toy={"load_s": 3.0}, ready=False) as server:
        page.goto(server.url)
        expect(page.locator("#server")).to_have_text("the model is being loaded …")
        expect(page.locator("#server")).to_have_text("embedded, ready")
        speak(page, "Now die-step.")
        expect(page.locator("#error")).not_to_be_empty()
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        expect(page.locator("#server")).to_have_text("the server has failed and must be restarted")
    page.close()


def test_one_sound_at_a_time(page: Page) -> None:
    """The clip could be played again while it was still heard for the first time."""
    speak(page, LONG)
    finished(page)
    wait_until(page, "contexts.at(-1).state === 'running'")
    page.evaluate("document.getElementById('replay').play()")
    wait_until(page, "contexts.at(-1).state === 'closed'")
    page.click("#go")
    wait_until(page, "document.getElementById('replay').paused")


def test_clips_stay_in_the_history(page: Page) -> None:
    speak(page, "The first of two clips.")
    finished(page)
    first = downloaded(page)
    seed = page.inner_text("#used-seed")
    speak(page, "The second of two clips.")
    expect(page.locator("#history li")).to_have_count(2)
    page.reload()
    expect(page.locator("#history li")).to_have_count(2)
    page.click("#history li:nth-child(2) [aria-label^=Play]")
    wait_until(page, "document.getElementById('replay').currentTime > 0")
    np.testing.assert_array_equal(downloaded(page), first)
    page.click("#history li:nth-child(2) [aria-label^=Use]")
    assert page.input_value("#text") == "The first of two clips." and page.input_value("#seed") == seed
    page.click("#history li:nth-child(1) [aria-label^=Remove]")
    expect(page.locator("#history li")).to_have_count(1)
    page.click("#clear")
    page.click("#ask-yes")
    expect(page.locator("#history li")).to_have_count(0)


def test_the_word_that_sounds_is_marked(page: Page, slow: ServerThread) -> None:
    page.click("summary")
    page.fill("#seed", "9")
    page.check("#timed")
    text = "Each word is marked. Then the next one is."
    speak(page, text)
    wait_until(page, "document.querySelector('.sounding') !== null")  # while it is heard for the first time
    finished(page)
    expect(page.locator("#spoken")).to_have_text(text)
    shoot(page, "words")
    body = {"gen_text": text, "seed": 9, "timestamps": "word"}
    segments = httpx.post(f"{slow.url}/v1/generate", json=body, timeout=30).json()["timestamps"]
    words = [word for segment in segments for word in segment["words"]]
    wait_until(page, "contexts.at(-1).state === 'closed'")  # heard to the end: nothing else marks words now
    for word in (words[5], words[0], words[-1]):
        page.evaluate(f"document.getElementById('replay').currentTime = {word['start'] + 0.001}")
        index = words.index(word)
        expect(page.locator("#spoken span").nth(index)).to_have_class("sounding")
        expect(page.locator(".sounding")).to_have_count(1)
    page.reload()
    page.click("#history .words")
    expect(page.locator("#spoken")).to_have_text(text)


SAID, SHALL_SAY = "Soft light fell on the water.", "Soft rain fell on the water."


def edit(page: Page, said: str, wanted: str) -> None:
    page.fill("#edit-said", said)
    page.fill("#edit-wanted", wanted)
    page.click("#edit-save")


def test_words_of_a_recording_are_changed(page: Page, tmp_path: Path) -> None:
    """The recording is one of the embedded voices' clips, whose words the recognizer finds."""
    original = decode("flac", (ASSETS / "ada.flac").read_bytes())
    page.click("#edit")
    expect(page.locator("#edit-source")).to_have_text("Choose a recording.")
    expect(page.locator("#edit-save")).to_be_disabled()
    page.set_input_files("#edit-file", ASSETS / "ada.flac")
    edit(page, SAID, "Entirely other words.")
    expect(page.locator("#edit-error")).to_contain_text("keeps no word")
    shoot(page, "edit-refused")
    edit(page, SAID, SHALL_SAY)
    finished(page)
    changed = downloaded(page)
    kept = int(0.2 * 24_000)
    np.testing.assert_allclose(changed[:kept], original[:kept], atol=1e-6)
    np.testing.assert_allclose(changed[-12_000:], original[-12_000:], atol=1e-6)
    assert not np.array_equal(changed[: len(original)], original[: len(changed)])
    page.click("[data-code=python]")
    (tmp_path / "clip.wav").write_bytes((ASSETS / "ada.flac").read_bytes())
    subprocess.run([sys.executable, "-c", page.inner_text("#code")], cwd=tmp_path, check=True, timeout=60)
    np.testing.assert_array_equal(decode("wav", (tmp_path / "speech.wav").read_bytes()), changed)

    page.click("#edit")  # and now the clip that was made
    expect(page.locator("#edit-source")).to_have_text("The clip that was made last.")
    assert page.input_value("#edit-said") == SHALL_SAY
    shoot(page, "edit")
    page.click("#edit-close")
    expect(page.locator("#history li")).to_have_count(1)


def test_voices_are_compared_side_by_side(page: Page, slow: ServerThread) -> None:
    page.click("#compare")
    page.click("summary")
    page.fill("#seed", "3")
    page.check("#compared input[value=cleo]")
    speak(page, "The same words from each.")
    expect(page.locator("#comparison audio")).to_have_count(3, timeout=60_000)
    expect(page.locator("#status")).to_have_text("Done: 3 clips, same text, same seed.")
    assert page.locator("#comparison strong").all_inner_texts() == ["Ada", "Ben", "Cleo"]
    with page.expect_download() as download:
        page.click("#comparison li:nth-child(3) a")
    body = {"model": "m", "input": "The same words from each.", "seed": 3, "voice": "cleo", "response_format": "wav"}
    reply = httpx.post(f"{slow.url}/v1/audio/speech", json=body, timeout=30)
    made = decode("wav", Path(download.value.path()).read_bytes())
    np.testing.assert_array_equal(made, decode("wav", reply.content))
    shoot(page, "comparison")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("...", "nothing to say"),
        ("A [pause:99] b.", "10 seconds"),
    ],
)
def test_errors_are_shown(page: Page, text: str, words: str) -> None:
    speak(page, text)
    expect(page.locator("#error")).to_contain_text(words, timeout=30_000)
    expect(page.locator("body")).to_have_attribute("data-state", "failed")
    shoot(page, f"error-{words.split()[0]}")


def test_a_voice_is_uploaded_used_and_deleted_after_asking(page: Page, tmp_path: Path) -> None:
    clip = tmp_path / "my voice.wav"
    clip.write_bytes(file(np.concatenate([silence(0.3), speech(4)])))
    page.click("#add-voice")
    page.set_input_files("#file", clip)
    page.fill("#words", TEXT)
    page.click("#save")
    expect(page.locator("#report")).to_contain_text("is saved")
    expect(page.locator("#report")).to_contain_text("characters a second")
    shoot(page, "report")
    page.click("#close-add")
    expect(page.locator("#voice option:checked")).to_have_text("my voice")
    speak(page, "Spoken in that voice.")
    finished(page)
    page.click("#delete-voice")
    expect(page.locator("#ask-text")).to_contain_text("my voice")
    page.keyboard.press("Escape")
    expect(page.locator("#voice option:checked")).to_have_text("my voice")
    page.click("#delete-voice")
    page.click("#ask-yes")
    expect(page.locator("#voice option:checked")).to_have_text("Ada")
    assert page.locator("#voice option").all_inner_texts() == ["Ada", "Ben", "Cleo"]


def test_a_clip_is_recorded_and_used_without_saving(page: Page) -> None:
    page.click("#add-voice")
    page.click("#record")
    expect(page.locator("#record")).to_have_attribute("aria-pressed", "true")
    page.wait_for_timeout(2500)
    page.click("#record")
    expect(page.locator("#sample")).to_be_visible()
    page.click("#once")
    expect(page.locator("#report")).to_contain_text("Write down what is said")
    page.fill("#words", "beep beep beep")
    page.click("#once")
    page.click("#close-add")
    expect(page.locator("#voice option:checked")).to_have_text("This clip (not saved)")
    speak(page, "Spoken like a beep.")
    finished(page)


def test_a_bad_clip_is_refused_in_words(page: Page, tmp_path: Path) -> None:
    clip = tmp_path / "quiet.wav"
    clip.write_bytes(file(silence(3)))
    page.click("#add-voice")
    page.set_input_files("#file", clip)
    page.fill("#words", TEXT)
    page.click("#save")
    expect(page.locator("#report [role=alert]")).to_contain_text("silent")


def test_a_key_is_asked_for(browser: Browser, serve: Callable[..., ServerThread]) -> None:
    server = serve(api_keys=("secret-key-1",))
    page = browser.new_page(locale="en-GB")
    page.goto(server.url)
    expect(page.locator("#error")).to_contain_text("an API key is needed")
    page.fill("#key", "secret-key-1")
    page.press("#key", "Enter")
    expect(page.locator("#server")).to_have_text("toy, ready")
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_the_result_without_scrolling(browser: Browser, slow: ServerThread, scheme: Any) -> None:
    """The result lay below the screen: on a phone nothing seemed to happen. In Chinese, as the phone is set."""
    context = browser.new_context(
        viewport={"width": 360, "height": 740},
        device_scale_factor=2,
        is_mobile=True,
        has_touch=True,
        color_scheme=scheme,
        locale="zh-CN",
    )
    page = context.new_page()
    page.goto(slow.url)
    expect(page.locator("#server")).to_have_text("toy，就绪")
    assert page.locator("html").get_attribute("lang") == "zh-CN"
    page.fill("#text", LONG)
    page.tap("#go")
    expect(page.locator("body")).to_have_attribute("data-state", "streaming", timeout=20_000)
    expect(page.locator("#status")).to_be_in_viewport()
    expect(page.locator("#wave")).to_be_in_viewport(ratio=0.9)
    finished(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    small = page.evaluate(
        "[...document.querySelectorAll('button')].filter(b => b.offsetParent && b.getBoundingClientRect().height < 44).length"
    )
    assert small == 0
    shoot(page, f"phone-{scheme}")
    assert faults(page) == []
    context.close()


def test_language_and_theme_are_chosen_and_kept(page: Page) -> None:
    page.click("#language")
    expect(page.locator("#go")).to_have_text("朗读")
    page.click("#theme")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.reload()
    expect(page.locator("#go")).to_have_text("朗读")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark
    page.click("#theme")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != dark
    page.click("#language")
    expect(page.locator("#go")).to_have_text("Speak")


def test_both_languages_have_every_sentence(page: Page) -> None:
    names = page.evaluate(
        """async () => Object.values((await import('/static/strings.js')).WORDS).map((words) => Object.keys(words).sort())"""
    )
    assert names[0] == names[1] and len(names[0]) > 80


def faults(page: Page) -> list[str]:
    """What axe finds by its default rules (WCAG 2.1 A and AA, good practice) in the page as it is now."""
    found = Axe().run(page).response["violations"]
    return [
        f"{fault['id']}: {node['html'][:150]} {node['failureSummary']}" for fault in found for node in fault["nodes"]
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_fault(page: Page, theme: Any) -> None:
    page.emulate_media(color_scheme=theme)
    assert faults(page) == []
    page.click("summary")
    page.check("#timed")
    speak(page, "A clip, and then everything that shows with it.")
    finished(page)
    expect(page.locator("#history li")).to_have_count(1)
    assert faults(page) == []
    speak(page, "...")
    expect(page.locator("#error")).to_be_visible()
    page.click("#compare")
    speak(page, "Side by side.")
    expect(page.locator("#comparison audio")).to_have_count(2, timeout=60_000)
    assert faults(page) == []
    page.click("#add-voice")
    assert faults(page) == []
    page.click("#close-add")
    page.click("#edit")
    assert faults(page) == []
    page.click("#edit-close")
    page.click("#clear")
    assert faults(page) == []
