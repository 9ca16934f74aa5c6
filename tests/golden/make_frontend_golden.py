"""Makes frontend_text.json and frontend_audio.npz from the official package.

python tests/golden/make_frontend_golden.py

Needs `f5-tts==1.1.22` (installed without its dependencies), `torch==2.13.0`, `pydub==0.25.1`, `librosa==0.11.0`,
`rjieba==0.2.2`, `pypinyin==0.55.0`, `soundfile`. The official functions run as they are, `infer_process` and
`CFM.sample` included; the only stand-ins are a transformer that records what it is given and returns zeros, a
vocoder that records how many frames it is given, and a loader, as torchaudio's needs a further package.
"""

import json
import random
import sys
import tempfile
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
import torch

for absent in ("matplotlib", "matplotlib.pylab", "f5_tts.model.trainer"):  # imported by the package, not used here
    sys.modules[absent] = types.ModuleType(absent)
sys.modules["matplotlib"].use = lambda *_: None
sys.modules["matplotlib"].pylab = sys.modules["matplotlib.pylab"]
sys.modules["f5_tts.model.trainer"].Trainer = None

import f5_tts.infer.utils_infer as official
from f5_tts.model import CFM
from f5_tts.model.modules import MelSpec
from f5_tts.model.utils import convert_char_to_pinyin, get_tokenizer

SEED = 20261122
HERE = Path(__file__).parent

TEXTS = [
    "",
    " ",
    "\t",
    "Hello, world.",
    "Some call me nature, others call me mother nature; I do not mind!",
    "  Leading and trailing blanks  ",
    "tabs\there\tand\tthere\n and a\r\nline\n\nor two",
    "He said: “It’s ‘fine’; isn't it?” (No—really…)",
    "No punctuation at all in this rather long line which goes on and on until it has passed every budget by far",
    "One. Two! Three? Four; five: six, seven.Eight,nine 3.14 1,000 e.g. Mr. X",
    "Yes.",
    "No",
    "123 456.78 $9.99 50% #1 @home a+b=c x_y [z] {w} <v> ~`^|\\",
    "naïve café déjà-vu, Ærøskøbing, Straße, ¿Qué? ¡Olé! İstanbul, Łódź, Dvořák, Việt Nam",
    "cafe\u0301 e\u0301 combining",
    "Привет, как дела? Γειά σου. שלום עולם. مرحبا.",
    "😀 Emoji 👩‍👩‍👧 in 🇩🇪 text 🎉! ❤️",
    "zero\u200bwidth non\u00a0breaking \u3000 ideographic \ufeff mark \x07 bell",
    "我们今天去北京，不要迟到。",
    "你好，世界！一个人，两千三百四十五。不对，不是，不行，一百，第一，一定。",
    "银行行长在重庆长大，他重新得到了还给我的东西；“真的”：是吗？",
    "对，这就是我，万人敬仰的太乙真人。虽然有点婴儿肥，但也掩不住我逼人的帅气。",
    "没有标点的一句很长很长的中文句子它一直继续下去直到超过了所有的预算也没有停下来的意思因为它就是这样",
    "我用Python写code，版本3.11，OK吗?email是a@b.cn。C++和F5-TTS都OK",
    "中文 English 混合 mixed，半角, 全角，123个。",
    "café在北京，naïve的我😀很好",
    "こんにちは、東京タワーへ行きました。カタカナ、々。",
    "안녕하세요 세계. สวัสดีชาวโลก",
    "繁體中文，臺灣的銀行。㐀𠀀𪚥 ㄅㄆㄇ",
    "儿化音：花儿，哪儿。老虎你好，请给我五把好雨伞。",
    "；：，。！？;:,.!?",
    "a  b   c . d ,e",
    "...wait... what?! —yes",
    "The quick brown fox jumps over the lazy dog. " * 12,
    "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少？" * 5,
    "Ünïcödé ünd mehr, öfter älter. " * 6,
]
UNKNOWN = set("qZ7é") | {"bei3"}  # left out of the vocabulary, so that something is unknown

REFERENCES = [  # transcript, samples, sample rate
    ("Some call me nature, others call me mother nature.", 120_000, 24_000),
    ("Some call me nature, others call me mother nature", 31_337, 24_000),
    ("Short ref. ", 36_100, 24_000),
    ("对，这就是我，万人敬仰的太乙真人。", 97_531, 24_000),
    ("对，这就是我，万人敬仰的太乙真人", 97_531, 24_000),
    ("Eleven seconds and more of somebody talking without end? " * 3, 287_000, 24_000),
    ("Recorded at another rate!", 200_001, 44_100),
    ("And at a third one,", 77_777, 16_000),
]
SPEEDS = [1.0, 0.7, 1.6, 0.3]
FIXED = [None, None, None, 15.0, 21.37]  # official fix_duration, s


class Recorder(torch.nn.Module):
    """Takes the place of the transformer: keeps tokens and lengths, makes no speech."""

    dim = 1

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[dict[str, object]] = []
        self.cond: list[np.ndarray] = []

    def forward(self, x: torch.Tensor, cond: torch.Tensor, text: torch.Tensor, **_: object) -> torch.Tensor:
        self.seen.append({"ids": text[0].tolist(), "frames": x.shape[1]})
        self.cond.append(cond[0].numpy())
        return torch.zeros_like(x)

    def clear_cache(self) -> None:
        pass


class FrameCounter:
    """Takes the place of the vocoder."""

    def __init__(self) -> None:
        self.frames: list[int] = []

    def decode(self, mel: torch.Tensor) -> torch.Tensor:
        self.frames.append(mel.shape[-1])
        return torch.zeros(1, (mel.shape[-1] - 1) * 256)


def noise(generator: np.random.Generator, count: int) -> np.ndarray:
    return generator.normal(0, 0.05, count).astype(np.float32)


def speak(
    samples: np.ndarray,
    rate: int,
    reference_text: str,
    text: str,
    vocab: dict[str, int],
    speed: float,
    fix: float | None,
) -> tuple[list[dict[str, object]], Recorder]:
    """What the official inference gives to its model for each chunk of a text."""
    recorder, counter = Recorder(), FrameCounter()
    model = CFM(transformer=recorder, vocab_char_map=vocab)
    official.torchaudio.load = lambda _: (torch.from_numpy(samples)[None], rate)
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder  # the official code leaves its file behind
        path = str(Path(folder, "reference.wav"))
        soundfile.write(path, samples, rate)
        _, reference_text = official.preprocess_ref_audio_text(path, reference_text, show_info=lambda _: None)
        tempfile.tempdir = None
    official.infer_process(
        "", reference_text, text, model, counter, nfe_step=1, cfg_strength=0, speed=speed, fix_duration=fix,
        show_info=lambda _: None, progress=None, device="cpu",
    )  # fmt: skip
    for seen, frames in zip(recorder.seen, counter.frames, strict=True):
        seen["generated"] = frames
    return recorder.seen, recorder


def text_golden() -> dict[str, object]:
    tokens = [convert_char_to_pinyin([text])[0] for text in TEXTS]
    known = sorted({token for line in tokens for token in line if token not in "\r\n"} - UNKNOWN - {" "})
    lines = [" ", *known]
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "vocab.txt"))
        Path(path).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        vocab, size = get_tokenizer(path, "custom")
    assert size == len(lines)
    chunks = [
        {"text": text, "max_bytes": budget, "chunks": official.chunk_text(text, budget)}
        for text in TEXTS
        for budget in (-3, 0, 1, 12, 40, 135)
    ]
    generator = np.random.default_rng(SEED)
    chance = random.Random(SEED)
    plans = []
    for reference_text, count, rate in REFERENCES:
        samples = noise(generator, count)
        for text in chance.sample([text for text in TEXTS if text.strip()], 12):
            speed, fix = chance.choice(SPEEDS), chance.choice(FIXED)
            spoken, _ = speak(samples, rate, reference_text, text, vocab, speed, fix)
            plans.append(
                {"reference_text": reference_text, "samples": count, "rate": rate, "text": text, "speed": speed,
                 "fix_duration": fix, "segments": spoken}
            )  # fmt: skip
    return {"texts": TEXTS, "tokens": tokens, "vocab": lines, "chunks": chunks, "plans": plans}


def clip(parts: list[tuple[int, int]], rate: int, extra: int) -> np.ndarray:
    """Mono int16: (milliseconds, peak) triangle waves one after the other, then `extra` samples of the last."""
    pieces = []
    for number, (length, peak) in enumerate(parts):
        count = length * rate // 1000 + (extra if number == len(parts) - 1 else 0)
        ramp = np.abs(np.arange(count) % 200 - 100) - 50
        pieces.append((ramp * peak // 50).astype(np.int16))
    return np.concatenate(pieces)


def clips() -> dict[str, tuple[int, np.ndarray]]:
    """Peaks of 100 are about -55 dBFS, 250 -47, 390 -43, 500 -41, 700 -38."""
    chance = random.Random(SEED)
    made = {
        "plain": (24_000, clip([(300, 50), (2000, 9000), (200, 50)], 24_000, 7)),
        "long pauses": (24_000, clip([(1900, 9000), (1500, 40)] * 6, 24_000, 0)),
        "short pauses": (24_000, clip([(3700, 9000), (240, 390)] * 5, 24_000, 11)),
        "no pause": (24_000, clip([(14_990, 8000)], 24_000, 100)),
        "quiet edges": (24_000, clip([(430, 390), (900, 500), (2000, 7000), (555, 380)], 24_000, 0)),
        "just 12 s": (24_000, clip([(12_000, 8000)], 24_000, 12)),
        "rounded up": (44_100, clip([(400, 60), (1700, 5000)], 44_100, 23)),
        "all at one end": (22_050, clip([(4000, 60), (900, 5000)], 22_050, 5)),
        "low rate": (11_025, clip([(1100, 60), (1900, 5000), (1100, 60)], 11_025, 3)),
    }
    peaks = (20, 100, 170, 250, 390, 500, 700, 4000, 9000, 9000)
    for number in range(24):
        rate = (24_000, 11_025, 22_050, 44_100, 11_025, 16_000)[number % 6]
        lengths = (1500, 4000) if number % 2 else (60, 2600)
        parts = [(chance.randint(*lengths), chance.choice(peaks)) for _ in range(chance.randint(2, 14))]
        parts.insert(chance.randrange(len(parts)), (700, 8000))  # something to keep
        made[f"random {number}"] = (rate, clip(parts, rate, chance.randint(0, rate // 1000)))
    return made


def audio_golden() -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder
        for name, (rate, samples) in clips().items():
            path = str(Path(folder, "clip.wav"))
            soundfile.write(path, samples, rate, subtype="PCM_16")
            trimmed_path, _ = official.preprocess_ref_audio_text(path, "Text.", show_info=lambda _: None)
            trimmed, trimmed_rate = soundfile.read(trimmed_path, dtype="int16")
            assert trimmed_rate == rate and trimmed.ndim == 1
            arrays[f"trim/{name}/rate"] = np.array(rate)
            arrays[f"trim/{name}/clip"] = samples
            arrays[f"trim/{name}/trimmed"] = trimmed
        tempfile.tempdir = None
    generator = np.random.default_rng(SEED)
    time = np.arange(20_011) / 24_000
    voice = np.sin(2 * np.pi * (150 * time + 40 * time**2)) + 0.3 * np.sin(2 * np.pi * 2900 * time)
    envelope = np.where(time < 0.3, 1e-4, np.minimum(1, (time - 0.3) * 4))  # near silence, then speech-like
    samples = (envelope * (0.3 * voice + 0.02 * generator.normal(size=len(time)))).astype(np.float32)
    arrays["mel/samples"] = samples
    for kind in ("vocos", "bigvgan"):
        arrays[f"mel/{kind}"] = MelSpec(mel_spec_type=kind)(torch.from_numpy(samples)[None])[0].T.numpy()
    quiet = (samples * 0.2).astype(np.float32)  # below the target RMS: the whole way from samples to conditioning
    _, recorder = speak(quiet, 24_000, "Text.", "More text.", {" ": 0}, 1.0, None)
    arrays["whole/samples"] = quiet
    arrays["whole/cond"] = recorder.cond[0][: len(quiet) // 256 + 1]
    return arrays


def main() -> None:
    text = json.dumps(text_golden(), ensure_ascii=False, separators=(",", ":"))
    (HERE / "frontend_text.json").write_text(text + "\n", encoding="utf-8")
    np.savez_compressed(HERE / "frontend_audio.npz", **audio_golden())


if __name__ == "__main__":
    # One worker: the official code asks for its chunks in parallel, and the recorder wants them in order.
    official.ThreadPoolExecutor = lambda: ThreadPoolExecutor(max_workers=1)
    torch.set_num_threads(1)
    main()
