"""A recording edited in the embedded voice's programs: its samples are kept, and the joins do not click."""

from __future__ import annotations

import numpy as np

from f5_tts_server.editing import plan_edit
from f5_tts_server.editing.recording import read_recording, spoken_words
from f5_tts_server.embedded.config import ASSETS
from f5_tts_server.engine.splice import spliced
from f5_tts_server.inference_types import INFILL_FADE_FRAMES, Infill, Recorded
from f5_tts_server.models import load_model

RATE, HOP = 24_000, 256
FADE = INFILL_FADE_FRAMES * HOP


def test_a_word_is_put_into_a_natural_clip() -> None:
    """The plan's frames fit the flow's; its gap lies where the word was; no step at a join is greater than in speech."""
    samples = read_recording((ASSETS / "ben.flac").read_bytes(), RATE, 60.0)
    words = spoken_words(samples, "We walked along the beach today.")
    edit = plan_edit(samples, RATE, words, "We walked along the river today.", str.isprintable)
    before, infill, after = edit.parts
    assert isinstance(before, Recorded) and isinstance(infill, Infill) and isinstance(after, Recorded)
    model = load_model("embedded")
    plan, reference = model.frontend.plan_infill(
        infill.samples, infill.first, infill.last, before=infill.before, text=infill.text, after=infill.after
    )
    generated = plan.frames - plan.ref_frames - plan.after_frames
    length = (generated - 3) * HOP
    assert 0.5 < length / (infill.last - infill.first) < 2, "the rate of the words around is kept"
    assert len(plan.tokens) * 2 == plan.frames, "a token for every second frame"
    for x in model.flow(plan, reference, model.config.sampling, seed=5):
        made = x
    mel = model.generated(made, plan)
    assert len(mel) == plan.frames
    np.testing.assert_array_equal(mel[: plan.ref_frames], reference.mel)
    np.testing.assert_array_equal(mel[len(mel) - plan.after_frames :], plan.after)
    first = (plan.ref_frames + 1 - INFILL_FADE_FRAMES) * HOP
    speech = model.decode(mel)[first : first + length + 2 * FADE] * np.float32(reference.gain)
    new = spliced(infill, speech, FADE)
    clip = np.concatenate([before.samples, new, after.samples])
    steps = np.abs(np.diff(clip))
    usual = np.percentile(np.abs(np.diff(samples)), 99.5)
    for join in (
        len(before.samples),
        len(before.samples) + FADE,
        len(clip) - len(after.samples) - FADE,
        len(clip) - len(after.samples),
    ):
        assert steps[join - 3 : join + 3].max() < usual, f"a click at sample {join}"
    power = np.square(new[FADE:-FADE]).mean()
    assert 0.1 < power / np.square(samples).mean() < 10, "something is said, as loud as the rest"
