"""Measures mixes of voices (`f5_tts_server.voices.mixing`): `python -m training.mixes ada:ben ada:cleo`.

For each pair: how like each of the two, speaking alone, a mix sounds, its pitch, and which words are misheard. Needs
`requirements-training.txt`; what it listens with is in `training.ears`.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

from f5_tts_server.embedded.config import ASSETS
from f5_tts_server.f5.model import SpeechModel
from f5_tts_server.models import load_model
from f5_tts_server.voices.store import VoiceStore
from training.ears import Recogniser, SpeakerEncoder, at_16k
from training.error_rates import error_rate
from training.pitch import track
from training.sentences import heldout_sentences
from training.shards import MEL

MIXES = ("{a}", "{a}(3)+{b}(1)", "{a}(2)+{b}(1)", "{a}+{b}", "{a}(1)+{b}(2)", "{b}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", nargs="+", help="voices that come with the server, as ada:ben")
    parser.add_argument("--sentences", type=int, default=5)
    options = parser.parse_args()
    model: SpeechModel = load_model("embedded")
    voices, recogniser, speakers = VoiceStore(None, ASSETS), Recogniser(), SpeakerEncoder()
    sentences = [text for text in heldout_sentences() if len(text.split()) > 5][: options.sentences]

    def measure(voice: str) -> tuple[NDArray[np.float32], float, float]:
        """The speakers of the sentences [n, 256], the median pitch in hertz, and the rate of misheard words."""
        clip = voices.clip(voice)
        reference = model.frontend.prepare_reference(clip.audio, clip.text)
        spoken = [model.speak(text, reference, seed=1) for text in sentences]
        heard = [at_16k(samples, MEL.sample_rate) for samples in spoken]
        tracks = [track(samples, len(samples) // MEL.hop) for samples in spoken]
        words = [(recogniser.normal(text), recogniser.words(clip)) for text, clip in zip(sentences, heard, strict=True)]
        pitch = float(np.median(np.concatenate([one.hertz[one.voiced] for one in tracks])))
        return np.stack([speakers.embed(clip) for clip in heard]), pitch, error_rate(words)

    print(f"| voice | like the first | like the second | pitch, Hz | word errors, {len(sentences)} sentences |")
    print("|---|---|---|---|---|")
    for pair in options.pairs:
        a, b = pair.split(":")
        found = {mix.format(a=a, b=b): measure(mix.format(a=a, b=b)) for mix in MIXES}
        own = [np.mean(found[name][0], axis=0) for name in (a, b)]
        for name, (speaker, pitch, errors) in found.items():
            like = [float(np.mean(speaker @ (one / np.linalg.norm(one)))) for one in own]
            print(f"| `{name}` | {like[0]:.2f} | {like[1]:.2f} | {pitch:.0f} | {errors:.3f} |", flush=True)


if __name__ == "__main__":
    main()
