"""Compares this code with the official PyTorch packages live and prints a table; exit code 1 where a limit is passed.

Run by `make parity`, in an environment with both. Every architecture option at a small size, F5TTS_v1_Base and the
released Vocos and BigVGAN at full size, each with weights and inputs drawn from a fresh seed (`--seed` repeats one), the embedded
voice with its trained weights, mel front ends, tokens and chunks.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

from f5_tts_server.embedded.config import CONFIG as EMBEDDED
from f5_tts_server.f5 import audio, sampler
from f5_tts_server.f5.bigvgan import BigVGANConfig
from f5_tts_server.f5.config import CONFIGS, BackboneConfig, MelConfig
from f5_tts_server.f5.dit import DiT
from f5_tts_server.f5.pinyin import pinyin_tokens
from f5_tts_server.f5.text import Vocab, chunk_text
from f5_tts_server.f5.unett import UNetT
from f5_tts_server.f5.vocos import VocosConfig
from f5_tts_server.f5.weights import backbone_from_state_dict, load_bigvgan, load_vocos
from tests.golden import official
from tests.golden.backbone_cases import CASES, SAMPLER, TIMES
from tests.golden.bigvgan_cases import CASES as BIGVGAN_CASES
from tests.golden.bigvgan_cases import draw_all as draw_bigvgan
from tests.golden.random_weights import draw

ROOT = Path(__file__).parent.parent.parent
VELOCITY_LIMIT, SAMPLE_LIMIT, VOCODER_LIMIT, MEL_LIMIT = 1e-5, 1e-4, 1e-5, 1e-5

Result = tuple[str, str, float, float]  # what, in which respect, relative error, limit


def relative_error(ours: object, theirs: torch.Tensor | np.ndarray) -> float:
    truth = np.asarray(theirs, np.float64)
    return float(np.linalg.norm(np.asarray(ours, np.float64) - truth) / np.linalg.norm(truth))


def compare_backbone(
    name: str,
    config: BackboneConfig,
    seed: int,
    *,
    frames: int,
    times: tuple[float, ...] = TIMES,
    settings: tuple[tuple[int, float, float | None], ...] = SAMPLER,
    weights: dict[str, np.ndarray] | None = None,
) -> Iterator[Result]:
    """Velocities and samples of one architecture; `weights` in the official keys, or drawn."""
    rng = np.random.default_rng(seed)
    theirs, shapes = official.build(config, seed)
    if weights is not None:
        official.load(theirs, weights)
    ours = backbone_from_state_dict(weights or draw(shapes, seed), config)
    ref_frames, n = frames // 3, -(-frames // 64) * 64
    tokens = rng.integers(0, config.text_num_embeds, (1, frames // 2))
    ref = rng.standard_normal((1, ref_frames, 100)).astype(np.float32)
    x = rng.standard_normal((1, frames, 100)).astype(np.float32)
    cond = np.zeros((1, n, 100), np.float32)
    cond[:, :ref_frames] = ref
    padded_tokens = np.pad(tokens, ((0, 0), (0, n - tokens.shape[1])), constant_values=-1).astype(np.int32)
    lengths = np.array([frames], np.int32)

    graph, parameters = nnx.split(ours)
    fixed = jax.jit(lambda p: sampler.fix_both(nnx.merge(graph, p), cond, padded_tokens, lengths))(parameters)

    @jax.jit
    def passes(p: nnx.State, x: jax.Array, t: jax.Array) -> jax.Array:
        backbone: DiT | UNetT = nnx.merge(graph, p)
        modulation = jnp.repeat(backbone.modulations(t[None]), 2, axis=0)
        return backbone.velocity(jnp.repeat(x, 2, axis=0), fixed[0], modulation, jnp.repeat(lengths, 2))

    def pad(values: np.ndarray) -> np.ndarray:
        return np.pad(values, ((0, 0), (0, n - frames), (0, 0)))

    worst = 0.0
    for t in times:
        made = passes(parameters, pad(x), np.float32(t))[:, :frames]
        for row, null in enumerate((False, True)):
            with torch.inference_mode():
                truth = theirs.transformer(
                    x=torch.from_numpy(x),
                    cond=torch.from_numpy(cond[:, :frames]),
                    text=torch.from_numpy(tokens),
                    time=torch.tensor(t),
                    drop_audio_cond=null,
                    drop_text=null,
                )
            worst = max(worst, relative_error(made[row], truth[0]))
    yield name, "velocity", worst, VELOCITY_LIMIT

    for nfe, cfg, sway in settings:
        with torch.inference_mode():
            truth, _ = theirs.sample(
                torch.from_numpy(ref),
                torch.from_numpy(tokens),
                frames,
                steps=nfe,
                cfg_strength=cfg,
                sway_sampling_coef=sway,
                seed=seed,
            )

        def guided(t: np.float32, x: jax.Array, cfg: float = cfg) -> jax.Array:
            both = passes(parameters, x, np.float32(t))
            return (both[0] + cfg * (both[0] - both[1]))[None]

        start = jnp.asarray(pad(official.noise(seed, frames)[None]))
        *_, x_end = sampler.integrate(guided, start, sampler.time_grid(nfe, sway))
        error = relative_error(x_end[:, ref_frames:frames], truth[:, ref_frames:])
        yield name, f"sample {nfe} steps, cfg {cfg:g}, sway {sway}", error, SAMPLE_LIMIT


def compare_embedded(seed: int) -> Iterator[Result]:
    """The trained weights of the embedded voice in the official classes."""
    from safetensors.numpy import load_file

    folder = ROOT / "f5_tts_server" / "embedded" / "assets"
    vocab = Vocab.load(folder / "vocab.txt")
    prefix = "ema_model.transformer."
    weights = {
        key.removeprefix(prefix): array.astype(np.float32)
        for key, array in load_file(folder / "flow.safetensors").items()
        if key.startswith(prefix)
    }
    config = replace(EMBEDDED.backbone, text_num_embeds=vocab.size)
    yield from compare_backbone("embedded voice, trained", config, seed, frames=300, weights=weights)


def compare_vocos(seed: int) -> Iterator[Result]:
    """Vocos at its released size, whole clips."""
    import tempfile

    from vocos.feature_extractors import MelSpectrogramFeatures
    from vocos.heads import ISTFTHead
    from vocos.models import VocosBackbone
    from vocos.pretrained import Vocos as OfficialVocos

    from f5_tts_server.f5.vocos import Vocos
    from f5_tts_server.f5.weights import save_vocos

    size = VocosConfig()
    theirs = OfficialVocos(
        MelSpectrogramFeatures(padding="center"),
        VocosBackbone(size.input_channels, size.dim, size.intermediate_dim, size.num_layers),
        ISTFTHead(size.dim, size.n_fft, size.hop, padding="center"),
    ).eval()
    weights = draw({k: tuple(v.shape) for k, v in theirs.named_parameters()}, seed)
    theirs.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()}, strict=False)
    mel = np.random.default_rng(seed).standard_normal((1, 200, 100)).astype(np.float32)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_vocos(folder / "config.yaml", folder / "unused.safetensors", Vocos(size, rngs=nnx.Rngs(0)))
        torch.save(theirs.state_dict(), folder / "pytorch_model.bin")
        ours = load_vocos(folder / "config.yaml", folder / "pytorch_model.bin")
    with torch.inference_mode():
        truth = theirs.decode(torch.from_numpy(mel).transpose(1, 2))
    yield "Vocos, released size", "decode", relative_error(ours.decode(jnp.asarray(mel)), truth), VOCODER_LIMIT


def compare_bigvgan(name: str, config: BigVGANConfig, seed: int, frames: int) -> Iterator[Result]:
    """BigVGAN, whole clips, its weights written as the released file and read back."""
    import tempfile

    from bigvgan import BigVGAN as OfficialBigVGAN
    from bigvgan.env import AttrDict

    theirs = OfficialBigVGAN(AttrDict(asdict(config))).eval()
    weights = draw_bigvgan({k: tuple(v.shape) for k, v in theirs.named_parameters()})
    theirs.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()}, strict=False)
    mel = np.random.default_rng(seed).standard_normal((1, frames, config.num_mels)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        config.write_json(Path(folder) / "config.json")
        torch.save({"generator": theirs.state_dict()}, Path(folder) / "bigvgan_generator.pt")
        ours = load_bigvgan(Path(folder) / "config.json", Path(folder) / "bigvgan_generator.pt")
    with torch.inference_mode():
        truth = theirs(torch.from_numpy(mel).transpose(1, 2))[:, 0]
    yield f"BigVGAN, {name}", "decode", relative_error(ours.decode(jnp.asarray(mel)), truth), VOCODER_LIMIT


def compare_front_ends(seed: int) -> Iterator[Result]:
    """Log-mels of noise with gaps; tokens and chunks of random mixtures of scripts (error: share that differs)."""
    from f5_tts.infer.utils_infer import chunk_text as official_chunks
    from f5_tts.model.modules import MelSpec
    from f5_tts.model.utils import convert_char_to_pinyin

    rng = np.random.default_rng(seed)
    samples = (0.1 * rng.standard_normal(24_000) * (rng.random(24_000) > 0.2)).astype(np.float32)
    for kind in ("vocos", "bigvgan"):
        with torch.inference_mode():
            truth = MelSpec(mel_spec_type=kind)(torch.from_numpy(samples)[None])[0].T
        yield f"mel, {kind}", "log-mel", relative_error(audio.mel(samples, MelConfig(kind=kind)), truth), MEL_LIMIT
    words = "hello world, it's 42! 你好 世界。 naïve café；\t 🙂 “quoted” word: 银行行长 ok? ( ) - É ü".split(" ")
    texts = [" ".join(rng.choice(words, rng.integers(1, 40))) for _ in range(300)]
    different = sum(pinyin_tokens(text) != convert_char_to_pinyin([text])[0] for text in texts)
    yield "tokens", "share that differs", different / len(texts), 0.0
    different = sum(chunk_text(text, 60) != official_chunks(text, 60) for text in texts)
    yield "chunks", "share that differs", different / len(texts), 0.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="default: the clock")
    parser.add_argument("--small", action="store_true", help="leave out what is at full size")
    options = parser.parse_args()
    seed = options.seed
    base = CONFIGS["F5TTS_v1_Base"].backbone
    parts: list[Callable[[], Iterator[Result]]] = [lambda: compare_front_ends(seed)]
    parts += [lambda n=n, c=c: compare_backbone(n, c, seed, frames=41) for n, c in CASES.items()]  # type: ignore[misc]
    parts += [lambda: compare_embedded(seed)]
    parts += [lambda n=n, c=c: compare_bigvgan(n, c, seed, frames=41) for n, c in BIGVGAN_CASES.items()]  # type: ignore[misc]
    if not options.small:
        parts += [
            lambda: compare_vocos(seed),
            lambda: compare_bigvgan("released size", BigVGANConfig(), seed, frames=30),
        ]
        parts += [
            lambda: compare_backbone(
                "F5TTS_v1_Base, full size", base, seed, frames=250, times=(0.37,), settings=((7, 2.0, -1.0),)
            )
        ]
    print(f"seed {seed}; float32 on the CPU; torch {torch.__version__}, jax {jax.__version__}\n")
    print(f"{'what':28} {'':36} {'rel. error':>11} {'limit':>8}")
    passed = failed = 0
    for part in parts:
        for what, respect, error, limit in part():
            good = error <= limit
            passed, failed = passed + good, failed + (not good)
            print(f"{what:28} {respect:36} {error:11.1e} {limit:8.0e}{'' if good else '  FAILED'}", flush=True)
    print(f"\n{passed} passed, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
