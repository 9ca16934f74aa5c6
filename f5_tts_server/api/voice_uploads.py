"""Voices that are uploaded, whichever protocol they come by: measured, transcribed where needed, kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anyio import to_thread

from f5_tts_server.api.services import Services
from f5_tts_server.inference_types import VoiceClip
from f5_tts_server.voices.report import STORED_RATE, prepare, report
from f5_tts_server.voices.store import StoredVoice
from f5_tts_server.voices.transcript import check


async def store_voice(
    services: Services, texts: Mapping[str, str], audio: bytes, *, labels: dict[str, str] | None = None
) -> StoredVoice:
    """Measure, transcribe where needed, and keep an upload.

    ``texts`` are ``name``, ``ref_text``, ``consent`` and ``description``. Raises any of `faults.FAULTS`.
    """

    def store() -> StoredVoice:
        name = services.voices.check_name(texts["name"])
        clip, measured = _measured(services, texts["ref_text"], audio)
        return services.voices.add(
            name,
            clip,
            consent=texts["consent"] or None,
            description=texts["description"] or None,
            report=measured,
            labels=labels,
        )

    return await to_thread.run_sync(store, limiter=services.measuring)


async def edit_voice(
    services: Services,
    voice_id: str,
    texts: Mapping[str, str],
    audio: bytes | None,
    *,
    labels: dict[str, str] | None,
) -> StoredVoice:
    """Change an uploaded voice: what is empty or None stays. ``texts`` are ``name``, ``ref_text`` and ``description``.

    Raises any of `faults.FAULTS`.
    """

    def change() -> StoredVoice:
        clip, measured = (None, None) if audio is None else _measured(services, texts["ref_text"], audio)
        return services.voices.edit(
            voice_id,
            name=texts["name"] or None,
            description=texts["description"] or None,
            labels=labels,
            clip=clip,
            report=measured,
        )

    return await to_thread.run_sync(change, limiter=services.measuring)


def _measured(services: Services, ref_text: str, audio: bytes) -> tuple[VoiceClip, dict[str, Any]]:
    """An upload as it is stored, and the report on it."""
    given = ref_text.strip()
    if not given:
        services.transcriber.load()
    clip = prepare(audio) if given else prepare(audio, max_speech_seconds=None)
    words = given or services.transcriber.transcribe(clip.samples, STORED_RATE)
    found, heard = report(clip, words), check(clip.samples, words)
    remarks = found.remarks
    if heard is not None and not heard.fits:
        remarks += (f"the clip does not seem to say its transcript; {heard.proposal or 'read it again'}",)
    told = {"remarks": remarks, "transcribed": not given, "transcript": heard and heard.as_json()}
    return VoiceClip(clip.wav(), words), found.as_json() | told
