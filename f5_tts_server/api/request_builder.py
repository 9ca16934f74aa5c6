"""Bodies of all protocols to the engine's requests: the one place where voices are found and texts are read."""

from __future__ import annotations

import base64
import binascii
import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from f5_tts_server.api.caller import current_caller
from f5_tts_server.api.speech_options import SpeechOptions
from f5_tts_server.catalogue import Catalogue
from f5_tts_server.inference_types import GenerationRequest, Part, Refused, RequestError, VoiceClip, invalid_field
from f5_tts_server.limits import SEED_MAX
from f5_tts_server.remote_files import FetchBusy, Fetcher, FetchFailed, FetchRefused
from f5_tts_server.text import Composer, Lexicon, TextError, compose
from f5_tts_server.text.lexicon import CheckTranscription
from f5_tts_server.voices.store import DEFAULT, InvalidMixture, UnknownVoice, VoiceStore
from f5_tts_server.voices.transcription import Transcriber

log = logging.getLogger("f5.http")

_NO_WORDS = Lexicon()
_NO_HOSTS = Fetcher((), max_bytes=0)


def decoded_reference(encoded: str) -> bytes:
    """The file of a reference clip in base64, which may be a `data:` URL. Raises RequestError: it is not, or empty."""
    if encoded.startswith("data:"):
        encoded = encoded.partition(",")[2]
    try:
        audio = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid_field("reference", f"reference is not base64: {error}") from error
    if not audio:
        raise invalid_field("reference", "reference is empty")
    return audio


@dataclass(frozen=True, slots=True)
class RequestBuilder:
    """Makes requests. It decodes, may transcribe, and reads whole texts: routers call it on a worker thread.

    Fields of errors have the engine's names, as `api.faults` renames them. Whatever the options leave open is what
    ``models`` has for the model that they name; ``timeout_s`` is the deadline of requests that set none, ``fallback`` the
    voice of those that name an unknown one, ``lexicon`` the server's own, and ``check_transcription`` refuses, by a
    ValueError, what the model cannot speak. ``fetcher`` gets references that requests name by URL.
    """

    voices: VoiceStore
    transcriber: Transcriber
    models: Catalogue
    timeout_s: float
    fallback: str | None = None
    lexicon: Lexicon = _NO_WORDS
    check_transcription: CheckTranscription = lambda _: None
    fetcher: Fetcher = _NO_HOSTS

    def stored(self, name: str | None, options: SpeechOptions) -> VoiceClip:
        """The clip of a stored voice or a mix of them, by default that of the options' model, else the server's.

        Raises what `VoiceStore.clip` does, UnknownVoice only where there is no fallback; RequestError for an unknown model.
        """
        if name is None or name.strip().casefold() == DEFAULT:
            own = self.models.find(options.model, foreign=options.foreign).defaults.voice
            return self.voices.default.clip if own is None else self.voices.clip(own)
        try:
            return self.voices.clip(name)
        except UnknownVoice:
            if self.fallback is None:
                raise
            log.info("voice %.64r is unknown: the fallback voice speaks", name)
            return self.voices.get(self.fallback).clip

    def reference(self, encoded: str, text: str | None) -> VoiceClip:
        """A clip that came with the request, in base64; without its words it is transcribed, where the server can.

        Raises:
            RequestError: it is not base64, or empty.
            UnusableClip, TranscriptionUnavailable: its words were not given and could not be found out.
        """
        return self._with_words(decoded_reference(encoded), text)

    def fetched(self, url: str, text: str | None) -> VoiceClip:
        """A clip that the request names by its URL, as `reference` has it.

        Raises RequestError (503 where too many are being fetched), UnusableClip, TranscriptionUnavailable.
        """
        try:
            audio = self.fetcher.fetch(url)
        except FetchRefused as error:
            raise RequestError(422, "reference_url_refused", f"ref_audio_url: {error}", "ref_audio_url") from error
        except FetchFailed as error:
            raise RequestError(422, "reference_url_failed", f"ref_audio_url: {error}", "ref_audio_url") from error
        except FetchBusy as error:
            raise Refused(503, "reference_url_busy", f"ref_audio_url: {error}", retry_after=1) from error
        return self._with_words(audio, text)

    def _with_words(self, audio: bytes, text: str | None) -> VoiceClip:
        return VoiceClip(audio, text if text and text.strip() else self.transcriber.transcribe_clip(audio))

    def composer(
        self, clip: VoiceClip, options: SpeechOptions, *, speed: float | None, lexicons: Sequence[Lexicon] = ()
    ) -> Composer:
        """What turns pieces of a text into parts; ``speed`` above 1 speaks faster, None is 1.

        ``lexicons`` of the protocol come after the one in the options and before the voice's and the server's.

        Raises RequestError for an entry of the options' lexicon.
        """
        try:
            own = Lexicon.of(options.lexicon, self.check_transcription)
        except TextError as error:
            raise invalid_field("lexicon", f"lexicon: {error}") from error
        return Composer(
            find_voice=self._named_in_text,
            clip=clip,
            speed=1.0 if speed is None else speed,
            read_numbers=options.read_numbers,
            strip_markup=options.strip_markup,
            ssml=options.ssml,
            language=options.language,
            lexicons=lambda speaker: (own, *lexicons, *self.voices.lexicons(speaker), self.lexicon),
            check=self.check_transcription,
        )

    def whole(
        self, text: str, composer: Composer, options: SpeechOptions, *, format: str, request_id: str
    ) -> GenerationRequest:
        """The request for a text that is there as a whole.

        Raises:
            TextError: nothing in it can be said, a mark is wrong, or ``options.duration`` is too short.
            RequestError: a mark names an unknown voice.
        """
        parts = compose(text, composer, seconds=options.duration)
        return self.request(parts, options, format=format, request_id=request_id)

    def request(
        self, parts: tuple[Part, ...], options: SpeechOptions, *, format: str, request_id: str, open: bool = False
    ) -> GenerationRequest:
        """The request for parts that are made already, or, if ``open``, come later.

        Raises RequestError: the model is unknown.
        """
        model = self.models.find(options.model, foreign=options.foreign)
        defaults = model.sampling(options.quality, thrifty=options.foreign)
        # A schema shows the defaults of one model; only what the client sent counts.
        steps, guidance, sway = (
            getattr(options, name) if name in options.model_fields_set else None
            for name in ("num_inference_steps", "guidance_scale", "use_sway_sampling")
        )
        return GenerationRequest(
            parts=parts,
            request_id=request_id,
            seed=secrets.randbelow(SEED_MAX + 1) if options.seed is None else options.seed,
            nfe=defaults.nfe if steps is None else steps,
            cfg_strength=defaults.cfg_strength if guidance is None else guidance,
            sway=defaults.sway if sway is None else sway,
            format=format,
            sample_rate=options.sample_rate,
            bit_rate=options.bit_rate,
            timeout_s=self.timeout_s if options.timeout_s is None else options.timeout_s,
            open=open,
            model=model.name,
            timestamps=options.timestamps is not None,
            verify=options.verify,
            caller=current_caller(),
        )

    def _named_in_text(self, name: str) -> VoiceClip:
        try:
            return self.voices.clip(name)
        except UnknownVoice as error:
            raise RequestError(404, "voice_not_found", f"text: {error}", "text") from error
        except InvalidMixture as error:
            raise RequestError(422, "invalid_voice_mix", f"text: {error}", "text") from error
