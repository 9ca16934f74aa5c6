"""The body that all protocols share: our options of speech, which each takes beyond its own fields."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)
from pydantic_core import PydanticCustomError

from f5_tts_server.api.timestamps import Detail
from f5_tts_server.limits import CFG_MAX, SECONDS_MAX, SECONDS_MIN, SEED_MAX, SPEED_MAX, SPEED_MIN, STEPS_MAX
from f5_tts_server.quality import Quality
from f5_tts_server.text.lexicon import REQUEST_ENTRIES_MAX


def encodable(value: Any) -> Any:
    """Lone surrogates cannot be encoded, and no text has them."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError("text has half of a surrogate pair, which is no character") from None
    return value


Text = Annotated[str, BeforeValidator(encodable)]
Name = Annotated[Text, StringConstraints(min_length=1, max_length=100)]

Format = Literal["wav", "pcm", "flac", "mp3", "opus", "aac", "ulaw", "alaw"]
"""The formats of `formats.FORMATS`."""

SampleRate = Literal[8000, 12000, 16000, 22050, 24000, 32000, 44100, 48000]
"""All rates that a format of `formats.FORMATS` has; which one has which, the engine says."""

Steps = Annotated[int, Field(ge=1, le=STEPS_MAX, description="Steps of the flow: more is slower and finer.")]
Guidance = Annotated[
    float, Field(ge=0, le=CFG_MAX, allow_inf_nan=False, description="How closely text and voice rule.")
]
Speed = Annotated[float, Field(ge=SPEED_MIN, le=SPEED_MAX, allow_inf_nan=False, description="Above 1 speaks faster.")]
Seed = Annotated[int, Field(ge=0, le=SEED_MAX, description="Equal seeds give equal audio; by default a random one.")]
Seconds = Annotated[
    float,
    Field(ge=SECONDS_MIN, le=SECONDS_MAX, allow_inf_nan=False, description="Exact length of the clip in seconds."),
]
Timeout = Annotated[float, Field(gt=0, allow_inf_nan=False, description="Give up after so many seconds.")]
Sway = Annotated[bool, Field(description="Spend more of the steps at the beginning of the flow.")]


def _whole_only(ssml: bool) -> bool:
    if ssml:
        raise PydanticCustomError(
            "ssml_in_pieces", "a text that is sent while it is written cannot be a document of SSML"
        )
    return ssml


NoSsml = Annotated[bool, AfterValidator(_whole_only)]
"""`ssml` of texts that come in pieces."""


class SpeechOptions(BaseModel):
    """Options beyond a protocol's own; what is left out is the model's recommendation. Unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore")

    foreign: ClassVar[bool] = True
    """Whether the protocol is another server's, whose clients name that server's models and know nothing of steps."""

    model: Name | None = Field(
        None,
        # ElevenLabs' name for it
        validation_alias=AliasChoices("model", "model_id"),
        description="One of `GET /v1/models`, where the server has several; by default the first.",
    )
    quality: Quality | None = Field(
        None, description="A choice of steps and guidance, which those fields overrule; by default the server's."
    )
    seed: Seed | None = None
    num_inference_steps: Steps | None = None
    guidance_scale: Guidance | None = None
    use_sway_sampling: Sway | None = None
    duration: Seconds | None = None
    timeout_s: Timeout | None = None
    sample_rate: SampleRate | None = Field(
        None, description="Hertz; by default the model's 24000, and 8000 for ulaw and alaw, which have no other."
    )
    bit_rate: int | None = Field(
        None,
        ge=6_000,
        le=320_000,
        description="Bits a second of mp3, opus and aac; by default up to 128000, 64000 and 96000.",
    )
    language: Text | None = Field(
        None,
        max_length=35,
        # ElevenLabs' name for it
        validation_alias=AliasChoices("language", "language_code"),
        description='The text\'s language, such as "en" or "de-AT", in which its numbers are read; by default each '
        "sentence's own.",
    )
    read_numbers: bool = Field(
        True, description="Read numbers, times, money, units and abbreviations as words of the text's language."
    )
    lexicon: dict[Text, Text] = Field(
        default_factory=dict,
        max_length=REQUEST_ENTRIES_MAX,
        description="How words are said: IPA, pinyin with tone numbers, or a respelling, by word; before the voice's lexicon "
        "and the server's.",
    )
    ssml: bool = Field(False, description="The text is a document of SSML: see docs/pronunciation.md.")
    strip_markup: bool = Field(False, description="Leave out Markdown and emoji.")
    timestamps: Detail | None = Field(
        None, description="Tell when each `segment`, `word` or `character` is said, in seconds of the joined file."
    )
    verify: bool = Field(
        False,
        description="Hear each piece of speech before it is sent, and make those again whose words were lost, repeated or "
        "garbled. English; see docs/verification.md.",
    )


class OwnOptions(SpeechOptions):
    """The base of our own endpoints' bodies: an unknown field is refused."""

    # Lax mode would take true for 1 and "3" for 3; a client that sends those has a fault worth telling.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    foreign = False

    @model_validator(mode="before")
    @classmethod
    def _one_unknown_field(cls, fields: Any) -> Any:
        """Keep one unknown field to complain of: thousands would make as many errors."""
        if not isinstance(fields, dict):
            return fields
        known = set(cls.model_fields)
        for info in cls.model_fields.values():
            if isinstance(info.validation_alias, AliasChoices):
                known.update(choice for choice in info.validation_alias.choices if isinstance(choice, str))
        unknown = next((name for name in fields if name not in known), None)
        return {name: value for name, value in fields.items() if name in known or name == unknown}
