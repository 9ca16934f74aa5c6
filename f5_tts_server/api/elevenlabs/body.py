"""What ElevenLabs' HTTP bodies and WebSocket messages share."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from f5_tts_server.api.speech_options import Speed
from f5_tts_server.inference_types import RequestError

DEFAULT_FORMAT = "mp3_44100_128"


class VoiceSettings(BaseModel):
    """Only the speed is of use here."""

    model_config = ConfigDict(extra="ignore")

    speed: Speed | None = None


def codec(output_format: str, sample_rate: int) -> str:
    """The format here for one of ElevenLabs', such as `mp3_44100_128`, of which the codec counts.

    MP3, Opus and WAV files say their own rate, which is the model's; raw PCM exists in that rate only.

    Raises RequestError for those that are not made.
    """
    name, _, details = output_format.partition("_")
    if name == "pcm" and details.split("_")[0] != str(sample_rate):
        made = f"pcm_{sample_rate} is"
    elif name not in ("mp3", "opus", "wav", "pcm"):
        made = f"mp3_*, opus_*, wav_* and pcm_{sample_rate} are"
    else:
        return name
    message = f"output_format {output_format[:40]!r} is not made here; {made}"
    raise RequestError(422, "invalid_request", message, "output_format")
