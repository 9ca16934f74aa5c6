"""The error of this package. Front ends of models have one of their own (`f5.text.TextError`)."""


class TextError(ValueError):
    """A text that cannot be spoken as written; the message says what is wrong and what would do."""
