"""Whole clips, file to file, against the official `infer_process`: same weights, reference, text, steps and vocoder.

`make parity` makes the environment; then `.venv-parity/bin/python -m benchmarks.clip --model embedded`.
A run reads the reference's file and ends with a written WAV file: trimming, mel, flow, vocoder, cross-fades. Loading
the model and compiling are left out of both; a run of each before the timed ones pays for them. Both are started from
the same noise once, and the clips compared, before either is timed. Each takes the threads that it takes by itself.

The embedded voice takes part with its trained weights but the official text front end and mel scale, which is what
infer_process has; so its clips are not speech, and take the time that speech of that length takes. Other models have
random weights. The vocoder is an official Vocos with random weights, at its released size, for the embedded voice at the
size of its own, which the official package does not have.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest import mock

import jax
import numpy as np
import soundfile
import torch
import torchaudio
from flax import nnx
from numpy.typing import NDArray
from safetensors.numpy import load_file
from vocos.pretrained import Vocos as OfficialVocos

from benchmarks.random_model import alphabet
from benchmarks.report import ROOT, environment, print_last_line
from f5_tts_server.f5 import sampler
from f5_tts_server.f5.config import Sampling
from f5_tts_server.f5.model import SpeechModel
from f5_tts_server.f5.text import PinyinFrontend
from f5_tts_server.f5.vocos import Vocos, VocosConfig
from f5_tts_server.f5.weights import backbone_from_state_dict, load_vocos, save_vocos
from f5_tts_server.models import CONFIGS
from tests.golden import official
from tests.golden.random_weights import draw

EMBEDDED = ROOT / "f5_tts_server" / "embedded" / "assets"
EMBEDDED_VOCODER = VocosConfig(dim=192, intermediate_dim=576, num_layers=6)
SEED = 1
CFG, SWAY = 2.0, -1.0
TOLERANCE = 1e-3  # relative, of samples; the official code keeps the trimmed reference as 16 bit PCM
TEXTS = {
    "short": "Nobody had opened the door of the old mill since the river changed its course.",
    "long": "Nobody had opened the door of the old mill since the river changed its course. The wheel was still, and "
    "moss had grown over the stones. When the surveyors came in spring they found the ledgers in a dry cupboard, "
    "every page filled with the same small hand, and the last entry, which spoke of snow, had no date.",
}


def read_as_torchaudio(path: str) -> tuple[torch.Tensor, int]:
    """What `torchaudio.load` gives, which needs TorchCodec and FFmpeg's libraries in its present version."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return torch.from_numpy(samples.T.copy()), rate


def weights_without_prefix(path: Path, prefix: str) -> dict[str, NDArray[np.float32]]:
    return {key.removeprefix(prefix): value.astype(np.float32) for key, value in load_file(path).items()}


def build(name: str, folder: Path) -> tuple[SpeechModel, torch.nn.Module, OfficialVocos]:
    """Our model, the official model and the official vocoder, with the same weights; `folder` holds the random ones."""
    config = CONFIGS[name]
    backbone = config.backbone
    vocabulary = alphabet(backbone.text_num_embeds)
    theirs, shapes = official.build(backbone, SEED)
    theirs.vocab_char_map = dict(vocabulary.index)
    weights = draw(shapes, SEED)
    if name == "embedded":
        weights = weights_without_prefix(EMBEDDED / "flow.safetensors", "ema_model.transformer.")
        weights = {key: value for key, value in weights.items() if key in shapes}
        table = weights["text_embed.text_embed.weight"]
        rows = backbone.text_num_embeds + 1 - len(table)  # the trained vocabulary is smaller than the alphabet
        weights["text_embed.text_embed.weight"] = np.concatenate([table, np.resize(table, (rows, table.shape[1]))])
        official.load(theirs, weights)
    vocoder_config, vocoder_weights = folder / "config.yaml", folder / "pytorch_model.bin"
    vocoder = Vocos(EMBEDDED_VOCODER if name == "embedded" else VocosConfig(), rngs=nnx.Rngs(0))
    save_vocos(vocoder_config, folder / "unused.safetensors", vocoder)
    official_vocoder = OfficialVocos.from_hparams(str(vocoder_config)).eval()
    random = draw({key: tuple(value.shape) for key, value in official_vocoder.named_parameters()}, SEED)
    official_vocoder.load_state_dict({key: torch.from_numpy(value) for key, value in random.items()}, strict=False)
    torch.save(official_vocoder.state_dict(), vocoder_weights)
    ours = SpeechModel(
        config=replace(config, tokenizer="pinyin", mel_offset=0.0, mel_scale=1.0),
        backbone=backbone_from_state_dict(weights, backbone),
        vocoder=load_vocos(vocoder_config, vocoder_weights),
        frontend=PinyinFrontend(vocabulary, config.mel, max_frames=4096),
    )
    return ours, theirs, official_vocoder


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="embedded", choices=[n for n in CONFIGS if not n.startswith("E2")])
    parser.add_argument("--texts", nargs="+", default=list(TEXTS), choices=TEXTS)
    parser.add_argument("--nfe", type=int, default=4)
    parser.add_argument("--runs", type=int, default=3, help="timed runs of each, alternating")
    options = parser.parse_args()
    from f5_tts.infer import utils_infer

    torchaudio.load = read_as_torchaudio
    sampling = Sampling(nfe=options.nfe, cfg_strength=CFG, sway=True)
    voice = json.loads((EMBEDDED / "voices.json").read_text())["voices"][0]
    results = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours, theirs, vocoder = build(options.model, folder)
        clip = folder / "reference.wav"
        soundfile.write(clip, *soundfile.read(EMBEDDED / voice["audio"], dtype="int16"))

        def run_ours(text: str, output: Path) -> None:
            reference = ours.frontend.prepare_reference(clip.read_bytes(), voice["text"])
            samples = ours.speak(text, reference, sampling=sampling, seed=SEED)
            soundfile.write(output, samples, ours.config.mel.sample_rate, subtype="FLOAT")

        def run_theirs(text: str, output: Path) -> None:
            utils_infer._ref_audio_cache.clear()
            torch.manual_seed(SEED)
            with contextlib.redirect_stdout(io.StringIO()):
                audio, reference_text = utils_infer.preprocess_ref_audio_text(str(clip), voice["text"], print)
                samples, rate, _ = utils_infer.infer_process(
                    audio, reference_text, text, theirs, vocoder, show_info=print, progress=None,
                    nfe_step=options.nfe, cfg_strength=CFG, sway_sampling_coef=SWAY, device="cpu",
                )  # fmt: skip
            soundfile.write(output, samples, rate, subtype="FLOAT")

        def official_noise(seed: int, _segment: int, frames: int, mel: int) -> jax.Array:
            """The start that the official code draws for the true length, as ours is asked for a padded one."""
            padded = np.zeros((frames, mel), np.float32)
            padded[: lengths[-1]] = official.noise(seed, lengths[-1])
            return jax.numpy.asarray(padded)

        print(f"{options.model}, {options.nfe} steps, reference and text from and to files\n")
        print(f"{'text':6} {'speech':>8}  {'':10} {'s':>8} {'ours is':>9} {'of real time':>12} {'error':>9}")
        rows: dict[str, Callable[[str, Path], None]] = {"JAX": run_ours, "official": run_theirs}
        for text_name in options.texts:
            text = TEXTS[text_name]
            reference = ours.frontend.prepare_reference(clip.read_bytes(), voice["text"])
            segments = list(ours.frontend.split(text, reference, speed=1.0, first_seconds=None))
            lengths = [ours.frontend.plan(segment, reference, speed=1.0, seconds=None).frames for segment in segments]
            if len(segments) != 1:
                raise ValueError(f"the text {text_name!r} is cut into {len(segments)}; only one has one noise to share")
            outputs = {row: folder / f"{row}.wav" for row in rows}
            with mock.patch.object(sampler, "noise", official_noise):
                run_ours(text, outputs["JAX"])
            run_theirs(text, outputs["official"])
            made, truth = (soundfile.read(outputs[row])[0] for row in ("JAX", "official"))
            if len(made) != len(truth):
                print(f"ours has {len(made)} samples, the official clip {len(truth)}: not timed", file=sys.stderr)
                return 1
            error = float(np.linalg.norm(made - truth) / np.linalg.norm(truth))
            if not error < TOLERANCE:
                print(f"ours differs from the official clip by {error:.1e}: not timed", file=sys.stderr)
                return 1
            times: dict[str, list[float]] = {row: [] for row in rows}
            for _ in range(options.runs):
                for row, run in rows.items():
                    start = time.perf_counter()
                    run(text, outputs[row])
                    times[row].append(time.perf_counter() - start)
            speech = len(truth) / ours.config.mel.sample_rate
            median = {row: statistics.median(seconds) for row, seconds in times.items()}
            for row, seconds in median.items():
                print(
                    f"{text_name:6} {speech:6.1f} s  {row:10} {seconds:8.2f} {seconds / median['JAX']:8.2f}× "
                    f"{seconds / speech:12.2f} {error:9.1e}"
                )
                results.append(
                    {"text": text_name, "row": row, "s": seconds, "all": times[row], "speech_s": speech, "error": error,
                     "frames": lengths[0]}
                )  # fmt: skip
    versions = environment("jax", "torch", "f5-tts", "vocos")
    print_last_line("clip", versions, {"model": options.model, "nfe": options.nfe, "rows": results})
    return 0


if __name__ == "__main__":
    sys.exit(main())
