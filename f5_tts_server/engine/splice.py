"""An infill's speech between the samples of its recording."""

from __future__ import annotations

import numpy as np

from f5_tts_server.inference_types import Infill, Samples


def spliced(infill: Infill, speech: Samples, fade: int) -> Samples:
    """What is heard from ``fade`` samples before the gap to as many after it.

    ``speech`` [n] is as long, and over the fades says the same as the recording, of which the vocoder has made it anew.
    """
    up = np.linspace(0, 1, fade, endpoint=False, dtype=np.float32)
    made = speech.copy()
    made[:fade] += (1 - up) * (infill.samples[infill.first - fade : infill.first] - made[:fade])
    made[len(made) - fade :] += up * (infill.samples[infill.last : infill.last + fade] - made[len(made) - fade :])
    return made
