"""The voice that comes along: its front end, its vocoder, and in `assets` its weights and model card."""
