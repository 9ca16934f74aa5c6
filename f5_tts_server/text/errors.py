"""The error of this package."""


class TextError(ValueError):
    """A text that cannot be spoken as written; the message says what is wrong and what would do."""
