"""From what people write to parts that can be spoken: markup, Markdown, numbers, and text that is still being written."""

from manuscript.composer import Composer, compose
from manuscript.errors import ManuscriptError
from manuscript.sentences import SentenceCutter

__all__ = ["Composer", "ManuscriptError", "SentenceCutter", "compose"]
