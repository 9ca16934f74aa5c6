"""Settings from the environment and the command line, and what is said when they are wrong."""

from __future__ import annotations

import pytest

from f5_tts_server.settings import Settings, read_settings


def test_flags_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("F5_PORT", "1")
    monkeypatch.setenv("F5_QUEUE_LIMIT", "5")
    settings = read_settings(["--port", "2", "--buckets", "384,500"], program="f5-tts-serve serve")
    assert (settings.port, settings.queue_limit, settings.buckets) == (2, 5, (384, 500))
    assert read_settings().port == 1


def test_settings_in_seconds_say_so() -> None:
    """`F5_FIRST_SEGMENT=1` could be a segment, a count or a time; chunk_size keeps the name clients know."""
    seconds = {name for name, field in Settings.model_fields.items() if "second" in str(field.description)}
    about_rates = {"buckets"}  # they mention frames a second
    assert {name for name in seconds - about_rates if not name.endswith("_s")} == {"chunk_size"}


@pytest.mark.parametrize(
    ("variable", "arguments", "words"),
    [
        ("F5_MAX_CONCURENT_REQUESTS", [], "did you mean F5_MAX_CONCURRENT_REQUESTS?"),
        ("F5_WHATEVER_THAT_IS", [], "F5_WHATEVER_THAT_IS: no such setting"),
        (None, ["--voice-folder", "x"], "--voice-folder: no such flag; did you mean --voices-folder?"),
        (None, ["--first-segment=2"], "did you mean --first-segment-s?"),
        (None, ["--port", "x"], "F5_PORT or --port"),
    ],
)
def test_a_typo_is_told_with_what_was_probably_meant(
    variable: str | None,
    arguments: list[str],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if variable is not None:
        monkeypatch.setenv(variable, "1")
    with pytest.raises(SystemExit):
        read_settings(arguments)
    assert words in capsys.readouterr().err
