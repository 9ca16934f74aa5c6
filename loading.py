"""From settings to a model's compiled programs."""

from __future__ import annotations

from inference_types import Programs, SamplingDefaults
from settings import Settings


def load_programs(settings: Settings) -> Programs:
    raise NotImplementedError


def sampling_defaults(settings: Settings) -> SamplingDefaults:
    return SamplingDefaults()
