"""Stored voices: the ones that come with this project (`embedded/`) and the ones that users upload (`store`)."""
