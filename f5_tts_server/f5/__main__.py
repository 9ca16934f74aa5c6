"""`python -m f5_tts_server.f5 "text" -o out.wav`: speak a text into a file."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import soundfile
from tqdm import tqdm

from f5_tts_server.f5.config import Sampling
from f5_tts_server.f5.loading import load_model


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line; argparse ends the program with its usage where it is wrong."""
    parser = argparse.ArgumentParser("python -m f5_tts_server.f5", description=__doc__)
    parser.add_argument("text", help="what to say; - reads it from standard input")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("out.wav"), help="WAV file to write (default: out.wav)"
    )
    parser.add_argument("--model", default="embedded", help="embedded, F5TTS_v1_Base, …, a file or folder, hf://…")
    parser.add_argument("--config", help="architecture of a model of one's own: a known name or an official YAML file")
    parser.add_argument("--vocab", help="vocabulary; by default the vocab.txt beside the weights")
    parser.add_argument("--vocoder", help="vocoder; a folder or hf://owner/repo")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--ref-audio", type=Path, required=True, help="a few seconds of the voice to speak in")
    parser.add_argument("--ref-text", required=True, help="what is said in it")
    parser.add_argument("--steps", type=int, help="steps of the flow (default: the model's own)")
    parser.add_argument("--cfg-strength", type=float, help="guidance (default: the model's own)")
    parser.add_argument(
        "--sway", action=argparse.BooleanOptionalAction, help="sway sampling (default: the model's own)"
    )
    parser.add_argument("--method", choices=("euler", "midpoint"), default="euler")
    parser.add_argument("--speed", type=float, default=1.0, help="above 1 speaks faster")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """The command; returns the exit code."""
    options = parse(arguments)
    text = sys.stdin.read() if options.text == "-" else options.text
    try:
        model = load_model(
            options.model, config=options.config, vocab=options.vocab, vocoder=options.vocoder, dtype=options.dtype
        )
        reference = model.prepare_reference(options.ref_audio.read_bytes(), options.ref_text)
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
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    soundfile.write(options.output, samples, model.config.mel.sample_rate)
    print(f"{options.output}: {len(samples) / model.config.mel.sample_rate:.2f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
