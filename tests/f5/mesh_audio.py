"""Speaks the same segments on three meshes of eight virtual CPU devices; prints differences and collectives as JSON.

Of a tiny model, or with ``embedded`` for an argument of the embedded voice on the meshes 1x1, 8x1 and 4x2.

A process of its own: the number of devices is fixed when JAX starts.
"""

from __future__ import annotations

import os

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import json
import re
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from f5_tts_server.embedded.config import ASSETS
from f5_tts_server.f5.placement import make_mesh
from f5_tts_server.f5.programs import Programs
from f5_tts_server.formats.pcm import int16_samples
from f5_tts_server.inference_types import VoiceClip
from f5_tts_server.models import load_model
from f5_tts_server.voices.store import VoiceStore
from tests import tiny_model
from tests.clips import file, noise
from tests.f5.rows import TEXTS, Row

SLOTS = 8


def speak(programs: Programs, clip: VoiceClip, nfe: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The mels of all texts, made together, and their samples in 16 bits."""
    reference = programs.frontend.prepare_reference(clip.audio, clip.text)
    (bucket,) = programs.buckets
    schedule, state = programs.schedule(nfe, True), programs.new_state(bucket)
    plans = [programs.frontend.plan(text, reference, speed=1.0, seconds=None) for text in TEXTS]
    for slot, plan in enumerate(plans):
        prefilled = programs.prefill(plan, reference, seed=slot, segment_index=0, guided=True)
        state = programs.insert(state, prefilled, 2 * slot)
    for index in range(nfe):
        state = programs.step(bucket, state, [Row(2 * slot, schedule, index, 2.0) for slot in range(len(plans))])
    mels = [programs.take(state, 2 * slot, plan) for slot, plan in enumerate(plans)]
    return [(mel.frames, int16_samples(programs.vocode(mel, 0, len(mel.frames)))) for mel in mels]


def main(arguments: list[str]) -> None:
    if arguments == ["embedded"]:
        meshes, bucket, nfe = ("1x1", "8x1", "4x2"), 608, 8
        model = load_model("embedded", max_frames=bucket)
        clip = VoiceStore(None, ASSETS).default.clip
    else:
        meshes, bucket, nfe = ("1x1", "8x1", "2x4"), 448, 4
        with tempfile.TemporaryDirectory() as folder:
            model = load_model(**tiny_model.write(Path(folder)), max_frames=bucket)  # type: ignore[arg-type]
        clip = VoiceClip(file(noise(1.3)), "What the clip says.")
    spoken: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    collectives: dict[str, dict[str, int]] = {}
    gathered: list[str] = []
    dim = model.config.backbone.dim
    for mesh in meshes:
        programs = Programs(
            model,
            make_mesh(mesh, model.config.backbone.heads),
            buckets=(bucket,),
            slots=SLOTS,
            step_sizes=(SLOTS,),
            max_steps=8,
        )
        programs.warm_up()
        spoken[mesh] = speak(programs, clip, nfe)
        text = programs.step_text(bucket, SLOTS)
        collectives[mesh] = dict(Counter(re.findall(r"= \S+ (all-reduce|all-gather|all-to-all)\(", text)))
        # A weight's gather would give back its whole shape: one of the stack's [.., dim, n] or [.., n, dim] leaves.
        for shape in re.findall(r"= f32\[([\d,]+)\]\S* all-gather\(", text):
            sizes = [int(size) for size in shape.split(",")]
            if len(sizes) <= 3 and sizes[-2:] in ([dim, dim], [dim, 2 * dim], [2 * dim, dim]):
                gathered.append(f"{mesh}: {shape}")
    errors = {
        mesh: max(
            float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))
            for (ours, _), (theirs, _) in zip(clips, spoken["1x1"], strict=True)
        )
        for mesh, clips in spoken.items()
    }
    # Of 32,768: the largest difference between two 16-bit samples.
    steps = {
        mesh: max(
            int(np.abs(ours.astype(int) - theirs).max())
            for (_, ours), (_, theirs) in zip(clips, spoken["1x1"], strict=True)
        )
        for mesh, clips in spoken.items()
    }
    result = {"errors": errors, "sample_steps": steps, "collectives": collectives, "gathered_weights": gathered}
    json.dump(result, sys.stdout)
    print()


if __name__ == "__main__":
    main(sys.argv[1:])
