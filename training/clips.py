"""Makes the reference clips of the voices that ship, as Kokoro speaks them: `python -m training.clips --styles FOLDER`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import soundfile

from f5_tts_server.embedded.config import ASSETS
from f5_tts_server.embedded.phonemes import phonemes
from training.shards import level
from training.spoken import SAMPLE_RATE
from training.teachers import Kokoro

CLIPS: dict[str, tuple[str, str, str, float]] = {
    "ada": ("Ada", "af_heart", "Soft light fell on the water.", 0.85),
    "ben": ("Ben", "am_michael", "We walked along the beach today.", 1.06),
    "cleo": ("Cleo", "bf_emma", "She found an old blue book.", 1.1),
    "dan": ("Dan", "bm_george", "Every story has a question.", 1.25),
    "eve": ("Eve", "af_bella", "The garden smells of summer rain.", 1.0),
    "finn": ("Finn", "am_fenrir", "My brother works in the city.", 0.92),
    "gwen": ("Gwen", "bf_isabella", "There is fresh bread on the table.", 1.11),
    "hugh": ("Hugh", "bm_fable", "Nobody knew where the road ended.", 1.22),
}
"""Voice id → its name, Kokoro's voice, what is said in its clip, and at which speed: so that all speak at about 160 words a
minute, as in training. Short: every step of the flow passes over it too."""
DEFAULT = "ada"


def export_clips(folder: Path, styles: Path) -> None:
    """The reference clips and `voices.json`. `styles`: the style vectors of kokoro-js."""
    teacher, noise = Kokoro(styles), np.random.default_rng(0)
    entries = []
    for voice_id, (name, voice, text, speed) in CLIPS.items():
        spoken = teacher.speak(phonemes(text), voice, speed=speed)
        # Below the level that the model hears, to which the front end lifts it and from which the output is taken back:
        # so peaks beyond the clip's do not clip.
        samples = level(spoken.samples, noise, 0.7)
        samples *= np.float32(min(1.0, 0.98 / float(np.abs(samples).max())))
        soundfile.write(folder / f"{voice_id}.flac", samples, SAMPLE_RATE, subtype="PCM_16")
        entries.append({"id": voice_id, "name": name, "audio": f"{voice_id}.flac", "text": text})
    index = {"default": DEFAULT, "voices": entries}
    (folder / "voices.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--styles", type=Path, required=True, help="kokoro-js's folder of style vectors")
    parser.add_argument("--folder", type=Path, default=ASSETS)
    arguments = parser.parse_args()
    export_clips(arguments.folder, arguments.styles)


if __name__ == "__main__":
    main()
