"""Several models on the real programs, with small random weights: each speaks as it does alone, and leaves no memory."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

import jax
import numpy as np
import pytest

from f5_tts_server.catalogue import catalogue
from f5_tts_server.f5.config import Sampling
from f5_tts_server.f5.model import SpeechModel
from f5_tts_server.inference_types import GenerationRequest, Samples, Speech, VoiceClip
from f5_tts_server.loading import load_programs, sampling_defaults
from f5_tts_server.models import load_model
from f5_tts_server.pool import ModelPool
from f5_tts_server.settings import Settings
from tests import tiny_model
from tests.asked import audio, until
from tests.clips import file, noise

pytestmark = pytest.mark.anyio

CLIP = VoiceClip(file(noise(1.3)), "What the clip says.")
TEXT = "A few words that make one segment."
STEPS = 5


def request(model: str) -> GenerationRequest:
    return GenerationRequest(
        (Speech(TEXT, CLIP),), "r", seed=3, nfe=STEPS, cfg_strength=2.0, sway=True, format="pcm", model=model
    )


def plain(files: dict[str, str]) -> Samples:
    model: SpeechModel = load_model(**files, max_frames=448)  # type: ignore[arg-type]
    reference = model.frontend.prepare_reference(CLIP.audio, CLIP.text)
    return model.speak(TEXT, reference, sampling=Sampling(STEPS, 2.0, sway=True), seed=3)


def held() -> int:
    return sum(array.nbytes for array in jax.live_arrays())


async def test_two_models_speak_side_by_side_and_an_unloaded_one_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {}
    for number, name in enumerate(("one", "two")):
        monkeypatch.setattr(tiny_model, "SEED", number)
        files[name] = tiny_model.write(tmp_path / name)
    truths = {name: plain(arguments) for name, arguments in files.items()}
    lines = [
        f"  - {{name: {name}, weights: {a['model']}, config: {a['config']}, vocoder: {a['vocoder']}, load: first-use}}"
        for name, a in files.items()
    ]
    (tmp_path / "models.yaml").write_text("\n".join(["models:", *lines]))
    settings = Settings(
        models_file=tmp_path / "models.yaml",
        buckets=(448,),
        first_segment_s=3,
        slots=2,
        device_mesh="1x1",
        compilation_cache=tmp_path / "compiled",
    )
    gc.collect()
    gc.disable()  # nothing is freed but by the pool
    before = held()
    pool = ModelPool(catalogue(settings, sampling_defaults), load_programs, settings.engine_options(), idle_s=0.5)
    pool.start()
    try:
        for _ in range(2):  # the second time they are loaded again
            heard = await asyncio.gather(*(audio(pool.submit(request(name))) for name in truths))
            for name, samples in zip(truths, heard, strict=True):
                truth = np.clip(truths[name], -1, 1)
                assert len(samples) == len(truth), name
                assert np.linalg.norm(samples - truth) / np.linalg.norm(truth) < 1e-3, name
            assert held() > before
            # The keeper held the engine while it collected, so that the memory stayed until some later collection.
            await until(lambda: held() == before, 60)
            assert all(model.engine is None for model in pool.models.values())
        assert {name: model.loads for name, model in pool.models.items()} == {"one": 2, "two": 2}
    finally:
        gc.enable()
        await asyncio.to_thread(pool.stop)
