"""Makes checkpoint_*.pt: small files as `torch.save` writes them. Run with `torch==2.13.0` installed.

python tests/golden/make_checkpoint_golden.py

Every tensor holds a range, so that a test can say what it must be without reading it with torch.
"""

from collections import OrderedDict
from pathlib import Path

import torch

HERE = Path(__file__).parent


def counting(*shape: int, start: float = 0.0) -> torch.Tensor:
    return torch.arange(torch.Size(shape).numel(), dtype=torch.float32).reshape(shape) + start


def main() -> None:
    shared = counting(4, 6)
    torch.save(
        OrderedDict(
            float32=counting(2, 3),
            float64=counting(3).double(),
            float16=counting(3).half(),
            bfloat16=counting(3).bfloat16(),
            int64=torch.arange(3),
            boolean=torch.tensor([True, False]),
            scalar=torch.tensor(7.0),
            empty=torch.zeros(0, 5),
            transposed=counting(2, 3).T,
            rows=shared[1:3],
            columns=shared[:, 2:4],
            every_second=shared[::2, ::2],
            expanded=counting(1, 2).expand(3, 2),
            parameter=torch.nn.Parameter(counting(2)),
        ),
        HERE / "checkpoint_kinds.pt",
    )

    # A training checkpoint: optimizer, scheduler and counters next to two sets of weights.
    layer = torch.nn.Linear(3, 2)
    with torch.no_grad():
        layer.weight.copy_(counting(2, 3))
        layer.bias.copy_(counting(2))
    optimizer = torch.optim.AdamW(layer.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.SequentialLR(
        optimizer,
        [
            torch.optim.lr_scheduler.LinearLR(optimizer, 1e-8, 1.0, 5),
            torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 1e-8, 5),
        ],
        [5],
    )
    layer(torch.ones(3)).sum().backward()
    optimizer.step()
    averaged = {
        "initted": torch.tensor(True),
        "step": torch.tensor(10),
        "ema_model.transformer.weight": counting(2, 3, start=100.0),
        "ema_model.transformer.bias": counting(2, start=100.0),
        "ema_model.mel_spec.mel_stft.spectrogram.window": torch.hann_window(8),
    }
    training = {
        "model_state_dict": layer.state_dict(),
        "optimizer_state_dict": optimizer.state_dict(),
        "ema_model_state_dict": averaged,
        "scheduler_state_dict": scheduler.state_dict(),
        "update": 10,
    }
    torch.save(training, HERE / "checkpoint_training.pt")
    del training["ema_model_state_dict"]
    torch.save(training, HERE / "checkpoint_training_plain.pt")
    torch.save(OrderedDict(weight=counting(2)), HERE / "checkpoint_legacy.pt", _use_new_zipfile_serialization=False)
    torch.save(layer, HERE / "checkpoint_module.pt")


if __name__ == "__main__":
    main()
