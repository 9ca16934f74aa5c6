"""F5-TTS and Vocos on JAX: the model, without HTTP and without threads."""
