"""Rows of the embedded suite's tasks on pairs of texts: entailment, similarity, answering.

The label is drawn first, except for similarity, which computes it from two scenes. Bounds on numbers, denials, roles
and hypernyms occur with several labels, so the second text alone does not determine the label.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pipeline.tasks.embedded.text import Draw, Scene, TextRow, draw_scene, finish, noun_phrase
from pipeline.tasks.embedded.words import (
    KIND,
    NUMBERS,
    SHARED_PLACES,
    TIMES,
    TOPICS,
    adjectives,
    plural,
    shared_verbs,
    was,
)


def entailment(draw: Draw) -> TextRow:
    """Premise and hypothesis: 0 entailment, 1 neutral, 2 contradiction."""
    label = draw.between(0, 2)
    scene = draw_scene(draw)
    premise = scene.describe(draw, passive=draw.chance(0.25))
    claim = draw.pick((_about_number, _about_attribute, _about_event))
    return (finish(premise), finish(claim(draw, scene, label))), float(label)


def _about_number(draw: Draw, scene: Scene, label: int) -> str:
    """A bound ("at least two") on a number of the premise; if neutral, on the number of other agents."""
    counted, count = draw.pick(((scene.agent, scene.agents), (scene.object, scene.objects)))
    if label == 1:
        counted = draw.other(scene.topic.agents, scene.agent)
    meets = label == 0 or (label == 1 and draw.chance(0.5))
    bound_kind = draw.pick(
        ("exactly", "at least", "more than", "fewer than") if count > 1 else ("exactly", "at least")
    )
    if bound_kind == "exactly":
        bound = count if meets else draw.other(range(1, 9), count)
    elif bound_kind == "at least":
        bound = draw.between(1, count) if meets else draw.between(count + 1, 8)
    elif bound_kind == "more than":
        bound = draw.between(1, count - 1) if meets else draw.between(count, 8)
    else:
        bound = draw.between(count + 1, 9) if meets else draw.between(2, count)
    phrase = noun_phrase(counted, bound, determiner=f"{bound_kind} {NUMBERS[bound]}")
    if counted == scene.object:
        return f"{phrase} {was(bound)} {scene.verb.participle} {scene.place}"
    return f"{phrase} {scene.verb.past} {draw.pick(('something', noun_phrase(scene.object, 0)))}"


def _about_attribute(draw: Draw, scene: Scene, label: int) -> str:
    """Place, time or look, asserted or denied: denying a false one is entailed, denying a true one contradicts."""
    denied = draw.chance(0.5)
    true = denied == (label == 2)
    negation = " not" if denied else ""
    be_agents, be_objects = was(scene.agents) + negation, was(scene.objects) + negation
    objects = noun_phrase(scene.object, scene.objects, determiner="the")
    looks = adjectives(scene.object)
    if label == 1:
        if not scene.object_adjective and draw.chance(0.7):
            return f"{objects} {be_objects} {draw.pick(looks)}"
        others = noun_phrase(draw.other(scene.topic.agents, scene.agent), scene.agents, determiner="the")
        return f"{others} {be_agents} {draw.pick((scene.place, draw.pick(SHARED_PLACES)))}"
    slot = draw.pick(("place", "time", "look") if scene.object_adjective else ("place", "time"))
    if slot == "place":
        place = scene.place if true else draw.other(scene.topic.places + SHARED_PLACES, scene.place)
        return f"{noun_phrase(scene.agent, scene.agents, determiner='the')} {be_agents} {place}"
    if slot == "time":
        # A Monday can be in spring, so the time that excludes the scene's comes from the same pair.
        pair = TIMES.index(scene.time) // 2 * 2
        time = scene.time if true else draw.other(TIMES[pair : pair + 2], scene.time)
        return f"it {'did not happen' if denied else 'happened'} {time}"
    look = scene.object_adjective if true else draw.other(looks, scene.object_adjective)
    return f"{objects} {be_objects} {look}"


def _about_event(draw: Draw, scene: Scene, label: int) -> str:
    """Who did what, with hypernyms, in the passive or denied; if neutral, of another agent or event."""
    agent, verb, noun = scene.agent, scene.verb, scene.object
    if label == 1 and draw.chance(0.4):
        agent = draw.other(scene.topic.agents, agent)
    elif label == 1:
        verbs = [other for other, objects in scene.topic.events if noun in objects]
        verb = draw.other([*verbs, *shared_verbs(noun)], verb)
    agents, things = noun_phrase(agent, scene.agents, determiner="the"), noun_phrase(noun, scene.objects)
    kind = KIND.get(noun, "thing")
    forms = (
        (f"{agents} {verb.synonym} {noun_phrase(kind, 1 if scene.objects == 1 else 0)}", False),
        (f"{things} {was(scene.objects)} {verb.participle} by {agents}", False),
        (f"it is not true that {agents} {verb.synonym} nothing", False),
        (f"{agents} did not {verb.base} any {plural(kind)}", True),
        (f"no {noun} was {verb.participle} by {agents}", True),
        (f"it is not true that {agents} {verb.synonym} {things}", True),
    )
    denied = label == 2 or (label == 1 and draw.chance(0.5))
    return draw.pick([form for form, denies in forms if denies == denied])


def similarity(draw: Draw) -> TextRow:
    """Two descriptions and their similarity, from 0 to 5: each changed slot costs, verb and object the most."""
    scene = draw_scene(draw)
    other = scene
    if draw.chance(0.15):
        other = draw_scene(draw)
        if draw.chance(0.5):
            other = replace(other, place=scene.place, time=scene.time)
    else:
        for _ in range(draw.between(0, 4)):
            other = _changed(draw, other)
    score = 5.0 + draw.noise(0.8)
    score -= (
        1.4 * (other.verb != scene.verb)
        + 1.2 * (other.object != scene.object)
        + 0.9 * (other.agent != scene.agent)
    )
    score -= 0.5 * (other.place != scene.place) + 0.3 * (other.time != scene.time)
    score -= 0.5 * (other.agents != scene.agents) + 0.5 * (other.objects != scene.objects)
    score -= 0.4 * (other.object_adjective != scene.object_adjective)
    first = scene.describe(draw, passive=draw.chance(0.3), synonym=draw.chance(0.3))
    second = other.describe(draw, passive=draw.chance(0.4), synonym=draw.chance(0.4))
    return (finish(first), finish(second)), round(min(5.0, max(0.0, score)), 2)


def _changed(draw: Draw, scene: Scene) -> Scene:
    """The scene with one slot drawn again; the draw can repeat the old value."""
    fresh = draw_scene(draw, scene.topic)
    changes: tuple[dict[str, Any], ...] = (
        {"verb": draw.pick(shared_verbs(scene.object))},
        {"verb": fresh.verb, "object": fresh.object, "object_adjective": fresh.object_adjective},
        {"agent": fresh.agent},
        {"place": fresh.place, "time": fresh.time},
        {"agents": fresh.agents},
        {"objects": fresh.objects},
        {"object_adjective": draw.pick(adjectives(scene.object))},
    )
    return replace(scene, **draw.pick(changes))


_FAULTS = ("left out", "left out", "elsewhere", "other event", "other event", "other scene", "other scene")
_ASKED_SLOTS: dict[str, dict[str, Any]] = {
    "who": {},
    "where": {"place": ""},
    "when": {"time": ""},
    "how many": {"objects": 0},
}


def answering(draw: Draw) -> TextRow:
    """A question and a sentence: 1 if the sentence contains the answer.

    Otherwise it omits the asked slot, fills it for another agent in a second clause, or describes another event.
    """
    answered = draw.chance(0.5)
    fault = "" if answered else draw.pick(_FAULTS)
    omitted = fault in ("left out", "elsewhere")
    scene = draw_scene(draw)
    aside = draw_scene(draw, scene.topic)
    aside = replace(aside, agent=draw.other(scene.topic.agents, scene.agent))
    asked = draw.pick(tuple(_ASKED_SLOTS))
    agents = noun_phrase(scene.agent, scene.agents, determiner="the")
    if asked == "who":
        question = f"who {scene.verb.past} the {plural(scene.object)} {draw.pick((scene.place, scene.time))}"
    elif asked == "how many":
        question = f"how many {plural(scene.object)} did {agents} {scene.verb.base}"
    else:
        question = f"{asked} did {agents} {scene.verb.base} the {plural(scene.object)}"
    described = scene
    if omitted:
        described = replace(scene, **_ASKED_SLOTS[asked])
    elif fault == "other event":
        verb, objects = draw.pick([event for event in scene.topic.events if event[0] != scene.verb])
        described = replace(scene, verb=verb, object=draw.other(objects, scene.object), object_adjective="")
    elif fault == "other scene":
        described = draw_scene(draw, draw.other(TOPICS, scene.topic))
    nameless = asked == "who" and omitted
    sentence = described.describe(
        draw, passive=nameless or draw.chance(0.4), by=not nameless, synonym=draw.chance(0.2)
    )
    if fault == "elsewhere" or draw.chance(0.5):
        tail = draw.pick(("", aside.place, aside.time))
        if omitted and asked in ("where", "when"):
            tail = aside.place if asked == "where" else aside.time
        doing = f"{aside.agent_phrase()} {aside.verb.past} {aside.object_phrase()}"
        sentence = " ".join(part for part in (f"{sentence}, while {doing}", tail) if part)
    return (finish(question, "?"), finish(sentence)), float(answered)
