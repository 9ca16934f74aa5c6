"""What is said in audio, and when: an embedded recognizer of English phonemes and an aligner on top of it."""
