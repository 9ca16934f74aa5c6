"""The compiled programs against the plain model, and the promises a server builds on them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from numpy.typing import NDArray

from f5_tts_server.embedded.source_vocos import SourceVocos
from f5_tts_server.f5.config import Sampling
from f5_tts_server.f5.frontend import Reference
from f5_tts_server.f5.model import SpeechModel
from f5_tts_server.f5.placement import make_mesh
from f5_tts_server.f5.programs import Programs
from f5_tts_server.f5.vocos import VocosConfig
from tests.clips import file, noise
from tests.f5.rows import TEXTS, Row


def build(model: SpeechModel, **options: Any) -> Programs:
    settings = {"buckets": (256, 448), "slots": 4, "step_sizes": (1, 4), "max_steps": 16, "vocode_block": 24, **options}
    programs = Programs(model, make_mesh("1x1", 8), **settings)
    told: list[tuple[int, int]] = []
    programs.warm_up(lambda done, total: told.append((done, total)))
    count = len(programs._compiled)
    assert sorted(told) == [(done, count) for done in range(1, count + 1)], "the start's progress is miscounted"
    return programs


@pytest.fixture(scope="module")
def programs(tiny: SpeechModel) -> Programs:
    return build(tiny)


def relative_error(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    assert ours.shape == theirs.shape
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def alone(
    programs: Programs, text: str, reference: Reference, *, nfe: int, cfg: float, seed: int, slot: int = 0
) -> Any:
    """One segment by itself, a row a step."""
    plan = programs.frontend.plan(text, reference, speed=1.0, seconds=None)
    schedule = programs.schedule(nfe, True)
    prefilled = programs.prefill(plan, reference, seed=seed, segment_index=0, guided=cfg != 0)
    state = programs.insert(programs.new_state(prefilled.bucket), prefilled, slot)
    for index in range(nfe):
        state = programs.step(prefilled.bucket, state, [Row(slot, schedule, index, cfg)])
    return programs.take(state, slot, plan), plan


@pytest.mark.parametrize(("text", "nfe", "cfg"), [(TEXTS[0], 7, 2.0), (TEXTS[2], 5, 0.0), (TEXTS[1], 9, 1.3)])
def test_equals_the_plain_model(
    tiny: SpeechModel, programs: Programs, reference: Reference, text: str, nfe: int, cfg: float
) -> None:
    mel, plan = alone(programs, text, reference, nfe=nfe, cfg=cfg, seed=5)
    *_, x = tiny.flow(plan, reference, Sampling(nfe, cfg, sway=True), seed=5)
    truth = tiny.generated(x, plan)
    assert relative_error(mel.frames, truth) < 1e-5
    count = plan.frames - plan.ref_frames
    assert relative_error(programs.vocode(mel, 0, count), tiny.decode(truth)) < 1e-4


def test_a_vocoder_that_follows_the_pitch_equals_the_plain_model(tiny: SpeechModel, reference: Reference) -> None:
    config = VocosConfig(dim=32, intermediate_dim=64, num_layers=2)
    model = replace(tiny, vocoder=SourceVocos(config, rngs=nnx.Rngs(0)))
    programs = build(model, buckets=(256,))
    before = programs.compile_count
    mel, plan = alone(programs, TEXTS[1], reference, nfe=5, cfg=2.0, seed=5)
    count = plan.frames - plan.ref_frames
    parts = [programs.vocode(mel, a, b) for a, b in ((0, 10), (10, 24), (24, count))]
    assert programs.compile_count == before
    assert relative_error(np.concatenate(parts), model.decode(mel.frames)) < 1e-4


def test_a_model_in_bfloat16_says_nearly_the_same(tiny: SpeechModel, reference: Reference) -> None:
    """Its states and inputs have the type that its activations have, which on a CPU is not that of its weights."""
    graph, parameters = nnx.split(tiny.backbone)
    halved = jax.tree.map(lambda weight: weight.astype(jnp.bfloat16), parameters)
    programs = build(replace(tiny, backbone=nnx.merge(graph, halved)), buckets=(256,))
    before = programs.compile_count
    mel, plan = alone(programs, TEXTS[1], reference, nfe=5, cfg=2.0, seed=5)
    assert programs.compile_count == before
    *_, x = tiny.flow(plan, reference, Sampling(5, 2.0, sway=True), seed=5)
    assert relative_error(mel.frames, tiny.generated(x, plan)) < 0.03


def test_a_model_that_needs_no_guidance_is_stepped_in_one_pass(tiny: SpeechModel, reference: Reference) -> None:
    """Unguided rows take the short program, guided ones and their neighbours the other; both say what upstream would."""
    unguided = replace(tiny, config=replace(tiny.config, sampling=Sampling(5, 0.0, sway=True)))
    programs = build(unguided, buckets=(256,))
    before = programs.compile_count
    plan = programs.frontend.plan(TEXTS[0], reference, speed=1.0, seconds=None)
    wanted = {0: 0.0, 1: 2.0, 2: 0.0}  # slot to guidance
    state = programs.new_state(256)
    for slot, cfg in wanted.items():
        prefilled = programs.prefill(plan, reference, seed=slot, segment_index=0, guided=cfg != 0)
        state = programs.insert(state, prefilled, slot)
    schedule = programs.schedule(5, True)
    for index in range(5):
        state = programs.step(256, state, [Row(0, schedule, index, 0.0)])
        state = programs.step(256, state, [Row(1, schedule, index, 2.0), Row(2, schedule, index, 0.0)])
    assert programs.compile_count == before
    for slot, cfg in wanted.items():
        *_, x = unguided.flow(plan, reference, Sampling(5, cfg, sway=True), seed=slot)
        truth = unguided.generated(x, plan)
        assert relative_error(programs.take(state, slot, plan).frames, truth) < 1e-5
    costs = (programs._compiled["step", 256, 1, passes].cost_analysis() for passes in (1, 2))
    flops = [cost["flops"] for cost in costs if cost]
    assert flops[1] > 1.9 * flops[0]


def test_the_first_frame_of_speech_is_the_references_last(programs: Programs, reference: Reference) -> None:
    """Upstream slices its output at whole hops and puts the reference's frames back; ours once kept the flow's own."""
    mel, plan = alone(programs, TEXTS[1], reference, nfe=5, cfg=2.0, seed=1)
    assert len(reference.mel) == plan.ref_frames + 1
    assert np.array_equal(mel.frames[0], reference.mel[-1])


def test_blocks_of_sound_make_the_whole(programs: Programs, reference: Reference) -> None:
    mel, plan = alone(programs, TEXTS[2], reference, nfe=5, cfg=2.0, seed=2)
    count = plan.frames - plan.ref_frames
    whole = programs.vocode(mel, 0, count)
    assert len(whole) == (count - 1) * programs.hop
    for cuts in ((1, 2, 24, 25, count - 1), (24, 48), (count // 2,)):
        edges = (0, *cuts, count)
        parts = [programs.vocode(mel, a, b) for a, b in zip(edges, edges[1:], strict=False)]
        assert np.abs(np.concatenate(parts) - whole).max() < 1e-5
    step = programs.vocode_block
    parts = [programs.vocode(mel, a, min(a + step, count)) for a in range(0, count, step)]
    assert np.array_equal(np.concatenate(parts), whole)
    costs = [programs._compiled["vocode", name].cost_analysis() for name in ("open", "next")]
    opened, following = (cost["flops"] for cost in costs if cost)
    assert following < 0.75 * opened  # no frame is computed again


def test_same_audio_whoever_else_is_speaking(programs: Programs, reference: Reference) -> None:
    """Segments with different lengths, steps, guidance and grids share steps, entering and leaving in between."""
    wanted = [(TEXTS[1], 7, 2.0, 11), (TEXTS[2], 16, 1.3, 12), (TEXTS[0], 9, 0.0, 13), (TEXTS[3], 5, 3.0, 14)]
    truths, bucket = [], 256
    for text, nfe, cfg, seed in wanted:
        mel, plan = alone(programs, text, reference, nfe=nfe, cfg=cfg, seed=seed)
        truths.append(mel.frames)
        bucket = max(bucket, next(b for b in programs.buckets if b >= plan.frames))
    shared = build(programs.model, buckets=(448,))
    state, taken = shared.new_state(448), {}
    plans = [shared.frontend.plan(text, reference, speed=1.0, seconds=None) for text, *_ in wanted]
    progress: dict[int, int] = {}
    for turn in range(40):
        entering = turn // 2  # one more every second turn
        if turn % 2 == 0 and entering < len(wanted):
            seed = wanted[entering][3]
            prefilled = shared.prefill(plans[entering], reference, seed=seed, segment_index=0, guided=True)
            state = shared.insert(state, prefilled, (entering + 1) % 4)
            progress[entering] = 0
        rows = []
        for who, done in progress.items():
            _, nfe, cfg, _ = wanted[who]
            rows.append(Row((who + 1) % 4, shared.schedule(nfe, True), done, cfg))
        if not rows:
            break
        state = shared.step(448, state, rows)
        for who in list(progress):
            progress[who] += 1
            if progress[who] == wanted[who][1]:
                taken[who] = shared.take(state, (who + 1) % 4, plans[who]).frames
                del progress[who]
    for who, truth in enumerate(truths):
        assert relative_error(taken[who], truth) < 1e-4, wanted[who]


def test_a_slot_taken_twice_and_a_restart_change_no_bit(programs: Programs, reference: Reference) -> None:
    first, _ = alone(programs, TEXTS[3], reference, nfe=7, cfg=2.0, seed=3, slot=1)
    again, _ = alone(programs, TEXTS[3], reference, nfe=7, cfg=2.0, seed=3, slot=1)
    restarted, _ = alone(build(programs.model), TEXTS[3], reference, nfe=7, cfg=2.0, seed=3, slot=2)
    assert np.array_equal(first.frames, again.frames)
    assert np.array_equal(first.frames, restarted.frames)


def test_a_state_is_updated_in_place(programs: Programs, reference: Reference) -> None:
    """What is donated must be used: the compiled insert and step write into the slots that they were given."""
    state = programs.new_state(256)
    held = sum(array.nbytes for array in jax.tree.leaves(state.slots))
    for key in (("insert", 256), ("step", 256, 1, 2), ("step", 256, 4, 2)):
        memory = programs._compiled[key].memory_analysis()
        assert memory is not None and memory.alias_size_in_bytes >= held, key
    plan = programs.frontend.plan(TEXTS[0], reference, speed=1.0, seconds=None)
    prefilled = programs.prefill(plan, reference, seed=0, segment_index=0, guided=True)
    inserted = programs.insert(state, prefilled, 0)
    stepped = programs.step(256, inserted, [Row(0, programs.schedule(5, True), 0, 2.0)])
    programs.fence(inserted)()
    programs.fence(stepped)()
    assert all(array.is_deleted() for array in jax.tree.leaves((state.slots, inserted.slots)))
    assert not any(
        array.is_deleted() for array in jax.tree.leaves((prefilled, stepped.slots)) if isinstance(array, jax.Array)
    )


def test_nothing_compiles_after_warm_up(programs: Programs, reference: Reference) -> None:
    before = programs.compile_count
    mel, plan = alone(programs, "Something new, and of another length.", reference, nfe=11, cfg=1.7, seed=2**32 - 1)
    programs.vocode(mel, 0, plan.frames - plan.ref_frames)
    programs.frontend.prepare_reference(file(noise(2.1, seed=4)), "Another clip.")
    assert before > 0 and programs.compile_count == before


def test_faults_are_named(programs: Programs, reference: Reference) -> None:
    with pytest.raises(ValueError, match="between 1 and 16, not 17"):
        programs.schedule(17, False)
    with pytest.raises(ValueError, match="different slots"):
        programs.step(256, programs.new_state(256), [])
    schedule = programs.schedule(5, True)
    with pytest.raises(ValueError, match="different slots"):
        programs.step(256, programs.new_state(256), [Row(0, schedule, 0, 1.0), Row(0, schedule, 1, 1.0)])
    text = "It fits the front end's 512 frames, not the bucket's 448."
    plan = programs.frontend.plan(text, reference, speed=1.0, seconds=3.7)
    with pytest.raises(ValueError, match=r"a segment of \d+ frames does not fit the largest bucket of 448"):
        programs.prefill(plan, reference, seed=0, segment_index=0, guided=True)


def test_device_meshes_give_the_same_audio() -> None:
    """(1,1), (8,1) and (2,4) on eight virtual devices, in a process of its own; see mesh_audio.py."""
    root = Path(__file__).parent.parent.parent
    done = subprocess.run(
        [sys.executable, "-m", "tests.f5.mesh_audio"], cwd=root, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert max(result["errors"].values()) < 1e-4, result
    # Column-parallel products followed by row-parallel ones: an all-reduce each, and no weight travels.
    collectives = result["collectives"]
    assert collectives["1x1"] == {}
    assert collectives["2x4"]["all-reduce"] >= 2, collectives
    assert result["gathered_weights"] == [], result
