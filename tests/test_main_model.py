"""The service on the real programs with a small random-weight model: its audio is that of the plain model, always."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from f5_tts_server.f5.config import Sampling
from f5_tts_server.f5.model import SpeechModel
from f5_tts_server.models import load_model
from tests import tiny_model
from tests.clips import file, noise, silence
from tests.generate_client import joined, post, samples, stream
from tests.server import ServerProcess, running

CLIP = file(noise(1.3))
REFERENCE = {"ref_audio_base64": base64.b64encode(CLIP).decode(), "ref_text": "What the clip says."}
SHORT = "A few words that make one segment."
LONG = "The first of the sentences is here. " * 6
STEPS, CFG = 5, 2.0


def body(text: str, seed: int, **more: Any) -> dict[str, Any]:
    return {
        "gen_text": text,
        "seed": seed,
        "num_inference_steps": STEPS,
        "guidance_scale": CFG,
        "use_sway_sampling": True,
        **REFERENCE,
        **more,
    }


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {name: str(value) for name, value in tiny_model.write(tmp_path_factory.mktemp("tiny")).items()}


@pytest.fixture(scope="module")
def flags(files: dict[str, str]) -> list[str]:
    named = [word for name, value in files.items() for word in (f"--{'model' if name == 'name' else name}", value)]
    return [*named, "--buckets", "256,448", "--slots", "8", "--device-mesh", "1x1", "--first-segment-s", "2"]


@pytest.fixture(scope="module")
def server(flags: list[str]) -> Iterator[ServerProcess]:
    with running(*flags) as running_server:
        yield running_server


@pytest.fixture(scope="module")
def model(files: dict[str, str]) -> SpeechModel:
    return load_model(**files, max_frames=448)  # type: ignore[arg-type]


def test_the_server_speaks_the_plain_models_samples(server: ServerProcess, model: SpeechModel) -> None:
    reference = model.frontend.prepare_reference(CLIP, REFERENCE["ref_text"])
    sampling = Sampling(nfe=STEPS, cfg_strength=CFG, sway=True)
    plain = model.speak(SHORT, reference, sampling=sampling, seed=3)
    served = samples(joined(stream(server, **body(SHORT, 3, read_numbers=False))))
    assert len(served) == len(plain)
    error = np.linalg.norm(served - np.clip(plain, -1, 1)) / np.linalg.norm(plain)
    assert error < 1e-3, f"relative error {error:.2e} beyond that of 16 bits"


def test_audio_is_the_same_alone_among_others_and_after_a_restart(server: ServerProcess, flags: list[str]) -> None:
    alone = joined(stream(server, **body(LONG, 7)))
    with ThreadPoolExecutor(9) as pool:
        others = [pool.submit(post, server, **body(LONG[i:], i, num_inference_steps=3 + i)) for i in range(8)]
        among = pool.submit(stream, server, **body(LONG, 7))
        assert joined(among.result()) == alone
        assert all(other.result().status_code == 200 for other in others)
    whole = post(server, **body(LONG, 7)).json()
    assert base64.b64decode(whole["audio_base64"])[44:] == alone[44:]
    with running(*flags) as restarted:
        assert joined(stream(restarted, **body(LONG, 7))) == alone


def test_nothing_compiles_after_ready_and_references_are_prepared_once(server: ServerProcess) -> None:
    before = server.metric("f5_reference_cache_misses_total")
    for seed, fmt in enumerate(("wav", "pcm", "flac", "mp3", "opus", "aac")):
        more = {"response_format": fmt, "num_inference_steps": seed + 4, "use_sway_sampling": bool(seed % 2)}
        reply = post(server, **body("Words, [pause:0.3] and more words.", seed, **more))
        assert reply.status_code == 200, reply.text
    assert server.metric("f5_compiles_after_ready_total") == 0
    assert server.metric("f5_reference_cache_misses_total") <= before + 1


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"ref_audio_base64": base64.b64encode(file(noise(0.2))).decode()}, "ref_audio_base64"),
        ({"ref_audio_base64": base64.b64encode(file(silence(1.3))).decode()}, "ref_audio_base64"),
        ({"ref_audio_base64": base64.b64encode(b"RIFFxxxxWAVE").decode()}, "ref_audio_base64"),
        ({"ref_text": " "}, "ref_text"),
        ({"duration": 300.0, "gen_text": "Too long."}, "duration"),
    ],
)
def test_what_the_model_cannot_use_is_refused_before_the_stream(
    server: ServerProcess, change: dict[str, Any], param: str
) -> None:
    reply = post(server, "/v1/generate/stream", **{**body("Hello.", 1), **change})
    assert reply.status_code == 422, reply.text
    assert reply.json()["error"]["param"] == param, reply.text


def test_an_exact_duration_is_kept(server: ServerProcess) -> None:
    metadata = post(server, **body("A clip of a certain length.", 1, duration=1.7)).json()["metadata"]
    assert metadata["duration"] == 1.7
