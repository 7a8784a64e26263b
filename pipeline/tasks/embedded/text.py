"""Grammar of the embedded suite: small scenes, and the English that describes them.

All tasks of the suite describe scenes with the same words, so what one task teaches (numbers, negation, roles, word
order) serves the others.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from pipeline.tasks.embedded.words import (
    AGENT_ADJECTIVES,
    NUMBERS,
    SHARED_AGENTS,
    SHARED_PLACES,
    TIMES,
    TOPICS,
    Topic,
    Verb,
    adjectives,
    article,
    plural,
    shared_verbs,
    was,
)

Item = TypeVar("Item")
TextRow = tuple[tuple[str, ...], float]  # one or two texts, and the label


class Draw:
    """Seeded random draws that use `random.Random.random` alone.

    The suite must be the same text everywhere, and Python guarantees the same sequence in every version only for
    `random()`, not for `choice`, `shuffle` or `gauss`.
    """

    def __init__(self, *key: object) -> None:
        """Seeds the draws; equal keys give equal draws."""
        digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
        self._uniform = random.Random(int.from_bytes(digest[:8], "big")).random

    def chance(self, probability: float) -> bool:
        return self._uniform() < probability

    def pick(self, items: Sequence[Item]) -> Item:
        return items[int(self._uniform() * len(items))]

    def other(self, items: Sequence[Item], *taken: Item) -> Item:
        """One of `items` that is none of `taken`."""
        return self.pick([item for item in items if item not in taken])

    def between(self, low: int, high: int) -> int:
        """An integer from `low` to `high`, both inclusive."""
        return low + int(self._uniform() * (high - low + 1))

    def noise(self, width: float) -> float:
        """A bell-shaped value in (-width, width): the mean of three uniforms, without the rounding of libm."""
        return width * (2 * (self._uniform() + self._uniform() + self._uniform()) / 3 - 1)


def noun_phrase(noun: str, count: int, adjective: str = "", determiner: str = "") -> str:
    """Returns a phrase such as "three red onions".

    Args:
        noun: A singular noun.
        count: Number; 0 for an unstated number above one ("some onions").
        adjective: Precedes the noun.
        determiner: Replaces the number ("the", "at least two").
    """
    words = [adjective] if adjective else []
    words.append(noun if count == 1 else plural(noun))
    if not determiner:
        determiner = article(words[0]) if count == 1 else "some" if count == 0 else NUMBERS[count]
    return " ".join([determiner, *words])


def finish(text: str, mark: str = ".") -> str:
    return text[0].upper() + text[1:] + mark


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Who did what, where and when. `agents` and `objects` are counts (0: "some"); "" is left unsaid."""

    topic: Topic
    verb: Verb
    agent: str
    agents: int
    agent_adjective: str
    object: str
    objects: int
    object_adjective: str
    place: str
    time: str

    def agent_phrase(self, determiner: str = "") -> str:
        return noun_phrase(self.agent, self.agents, self.agent_adjective, determiner)

    def object_phrase(self, determiner: str = "") -> str:
        return noun_phrase(self.object, self.objects, self.object_adjective, determiner)

    def describe(
        self, draw: Draw, *, passive: bool = False, synonym: bool = False, by: bool = True, front: bool = True
    ) -> str:
        """Returns the scene as one clause, without capital and full stop.

        Args:
            draw: Decides the tense and whether place or time come first.
            passive: The object is the subject.
            synonym: The verb is replaced by its synonym.
            by: A passive clause names the agent.
            front: Place or time may precede the subject.
        """
        past, participle = (self.verb.synonym,) * 2 if synonym else (self.verb.past, self.verb.participle)
        if passive:
            body = f"{self.object_phrase()} {was(self.objects)} {participle}"
            body += f" by {self.agent_phrase()}" if by else ""
        elif not synonym and draw.chance(0.3):
            body = f"{self.agent_phrase()} {was(self.agents)} {self.verb.progressive} {self.object_phrase()}"
        else:
            body = f"{self.agent_phrase()} {past} {self.object_phrase()}"
        first = draw.pick(("", "", self.place, self.time)) if front else ""
        head = [f"{first},"] if first else []
        return " ".join([*head, body, *(part for part in (self.place, self.time) if part and part != first)])


def draw_scene(draw: Draw, topic: Topic | None = None) -> Scene:
    """Returns a random scene, often with words that all topics share; adjectives can be missing."""
    topic = topic or draw.pick(TOPICS)
    verb, objects = draw.pick(topic.events)
    noun = draw.pick(objects)
    return Scene(
        topic=topic,
        verb=draw.pick(shared_verbs(noun)) if draw.chance(0.3) else verb,
        agent=draw.pick(SHARED_AGENTS) if draw.chance(0.4) else draw.pick(topic.agents),
        agents=draw.pick((1, 1, 2, 3, 4, 5)),
        agent_adjective=draw.pick(AGENT_ADJECTIVES) if draw.chance(0.4) else "",
        object=noun,
        objects=draw.pick((1, 2, 3, 4, 5, 6)),
        object_adjective=draw.pick(adjectives(noun)) if draw.chance(0.6) else "",
        place=draw.pick(SHARED_PLACES) if draw.chance(0.4) else draw.pick(topic.places),
        time=draw.pick(TIMES),
    )
