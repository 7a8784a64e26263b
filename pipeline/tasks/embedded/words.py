"""Vocabulary of the embedded suite: five topics with their agents, events and objects, and the words they share."""

from __future__ import annotations

from dataclasses import dataclass


def _add_s(word: str) -> str:
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("s", "x", "ch", "sh")) else "s")


@dataclass(frozen=True, kw_only=True)
class Verb:
    """A transitive verb: its forms, and the past form of a synonym, which is also the synonym's participle."""

    base: str
    past: str
    participle: str
    progressive: str
    synonym: str

    @property
    def singular(self) -> str:
        """The form after he, she or it."""
        return _add_s(self.base)


@dataclass(frozen=True, kw_only=True)
class Topic:
    """One field of life.

    Attributes:
        events: (verb, objects that it takes).
        settings: Occasions that can be judged, each with its article.
    """

    name: str
    agents: tuple[str, ...]
    events: tuple[tuple[Verb, tuple[str, ...]], ...]
    places: tuple[str, ...]
    settings: tuple[str, ...]


def parse_verb(forms: str) -> Verb:
    """Reads "base past participle progressive synonym"."""
    base, past, participle, progressive, synonym = forms.split()
    return Verb(base=base, past=past, participle=participle, progressive=progressive, synonym=synonym)


def _topic(name: str, agents: str, events: dict[str, str], places: str, settings: str) -> Topic:
    return Topic(
        name=name,
        agents=tuple(agents.split()),
        events=tuple((parse_verb(forms), tuple(objects.split())) for forms, objects in events.items()),
        places=tuple(places.split(", ")),
        settings=tuple(settings.split(", ")),
    )


TOPICS = (
    _topic(
        "cooking",
        "cook waiter baker butcher guest",
        {
            "slice sliced sliced slicing cut": "onion carrot potato pie cake",
            "fry fried fried frying browned": "onion carrot potato egg pancake",
            "serve served served serving offered": "pie cake pancake egg dish",
            "burn burned burned burning scorched": "pie cake pancake dish",
            "peel peeled peeled peeling skinned": "onion carrot potato",
        },
        "in the kitchen, at the restaurant, in the bakery",
        "the dinner, the soup, the dessert, the menu",
    ),
    _topic(
        "sport",
        "goalkeeper coach runner referee swimmer",
        {
            "throw threw thrown throwing tossed": "ball puck javelin dart",
            "hit hit hit hitting struck": "ball puck shuttlecock",
            "catch caught caught catching grabbed": "ball dart shuttlecock helmet",
            "win won won winning gained": "trophy medal cup",
            "lift lifted lifted lifting raised": "trophy medal cup helmet",
        },
        "in the stadium, at the gym, on the field",
        "the match, the final, the race, the training",
    ),
    _topic(
        "music",
        "drummer singer violinist composer conductor",
        {
            "tune tuned tuned tuning adjusted": "guitar violin piano drum",
            "play played played playing performed": "song march melody opera",
            "rehearse rehearsed rehearsed rehearsing practised": "song march melody opera",
            "record recorded recorded recording taped": "song march melody opera",
            "repair repaired repaired repairing fixed": "guitar violin piano drum",
        },
        "in the concert hall, at the studio, on the stage",
        "the concert, the album, the show, the festival",
    ),
    _topic(
        "travel",
        "pilot tourist driver guide passenger",
        {
            "pack packed packed packing filled": "suitcase bag backpack",
            "book booked booked booking reserved": "ticket cabin table",
            "board boarded boarded boarding entered": "train bus plane ferry",
            "photograph photographed photographed photographing pictured": "bridge statue castle ferry",
            "miss missed missed missing skipped": "train bus ferry",
        },
        "at the airport, at the station, in the hotel",
        "the trip, the flight, the hotel, the tour",
    ),
    _topic(
        "science",
        "chemist biologist researcher professor engineer",
        {
            "measure measured measured measuring gauged": "crystal magnet sample cell",
            "heat heated heated heating warmed": "crystal sample tube",
            "examine examined examined examining inspected": "fossil cell sample crystal",
            "test tested tested testing checked": "sensor microscope telescope magnet",
            "label labelled labelled labelling marked": "tube fossil sample jar",
        },
        "in the laboratory, at the observatory, in the lecture room",
        "the lecture, the experiment, the exhibition, the book",
    ),
)
SHARED_AGENTS = ("student", "visitor", "woman", "man", "teacher", "child", "girl", "boy")
SHARED_PLACES = ("in the garden", "in the park", "in the museum", "at the market", "on the beach")
SHARED_VERBS = (
    parse_verb("buy bought bought buying purchased"),
    parse_verb("choose chose chosen choosing selected"),
    parse_verb("clean cleaned cleaned cleaning washed"),
    parse_verb("carry carried carried carrying transported"),
    parse_verb("drop dropped dropped dropping released"),
)
TIMES = ("in the morning", "in the evening", "on Monday", "on Friday", "in spring", "in autumn")
_COLOURS, _LENGTHS = ("red", "blue", "green", "white", "black"), ("short", "long")
_INTANGIBLE = ("song", "march", "melody", "opera")
_BULKY = ("train", "bus", "plane", "ferry", "bridge", "castle", "cabin", "telescope", "piano")
AGENT_ADJECTIVES = ("tall", "young", "tired", "cheerful", "nervous", "famous")
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_KINDS = {
    "vegetable": "onion carrot potato",
    "instrument": "guitar violin piano drum",
    "vehicle": "train bus plane ferry",
    "prize": "trophy medal cup",
    "container": "suitcase bag backpack tube jar",
    "device": "sensor microscope telescope",
    "piece": "song march melody opera",
}
KIND = {noun: kind for kind, nouns in _KINDS.items() for noun in nouns.split()}
_PLURALS = {"woman": "women", "man": "men", "child": "children", "potato": "potatoes"}


def plural(noun: str) -> str:
    return _PLURALS.get(noun) or _add_s(noun)


def shared_verbs(noun: str) -> tuple[Verb, ...]:
    """The shared verbs that take this noun: nobody carries a castle or cleans a song."""
    return SHARED_VERBS[:2] if noun in _INTANGIBLE else SHARED_VERBS[:3] if noun in _BULKY else SHARED_VERBS


def adjectives(noun: str) -> tuple[str, ...]:
    """Adjectives for this noun that exclude each other."""
    return _LENGTHS if noun in _INTANGIBLE else _COLOURS


def was(count: int) -> str:
    return "was" if count == 1 else "were"


def article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"
