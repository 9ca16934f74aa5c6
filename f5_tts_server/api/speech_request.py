"""Our own options of speech, which every protocol takes beyond its own, and the engine's request made of them."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from f5_tts_server.api.generate_body import MIN_DURATION, STEPS_MAX, encodable
from f5_tts_server.api.services import Services
from f5_tts_server.engine.limits import CFG_MAX, SECONDS_MAX, SEED_MAX
from f5_tts_server.inference_types import GenerationRequest, Part, VoiceClip
from f5_tts_server.text import Composer

Text = Annotated[str, BeforeValidator(encodable)]


class SpeechOptions(BaseModel):
    """Options beyond a protocol's own; what is left out is the model's recommendation. Unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore")

    seed: int | None = Field(
        None, ge=0, le=SEED_MAX, description="Equal seeds give equal audio; by default a random one."
    )
    num_inference_steps: int | None = Field(
        None, ge=1, le=STEPS_MAX, description="Steps of the flow: more is slower and finer."
    )
    guidance_scale: float | None = Field(
        None, ge=0, le=CFG_MAX, allow_inf_nan=False, description="How closely text and voice rule."
    )
    use_sway_sampling: bool | None = Field(None, description="Spend more of the steps at the beginning of the flow.")
    duration: float | None = Field(
        None, ge=MIN_DURATION, le=SECONDS_MAX, allow_inf_nan=False, description="Exact length of the clip in seconds."
    )
    timeout_s: float | None = Field(None, gt=0, allow_inf_nan=False, description="Give up after so many seconds.")
    read_numbers: bool = Field(
        True, description="Read numbers, times, money, units and abbreviations as English words."
    )
    strip_markup: bool = Field(False, description="Leave out Markdown and emoji.")


@dataclass(frozen=True, slots=True)
class SpeechDesk:
    """Options and texts to the engine's words."""

    services: Services

    def composer(self, voice: str | None, speed: float | None, options: SpeechOptions) -> Composer:
        """What turns a request's text into parts. Raises UnknownVoice."""
        return Composer(
            find_voice=self._clip,
            clip=self.services.voices.default.clip if voice is None else self._clip(voice),
            speed=self.services.defaults.speed * (1.0 if speed is None else speed),
            read_numbers=options.read_numbers,
            strip_markup=options.strip_markup,
        )

    def request(
        self, parts: tuple[Part, ...], options: SpeechOptions, *, format: str, request_id: str, open: bool = False
    ) -> GenerationRequest:
        """What the engine is asked."""
        defaults = self.services.defaults
        return GenerationRequest(
            parts=parts,
            request_id=request_id,
            seed=secrets.randbelow(SEED_MAX + 1) if options.seed is None else options.seed,
            nfe=defaults.nfe if options.num_inference_steps is None else options.num_inference_steps,
            cfg_strength=defaults.cfg_strength if options.guidance_scale is None else options.guidance_scale,
            sway=defaults.sway if options.use_sway_sampling is None else options.use_sway_sampling,
            format=format,
            timeout_s=self.services.timeout_s if options.timeout_s is None else options.timeout_s,
            open=open,
        )

    def _clip(self, name: str) -> VoiceClip:
        return self.services.voices.get(name).clip
