"""From what people write to parts that can be spoken: markup, Markdown, numbers, and text that is still being written."""

from f5_tts_server.text.composer import Composer, compose
from f5_tts_server.text.errors import TextError
from f5_tts_server.text.lexicon import Lexicon
from f5_tts_server.text.sentences import SentenceCutter, clauses
from f5_tts_server.text.ssml import TagReader, without_tags

__all__ = ["Composer", "Lexicon", "SentenceCutter", "TagReader", "TextError", "clauses", "compose", "without_tags"]
