"""A cache keeps to its bytes and forgets what was used longest ago."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from f5_tts_server.byte_lru import ByteLRU
from f5_tts_server.inference_types import VoiceClip


@dataclass(frozen=True)
class Block:
    nbytes: int


@given(uses=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 60)), max_size=60), limit=st.integers(0, 100))
def test_bytes_stay_within_the_limit(uses: list[tuple[int, int]], limit: int) -> None:
    cache: ByteLRU[Block] = ByteLRU(limit)
    held: dict[bytes, Block] = {}
    for name, size in uses:
        key = bytes([name])
        held[key] = cache.get(key, lambda size=size: Block(size))  # type: ignore[misc]
        assert cache.nbytes <= limit
    assert cache.hits + cache.misses == len(uses)
    assert cache.nbytes == sum(value.nbytes for value in cache._values.values())


def test_the_least_recently_used_goes_first() -> None:
    cache: ByteLRU[Block] = ByteLRU(20)
    a, b = cache.get(b"a", lambda: Block(10)), cache.get(b"b", lambda: Block(10))
    assert cache.get(b"a", lambda: Block(10)) is a
    cache.get(b"c", lambda: Block(10))
    assert cache.get(b"a", lambda: Block(10)) is a
    assert cache.get(b"b", lambda: Block(10)) is not b


def test_a_clip_is_known_by_its_content() -> None:
    assert VoiceClip(b"ab", "c").digest() == VoiceClip(b"ab", "c").digest()
    assert len({VoiceClip(*pair).digest() for pair in [(b"ab", "c"), (b"a", "bc"), (b"ab", "d"), (b"", "abc")]}) == 4
