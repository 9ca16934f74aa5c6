"""A streaming, batching, voice-cloning text-to-speech server for F5-TTS on JAX."""
