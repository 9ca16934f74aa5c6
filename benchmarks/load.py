"""What a load is made of and what is said of it: texts, arrivals, replies, figures. No HTTP and no clock here."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

# How ten requests divide. A deck of ten is shuffled and dealt, so that every ten requests bring the same work.
MIX = {"short": 6, "medium": 3, "long": 1}

TEXTS = {
    "short": (
        "Your table is ready.",
        "The train leaves from the second platform.",
        "Please hold the line for a moment.",
        "I have put the meeting on your calendar.",
        "It will rain in the afternoon.",
        "The parcel came this morning.",
        "Turn left at the next light.",
        "Thank you, that is all I need.",
        "The soup needs a little more salt.",
        "Nobody has called while you were out.",
    ),
    "medium": (
        "The library closes at eight tonight. You may keep the two books until the end of the month.",
        "I looked at the numbers again. Sales rose in the spring, but the summer was slow. We should talk about it.",
        "Your order has left the warehouse. It should be with you on Thursday, before noon.",
        "The road over the hill is closed. Take the bridge instead, and follow the river for three miles.",
        "Put the flour in a bowl and make a hole in the middle. Pour in the milk. Stir until there are no lumps left.",
    ),
    "long": (
        "When the old man came down to the harbor in the morning, the boats were already far out on the water. He sat "
        "on a wooden box and waited. The wind was cold, but the sun was warm on his hands. After an hour a girl came "
        "with bread and coffee, and they talked about the storm of the week before.",
        "A good map leaves things out. It shows the roads that you can drive and the rivers that you must cross, and "
        "it says nothing about the color of the houses. The first maps of this valley were drawn by a doctor who "
        "walked from farm to farm. He marked the wells, because clean water was what his patients needed most.",
        "The new schedule begins on Monday. The early bus will leave ten minutes later than before, so that people who "
        "come by train can reach it. The last bus at night will wait for the theater to close. If you have a yearly "
        "ticket, you do not have to do anything. All other tickets can be changed at the station.",
        "Bread needs very little. There is flour, there is water, there is salt, and there is time. Most people give "
        "it too little of the last. Let the dough rest over night in a cool place. In the morning it will be soft and "
        "full of air. Fold it twice, wait for an hour, and bake it in a hot oven.",
        "The telescope stands on a mountain far from any town. On a clear night it can see galaxies whose light began "
        "its way before there were people. The two women who look after it sleep by day and work in the dark. They "
        "say that the silence was strange at first, and that now they miss it whenever they are down in the city.",
    ),
}


@dataclass(frozen=True, slots=True)
class Ask:
    """A request that is due ``due`` seconds after the run's beginning."""

    due: float
    kind: str
    text: str
    seed: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """``seconds`` of audio that came ``at`` seconds after the request was due."""

    at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Reply:
    """What a request got. Times in seconds after it was due, so that a client that is late itself is not flattered."""

    ask: Ask
    status: int
    chunks: tuple[Chunk, ...]
    ended: float
    error: str | None = None  # code of an error event, or of a refusal

    @property
    def ok(self) -> bool:
        return self.status == 200 and self.error is None

    @property
    def refused(self) -> bool:
        return self.status in (429, 503)

    @property
    def duration(self) -> float:
        return sum(chunk.seconds for chunk in self.chunks)

    @property
    def first(self) -> float:
        return self.chunks[0].at

    @property
    def last(self) -> float:
        return self.chunks[-1].at

    def as_whole(self) -> Reply:
        """The same for a client that is given the clip when it is complete."""
        if not self.ok:
            return replace(self, chunks=())
        return replace(self, chunks=(Chunk(self.last, self.duration),))


def deal(rng: random.Random) -> Iterator[tuple[str, str]]:
    """Kinds and texts without end: kinds in shuffled decks of ten, texts of a kind each once before any comes again."""

    def shuffled(items: Sequence[str]) -> Iterator[str]:
        while True:
            yield from rng.sample(items, len(items))

    texts = {kind: shuffled(TEXTS[kind]) for kind in MIX}
    for kind in shuffled([kind for kind, count in MIX.items() for _ in range(count)]):
        yield kind, next(texts[kind])


def poisson(rate: float, seconds: float, seed: int) -> list[Ask]:
    """Arrivals of a Poisson process at ``rate`` a second, given that there are as many as expected.

    Under that condition arrival times are independent and uniform. Fixing the number keeps a short run's load at its
    nominal value; when requests come, and how they bunch, stays random.
    """
    rng = random.Random(seed)
    count = max(1, round(rate * seconds))
    times = sorted(rng.uniform(0, seconds) for _ in range(count))
    return [
        Ask(due, kind, text, number) for number, (due, (kind, text)) in enumerate(zip(times, deal(rng), strict=False))
    ]


def burst(count: int, seed: int) -> list[Ask]:
    """Requests that come all at once."""
    cards = itertools.islice(deal(random.Random(seed)), count)
    return [Ask(0.0, kind, text, number) for number, (kind, text) in enumerate(cards)]


def mean_audio(durations: dict[str, float]) -> float:
    """Seconds of audio of an average request of the mix; ``durations`` by text, at least one text of every kind."""
    means = {}
    for kind in MIX:
        known = [durations[text] for text in TEXTS[kind] if text in durations]
        means[kind] = sum(known) / len(known)
    return sum(means[kind] * count for kind, count in MIX.items()) / sum(MIX.values())


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least ``percent`` of the values do not exceed (nearest rank); NaN of nothing."""
    if not values:
        return math.nan
    return sorted(values)[max(math.ceil(len(values) * percent / 100), 1) - 1]


def stalls(chunks: Sequence[Chunk]) -> list[float]:
    """How long a client that plays from the first chunk on falls silent, at each underrun before the end."""
    silences = []
    over = chunks[0].at if chunks else 0.0  # when what has come will have been played
    for chunk in chunks:
        if chunk.at > over:
            silences.append(chunk.at - over)
            over = chunk.at
        over += chunk.seconds
    return silences


def figures(replies: Sequence[Reply], goal_s: float) -> dict[str, Any]:
    """What a run comes to. Times are of requests that ended well; goodput is of all that were made.

    Audio seconds a second are counted from the first arrival to the last sample of all.
    """
    good = [reply for reply in replies if reply.ok]
    firsts, lasts = [reply.first for reply in good], [reply.last for reply in good]
    silences = [stalls(reply.chunks) for reply in good]
    begin = min(reply.ask.due for reply in replies)
    end = max(reply.ask.due + reply.ended for reply in replies)
    within = sum(reply.first <= goal_s and not silent for reply, silent in zip(good, silences, strict=True))
    errors = sorted({reply.error or str(reply.status) for reply in replies if not (reply.ok or reply.refused)})
    return {
        "requests": len(replies),
        "first audio, s": {f"p{p}": percentile(firsts, p) for p in (50, 95, 99)},
        "last audio, s": {f"p{p}": percentile(lasts, p) for p in (50, 95, 99)},
        "real-time factor": percentile([reply.last / reply.duration for reply in good], 50),
        "audio seconds": sum(reply.duration for reply in replies),
        "audio seconds a second": sum(reply.duration for reply in replies) / (end - begin),
        "underruns": sum(map(bool, silences)),
        "silent, s": sum(map(sum, silences)),
        "refused": sum(reply.refused for reply in replies),
        "failed": len(replies) - len(good) - sum(reply.refused for reply in replies),
        "errors": errors,
        "goodput": within / len(replies),
        "goodput a second": within / (end - begin),
    }
