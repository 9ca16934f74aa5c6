"""A streaming, batching, voice-cloning text-to-speech server for F5-TTS on JAX."""

__version__ = "1.0.0"
