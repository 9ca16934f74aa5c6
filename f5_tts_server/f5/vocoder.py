"""What a model asks of its vocoder, which turns log-mel into samples.

A clip is made in two parts. Once, for the whole of it, its log-mel becomes the features that the decoder reads: for
most vocoders the log-mel itself. Then the features are decoded, in blocks of any size, whose samples are those of the
whole clip.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
from numpy.typing import NDArray


class Vocoder(Protocol):
    """Implemented by `nnx.Module`s. `analyse` and `decode_block` are traced into compiled programs; b is the batch."""

    @property
    def analyses(self) -> bool:
        """Whether `prepare` needs what `analyse` finds."""
        ...

    @property
    def feature_channels(self) -> int:
        """Channels of a frame of features."""
        ...

    @property
    def context_left(self) -> int:
        """Frames of features before a block that `decode_block` needs."""
        ...

    @property
    def context_right(self) -> int:
        """Frames of features after a block that `decode_block` needs."""
        ...

    def clip_samples(self, frames: int) -> int:
        """Samples of a clip of this many frames."""
        ...

    def analyse(self, mel: jax.Array, frames: jax.Array) -> Any:
        """On the device: what the features need to know of whole clips. mel [b, n, mel_dim], frames int32 [b].

        Returns arrays that lead with [b, n]; raises TypeError where the vocoder does not analyse.
        """
        ...

    def prepare(self, mel: NDArray[np.float32], analysis: Any) -> NDArray[np.float32]:
        """On the host: a clip's features [n, feature_channels] from its log-mel [n, mel_dim].

        `analysis`: that of `analyse`, for this clip alone, arrays that lead with [n]; None where the vocoder does not.
        """
        ...

    def decode_block(self, window: jax.Array, first: jax.Array | int, frames: jax.Array | int) -> jax.Array:
        """On the device: samples [b, block * hop] of the middle of a window of features.

        window: [b, context_left + block + context_right, feature_channels]; what it holds for positions outside the
            clip does not matter, so long as it is finite.
        first: the clip's frame number at the window's frame 0, int32, scalar or [b]; negative near the clip's start.
        frames: the clip's length in frames, int32, scalar or [b].

        Samples past the clip's end are zero. `first` and `frames` may be traced.
        """
        ...


@runtime_checkable
class CarryingVocoder(Vocoder, Protocol):
    """A vocoder whose blocks go on from each other: all but the first cost nothing for their context."""

    def open_block(self, window: jax.Array, first: jax.Array | int, frames: jax.Array | int) -> tuple[jax.Array, Any]:
        """As `decode_block`, and what the next block goes on from."""
        ...

    def next_block(
        self, carry: Any, features: jax.Array, first: jax.Array | int, frames: jax.Array | int
    ) -> tuple[jax.Array, Any]:
        """On the device: the samples [b, block * hop] that follow, and what the next block goes on from.

        features: [b, block, feature_channels], `context_right` frames ahead of the samples; first: the clip's frame
            number of the first of them.
        """
        ...
