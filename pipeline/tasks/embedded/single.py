"""Rows of the embedded suite's tasks on single sentences: sentiment, acceptability, topic.

The label is drawn first and the text is written for it. So one number sets the balance of labels, and the hard
wordings (negation, concession, distractors) occur with every label.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pipeline.tasks.embedded.text import Draw, Scene, TextRow, draw_scene, finish, noun_phrase
from pipeline.tasks.embedded.words import NUMBERS, TOPICS, Verb, shared_verbs, was

_GOOD = ("wonderful", "delightful", "excellent", "charming", "impressive", "enjoyable", "superb", "pleasant")
_BAD = ("awful", "dull", "terrible", "disappointing", "tedious", "dreadful", "clumsy", "unpleasant")
_GOOD_PHRASES = ("won everybody over", "was worth every minute", "left us smiling", "beat every expectation")
_BAD_PHRASES = ("fell flat", "was a waste of time", "left us yawning", "let everybody down")
_DENIALS = ("was not", "was never", "was far from", "was anything but", "was hardly")


def sentiment(draw: Draw) -> TextRow:
    """The verdict of the sentence, in spite of concessions, expectations and opinions of others."""
    positive = draw.chance(0.53)
    scene = draw_scene(draw)
    thing = draw.pick(scene.topic.settings)
    other = draw.other(scene.topic.settings, thing)
    verdict, contrary = _opinion(draw, thing, positive), _opinion(draw, other, not positive)
    same, opposite = (_GOOD, _BAD) if positive else (_BAD, _GOOD)
    people = noun_phrase(scene.agent, 2, determiner="the")
    forms = (
        verdict,
        f"{verdict}, and {_opinion(draw, other, positive)}",
        f"{contrary}, but all in all {verdict}",
        f"although {contrary}, {verdict}",
        f"{verdict}, even though {contrary}",
        f"{people} said that {contrary}, but I found that {verdict}",
        f"I expected {thing} to be {draw.pick(opposite)}, but {people} proved me wrong",
        f"I expected {thing} to be {draw.pick(same)}, and {people} proved me right",
        f"{thing} would have been {draw.pick(opposite)} if {people} had not made it {draw.pick(same)}",
    )
    text = draw.pick(forms)
    if draw.chance(0.5):
        text = f"{text} {scene.place} {scene.time}"
    return (finish(text),), float(positive)


def _opinion(draw: Draw, thing: str, positive: bool) -> str:
    """A clause that judges `thing`, in half of the cases by denying the opposite."""
    same, opposite = (_GOOD, _BAD) if positive else (_BAD, _GOOD)
    form = draw.between(0, 9)
    if form < 3:
        return f"{thing} was {draw.pick(same)}"
    if form < 5:
        return f"{thing} {draw.pick(_GOOD_PHRASES if positive else _BAD_PHRASES)}"
    if form < 9:
        return f"{thing} {draw.pick(_DENIALS)} {draw.pick(opposite)}"
    return f"nobody would call {thing} {draw.pick(opposite)}"


@dataclass(kw_only=True)
class _Clause:
    """A sentence as parts, each a list of words, that faults change."""

    scene: Scene
    subject: list[str]
    verbs: list[str]
    thing: list[str]
    company: list[str]
    place: list[str]


def acceptability(draw: Draw) -> TextRow:
    """1 for a grammatical sentence, 0 for one with one or two faults; a second noun attracts the verb's number."""
    good = draw.chance(0.55)
    scene = draw_scene(draw)
    verbs = draw.pick((*_verb_forms(scene.verb, scene.agents), ["will", scene.verb.base]))
    clause = _Clause(
        scene=scene,
        subject=scene.agent_phrase(draw.pick(("the", ""))).split(),
        verbs=verbs,
        thing=scene.object_phrase(draw.pick(("the", "", ""))).split(),
        company=[draw.pick(("for", "without", "behind")), draw.pick(("him", "her", "them", "us"))],
        place=scene.place.split(),
    )
    if draw.chance(0.7):
        clause.company = []
    if not good:
        fault = draw.pick(_FAULTS)
        fault(draw, clause)
        if draw.chance(0.5):
            draw.other(_FAULTS, fault)(draw, clause)  # of another kind: the same one could undo the first
    beside: list[str] = []
    if draw.chance(0.4):
        bystanders = noun_phrase(draw.pick(scene.topic.agents), draw.between(1, 3), determiner="the")
        beside = f"{draw.pick(('near', 'behind', 'next to', 'with'))} {bystanders}".split()
    words = [*clause.subject, *beside, *clause.verbs, *clause.thing, *clause.company, *clause.place]
    return (finish(" ".join(words)),), float(good)


def _verb_forms(verb: Verb, count: int) -> tuple[list[str], ...]:
    """Present, progressive and perfect that agree with `count` agents."""
    return (
        [verb.singular if count == 1 else verb.base],
        ["is" if count == 1 else "are", verb.progressive],
        ["has" if count == 1 else "have", verb.participle],
    )


def _order(draw: Draw, clause: _Clause) -> None:
    part = draw.pick((clause.subject, clause.thing, clause.place, clause.verbs))
    if part is clause.verbs:
        clause.verbs, clause.thing = clause.thing, clause.verbs
    else:
        part.reverse()


def _missing(draw: Draw, clause: _Clause) -> None:
    """Removes the verb, a preposition or a determiner; for a plural, which needs no determiner, the noun."""
    scene = clause.scene
    subject, thing = (clause.subject, scene.agents), (clause.thing, scene.objects)
    part, count = draw.pick((subject, thing, (clause.place, 1), (clause.verbs, 0)))
    if count == 0:
        part.clear()
    elif part:
        del part[0 if count == 1 else -1]


def _form(draw: Draw, clause: _Clause) -> None:
    """Combines an auxiliary with a verb form that it never takes."""
    verb = clause.scene.verb
    clause.verbs = draw.pick(
        (["will", verb.progressive], ["can", verb.singular], ["did", "not", verb.progressive])
    )


def _agreement(draw: Draw, clause: _Clause) -> None:
    clause.verbs = draw.pick(_verb_forms(clause.scene.verb, 2 if clause.scene.agents == 1 else 1))


def _number(draw: Draw, clause: _Clause) -> None:
    scene = clause.scene
    one = scene.objects == 1
    determiner = draw.pick(("a", "this") if one else ("these", "many", NUMBERS[scene.objects]))
    clause.thing = noun_phrase(scene.object, 2 if one else 1, scene.object_adjective, determiner).split()


def _case(draw: Draw, clause: _Clause) -> None:
    clause.company = [draw.pick(("for", "without", "behind")), draw.pick(("he", "she", "they", "we"))]


# The easy faults are listed twice: a short run does not learn agreement across a noun phrase.
_FAULTS = (_order, _order, _missing, _missing, _form, _agreement, _number, _case)


def topic(draw: Draw) -> TextRow:
    """The topic of the main event; agent, place and a second event mostly come from another topic."""
    label = draw.pick((0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4))
    scene = draw_scene(draw, TOPICS[label])
    aside = draw_scene(draw, draw.other(TOPICS, TOPICS[label]))
    if draw.chance(0.8):
        scene = replace(scene, agent=aside.agent, place=aside.place)
    if draw.chance(0.7):
        scene = replace(scene, verb=draw.pick(shared_verbs(scene.object)))
    main, side = scene.describe(draw, front=False), aside.describe(draw, front=False)
    agents, things = scene.agent_phrase(), scene.object_phrase()
    past = f"{agents} {scene.verb.past} {things}"
    doing = f"{aside.verb.progressive} {aside.object_phrase()}"
    forms = (
        f"while {side}, {main}",
        f"{main} while {side}",
        f"instead of {doing}, {past} {scene.place}",
        f"{past} {scene.place} after {doing} {scene.time}",
        f"it was not {aside.object_phrase()} but {things} that {agents} {scene.verb.past} {scene.place}",
        f"{agents} thought of {doing}, yet in the end {things} {was(scene.objects)} {scene.verb.participle}",
        f"{aside.agent_phrase('the')} {was(aside.agents)} {doing} {scene.place} when {past}",
    )
    return (finish(draw.pick(forms)),), float(label)
