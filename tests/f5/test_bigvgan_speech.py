"""A checkpoint that speaks in BigVGAN's mels: read from official files, and streamed by blocks."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest

from f5_tts_server.f5.bigvgan import BigVGAN
from f5_tts_server.f5.config import Sampling
from f5_tts_server.f5.hub import ModelFilesError
from f5_tts_server.f5.placement import make_mesh
from f5_tts_server.f5.programs import Programs
from f5_tts_server.inference_types import StepRow
from f5_tts_server.models import load_model
from tests import tiny_model
from tests.clips import file, noise

SAMPLING = Sampling(nfe=2, cfg_strength=2.0, sway=True)
SEED = 7


def test_it_speaks_in_blocks_what_the_vocoder_makes_of_the_whole_mel(tmp_path: Path) -> None:
    """Every generated frame has its hop of samples, the last one too, as upstream; the reference has none to spare."""
    model = load_model(**tiny_model.write(tmp_path, "bigvgan"), max_frames=320)  # type: ignore[arg-type]
    vocoder = model.vocoder
    assert isinstance(vocoder, BigVGAN)
    reference = model.frontend.prepare_reference(file(noise(1.3)), "What the clip says.")
    assert len(reference.mel) == len(reference.samples) // model.config.mel.hop
    plan = model.frontend.plan("A few words.", reference, speed=1.0, seconds=None)

    programs = Programs(
        model, make_mesh("1x1", 8), buckets=(320,), slots=1, step_sizes=(1,), max_steps=4, vocode_block=48
    )
    programs.warm_up()
    prefilled = programs.prefill(plan, reference, seed=SEED, segment_index=0, guided=True)
    state = programs.insert(programs.new_state(320), prefilled, 0)
    schedule = programs.schedule(SAMPLING.nfe, SAMPLING.sway)
    for step in range(SAMPLING.nfe):
        state = programs.step(320, state, [StepRow(0, schedule, step, SAMPLING.cfg_strength)])
    mel = programs.take(state, 0, plan)
    frames = plan.frames - plan.ref_frames
    blocks = [programs.vocode(mel, start, min(start + 48, frames)) for start in range(0, frames, 48)]

    *_, x = model.flow(plan, reference, SAMPLING, seed=SEED)
    whole = np.asarray(jax.jit(BigVGAN.decode)(vocoder, model.generated(x, plan)[None]))[0]
    assert len(whole) == programs.clip_samples(frames) == frames * model.config.mel.hop
    assert np.abs(np.concatenate(blocks) - whole).max() <= 1e-5
    assert np.abs(model.decode(model.generated(x, plan)) - whole).max() <= 1e-5


def test_a_vocos_is_not_taken_for_its_vocoder(tmp_path: Path) -> None:
    files = tiny_model.write(tmp_path / "bigvgan", "bigvgan")
    vocos = tiny_model.write(tmp_path / "vocos")["vocoder"]
    with pytest.raises(ModelFilesError, match="the model speaks in mels for bigvgan"):
        load_model(**{**files, "vocoder": vocos})  # type: ignore[arg-type]
