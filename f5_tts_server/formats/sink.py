"""A file object for libraries that write files, of which only what is written forwards is kept."""

from io import SEEK_CUR, SEEK_END, SEEK_SET


class ForwardSink:
    """Collects bytes written at the end. Writes over bytes already given (a header's update) are dropped.

    libsndfile goes back to fill in lengths when it closes; a stream's reader has those bytes already.
    """

    def __init__(self) -> None:
        self._pending = bytearray()
        self._length = 0
        self._position = 0

    def write(self, data: bytes | memoryview) -> int:
        data = bytes(data)
        if self._position == self._length:
            self._pending += data
            self._length += len(data)
        elif self._position + len(data) > self._length:
            raise OSError("a write starts inside what was sent and runs past its end")
        self._position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        base = {SEEK_SET: 0, SEEK_CUR: self._position, SEEK_END: self._length}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int = -1) -> bytes:
        del size  # the interface soundfile asks for; nothing that only writes ever reads
        raise OSError("a sink cannot be read")

    def drain(self) -> bytes:
        """What was written since the last call."""
        data = bytes(self._pending)
        self._pending.clear()
        return data
