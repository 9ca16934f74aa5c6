"""From settings to a model's compiled programs."""

from __future__ import annotations

import logging
import time

from f5_tts_server.embedded.config import CONFIG as EMBEDDED
from f5_tts_server.embedded.pronunciation import transcribe_words
from f5_tts_server.f5.hub import check_local_files
from f5_tts_server.f5.text import check_given
from f5_tts_server.inference_types import Programs, SamplingDefaults
from f5_tts_server.models import load_model, model_config
from f5_tts_server.settings import Settings

log = logging.getLogger("f5.server")

# Frames, reference included. A voice that streams is as quick as its first segment's bucket is short.
BUCKETS = (384, 608, 960, 1408, 2112)


def load_programs(settings: Settings) -> Programs:
    """Loads the model and places it on the mesh; its programs are compiled by `Programs.warm_up`.

    Imports JAX: called on the engine's inference thread, while the port already answers. Raises ValueErrors in words
    for the operator.
    """
    import jax

    from f5_tts_server.f5.placement import make_mesh
    from f5_tts_server.f5.platform import Platform
    from f5_tts_server.f5.programs import Programs as CompiledPrograms

    if settings.compilation_cache is not None:
        jax.config.update("jax_compilation_cache_dir", str(settings.compilation_cache.expanduser()))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    # The source lines of every operation are a tenth of the time that tracing takes.
    jax.config.update("jax_traceback_in_locations_limit", 0)
    longest = model_config(settings.model, settings.config).longest
    buckets = settings.buckets or tuple(bucket for bucket in BUCKETS if bucket <= longest)
    started = time.monotonic()
    model = load_model(
        settings.model,
        config=settings.config,
        vocab=settings.vocab,
        vocoder=settings.vocoder,
        dtype=settings.dtype,
        max_frames=buckets[-1],
    )
    mesh = make_mesh(settings.device_mesh, model.config.backbone.heads)
    platform = Platform.of(mesh)
    data = mesh.shape["data"]
    slots = settings.slots or max(8, data)
    if settings.step_sizes:
        sizes = settings.step_sizes
    elif data > 1:
        sizes = (slots,)
    else:
        # One row keeps all of a CPU busy; other devices are filled by several.
        sizes = (1,) if platform.kind == "cpu" else tuple(s for s in (1, 2, 4, 8) if s <= slots)
    log.info("loaded %s in %.1f s; mesh %s on %s", model.config.name, time.monotonic() - started, dict(mesh.shape),
             platform.kind)  # fmt: skip
    return CompiledPrograms(model, mesh, buckets=buckets, slots=slots, step_sizes=sizes)


def sampling_defaults(settings: Settings) -> SamplingDefaults:
    """What the model of these settings recommends, known before it is loaded.

    Raises ValueError for a configuration, and ModelFilesError for a file on this machine, that is not there.
    """
    config = model_config(settings.model, settings.config)
    if settings.model != EMBEDDED.name:
        check_local_files(config.mel.kind, settings.model, settings.vocab, settings.vocoder)
    sampling = config.sampling
    return SamplingDefaults(nfe=sampling.nfe, cfg_strength=sampling.cfg_strength, sway=sampling.sway)


def check_transcription(settings: Settings, transcription: str) -> None:
    """Raises ValueError, which says what would do, for a pronunciation that the model of these settings cannot speak.

    Known before the model is loaded.
    """
    tokenizer = model_config(settings.model, settings.config).tokenizer
    if tokenizer is None:
        transcribe_words(transcription)
    else:
        check_given(transcription, tokenizer)
