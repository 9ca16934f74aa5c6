"""Audio formats of the replies: streaming encoders whose joined output is one valid file.

An encoder takes float32 mono samples as they are made and gives bytes as soon as the format allows. Nothing it has
given is ever changed afterwards, because it has already been sent: headers therefore say "length unknown".
`header() + encode(...) + ... + finish()` is the whole file. `whole_file` puts the length into one that is sent at once.

What each format does to the number of samples a decoder gives back for `n` samples in:

=====  =======================================================================================================
wav    exactly `n`
pcm    exactly `n` (s16le, no header)
flac   exactly `n`
opus   exactly `n` (the Ogg stream carries the pre-skip and the end position)
mp3    1105 samples of silence before (the codec's delay) and up to two frames (1152) after
aac    1024 samples of silence before (the codec's delay) and up to two frames (2048) after
=====  =======================================================================================================

MP3 and ADTS can tell a decoder what to cut only in a header that knows the clip's length, which a stream has not.
"""

from f5_tts_server.formats.encoder import FORMATS, Encoder, FormatInfo, open_encoder, whole_file

__all__ = ["FORMATS", "Encoder", "FormatInfo", "open_encoder", "whole_file"]
