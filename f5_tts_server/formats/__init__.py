"""Audio formats of the replies: streaming encoders whose joined output is one valid file.

An encoder takes float32 mono samples as they are made and gives bytes as soon as the format allows. Nothing it has
given is ever changed afterwards, because it has already been sent: headers therefore say "length unknown".
`header() + encode(...) + ... + finish()` is the whole file. `whole_file` puts the length into one that is sent at once.

A clip may be asked for at another rate than the model's: `formats.clip`. What each format does to the number of
samples a decoder gives back for `n` samples at the clip's rate:

=====  =======================================================================================================
wav    exactly `n`
pcm    exactly `n` (s16le, no header)
flac   exactly `n`
opus   exactly `n` (the Ogg stream carries the pre-skip and the end position)
ulaw   `n`, and silence up to a whole frame of 20 ms
alaw   `n`, and silence up to a whole frame of 20 ms
mp3    1105 samples of silence before (the codec's delay) and up to two frames after (1152 samples, from 32 kHz on 2304)
aac    1024 samples of silence before (the codec's delay) and up to two frames (2048) after
=====  =======================================================================================================

MP3 and ADTS can tell a decoder what to cut only in a header that knows the clip's length, which a stream has not.
"""

from f5_tts_server.formats.clip import ClipEncoder, Encoder
from f5_tts_server.formats.encoder import (
    FORMATS,
    FormatInfo,
    UnknownFormat,
    UnknownRate,
    check_rates,
    default_rate,
    open_encoder,
    whole_file,
)
from f5_tts_server.formats.level import unlimited

__all__ = [
    "FORMATS",
    "ClipEncoder",
    "Encoder",
    "FormatInfo",
    "UnknownFormat",
    "UnknownRate",
    "check_rates",
    "default_rate",
    "open_encoder",
    "unlimited",
    "whole_file",
]
