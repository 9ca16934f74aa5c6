"""`f5-tts-serve speak "text" -o out.wav`: speak a text into a file, without a server."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import soundfile
from tqdm import tqdm

from f5_tts_server.embedded.config import ASSETS
from f5_tts_server.f5.config import Sampling
from f5_tts_server.inference_types import VoiceClip
from f5_tts_server.models import load_model
from f5_tts_server.voices.store import VoiceError, VoiceStore


def parse(arguments: list[str], program: str) -> argparse.Namespace:
    """The command line; argparse ends the program with its usage where it is wrong."""
    parser = argparse.ArgumentParser(program, description="Speak a text into a WAV file, without a server.")
    parser.add_argument("text", help="what to say; - reads it from standard input")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("out.wav"), help="WAV file to write (default: out.wav)"
    )
    parser.add_argument("--model", default="embedded", help="embedded, F5TTS_v1_Base, …, a file or folder, hf://…")
    parser.add_argument("--config", help="architecture of a model of one's own: a known name or an official YAML file")
    parser.add_argument("--vocab", help="vocabulary; by default the vocab.txt beside the weights")
    parser.add_argument("--vocoder", help="vocoder; a folder or hf://owner/repo")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--voice", default="default", help="a voice that comes along, by name (default: the first)")
    parser.add_argument("--ref-audio", type=Path, help="a few seconds of the voice to speak in, instead of --voice")
    parser.add_argument("--ref-text", help="what is said in it")
    parser.add_argument("--steps", type=int, help="steps of the flow (default: the model's own)")
    parser.add_argument("--cfg-strength", type=float, help="guidance (default: the model's own)")
    parser.add_argument(
        "--sway", action=argparse.BooleanOptionalAction, help="sway sampling (default: the model's own)"
    )
    parser.add_argument("--method", choices=("euler", "midpoint"), default="euler")
    parser.add_argument("--speed", type=float, default=1.0, help="above 1 speaks faster")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if (options.ref_audio is None) != (options.ref_text is None):
        parser.error("--ref-audio and --ref-text go together: a clip, and what is said in it")
    return options


def _clip(options: argparse.Namespace) -> VoiceClip:
    """The reference to speak in. Raises OSError or UnknownVoice."""
    if options.ref_audio is not None:
        return VoiceClip(options.ref_audio.read_bytes(), options.ref_text)
    return VoiceStore(None, ASSETS).get(options.voice).clip


def main(arguments: list[str], program: str) -> int:
    """The command; gives the process's exit code."""
    options = parse(arguments, program)
    text = sys.stdin.read() if options.text == "-" else options.text
    try:
        clip = _clip(options)
        model = load_model(
            options.model, config=options.config, vocab=options.vocab, vocoder=options.vocoder, dtype=options.dtype
        )
        reference = model.frontend.prepare_reference(clip.audio, clip.text)
        given = {"nfe": options.steps, "cfg_strength": options.cfg_strength, "sway": options.sway}
        chosen = {name: value for name, value in given.items() if value is not None}
        sampling: Sampling = replace(model.config.sampling, method=options.method, **chosen)
        with tqdm(unit="step", disable=None) as bar:

            def progress(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            samples = model.speak(
                text, reference, sampling=sampling, speed=options.speed, seed=options.seed, progress=progress
            )
    except (ValueError, OSError, VoiceError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    soundfile.write(options.output, samples, model.config.mel.sample_rate)
    print(f"{options.output}: {len(samples) / model.config.mel.sample_rate:.2f} s")
    return 0
