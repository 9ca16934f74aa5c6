"""The error of this package."""


class ManuscriptError(ValueError):
    """A text that cannot be spoken as written; the message says what is wrong and what would do."""
