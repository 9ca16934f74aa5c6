"""The body of ``/v1/audio/edits``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from f5_tts_server.api.request_builder import RequestBuilder, decoded_reference
from f5_tts_server.api.speech_options import Format, OwnOptions, Text
from f5_tts_server.editing import Change, plan_edit
from f5_tts_server.editing.recording import read_recording, spoken_words
from f5_tts_server.editing.words import plain_words
from f5_tts_server.inference_types import GenerationRequest
from f5_tts_server.limits import RECORDING_MAX_S, REFERENCE_TEXT_MAX


class EditBody(OwnOptions):
    """A recording, what it says and what it shall say."""

    ref_audio_base64: str = Field(
        min_length=1, description=f"The recording, base64 of any file libsndfile reads; at most {RECORDING_MAX_S:g} s."
    )
    ref_text: Text = Field(min_length=1, max_length=REFERENCE_TEXT_MAX, description="What it says, in English.")
    gen_text: Text = Field(
        min_length=1,
        max_length=REFERENCE_TEXT_MAX,
        description="What it shall say. Words that are not in both texts are taken out or spoken anew, the others stay.",
    )
    response_format: Format = Field("wav", description="Format of the audio.")
    duration: None = Field(None, description="Not for edits.")
    timestamps: None = Field(None, description="Not for edits.")
    verify: Literal[False] = Field(False, description="Not for edits.")
    ssml: Literal[False] = Field(False, description="Not for edits.")
    strip_markup: Literal[False] = Field(False, description="Not for edits.")
    language: Literal["en"] = Field("en", description="Words are found in English recordings only.")
    lexicon: dict[Text, Text] = Field(default_factory=dict, max_length=0, description="Not for edits.")

    def request(
        self, builder: RequestBuilder, request_id: str, rate: int
    ) -> tuple[GenerationRequest, tuple[Change, ...]]:
        """What the engine is asked, and what is changed. Blocks; raises RequestError and TextError."""
        samples = read_recording(decoded_reference(self.ref_audio_base64), rate, RECORDING_MAX_S)
        said, wanted = (plain_words(text, read_numbers=self.read_numbers) for text in (self.ref_text, self.gen_text))
        edit = plan_edit(samples, rate, spoken_words(samples, said), wanted, _speakable)
        request = builder.request(edit.parts, self, format=self.response_format, request_id=request_id)
        return request, edit.changes


def _speakable(word: str) -> bool:
    return any(character.isalnum() for character in word)


EXAMPLES: dict[str, Any] = {
    "replace": {
        "summary": "A word replaced",
        "value": {
            "ref_audio_base64": "UklGR...",
            "ref_text": "The meeting is on Monday.",
            "gen_text": "The meeting is on Friday.",
        },
    },
}
