"""What a stored voice is spoken with where a request says nothing, by ElevenLabs' names."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from f5_tts_server.limits import SPEED_MAX, SPEED_MIN

Part = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class KeptSettings(BaseModel):
    """Of these the speed has a meaning here, in ElevenLabs' protocol; the others are kept for its clients."""

    model_config = ConfigDict(extra="ignore")

    stability: Part | None = None
    similarity_boost: Part | None = None
    style: Part | None = None
    use_speaker_boost: bool | None = None
    speed: Annotated[float, Field(ge=SPEED_MIN, le=SPEED_MAX, allow_inf_nan=False)] | None = None

    def given(self) -> dict[str, float | bool]:
        """Those that are set."""
        return self.model_dump(exclude_none=True)
