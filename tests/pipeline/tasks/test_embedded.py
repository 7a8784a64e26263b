"""The embedded suite: the same text on every machine, disjoint splits, labels as the tasks declare."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import pytest

from pipeline.tasks.base import Task
from pipeline.tasks.embedded import pairs, single
from pipeline.tasks.embedded.suite import TASKS, generate
from pipeline.tasks.embedded.text import Draw, draw_scene
from pipeline.tasks.embedded.words import TOPICS, plural

SPLITS = ("train", "validation")

# Other text is another suite: results before and after do not compare.
HASHES = {  # of the training and of the validation split
    "sentiment": ("d777739456536fa6", "ba45f85f85c12c6a"),
    "entailment": ("59377832fd727d08", "ccb00081179b5389"),
    "similarity": ("56a459d6c11861b4", "d8af03d067d3b48b"),
    "acceptability": ("0b8de30d35413435", "3ba53927a8ffe633"),
    "topic": ("712a69fca0aa6b47", "8b41fe1e39509c6b"),
    "answering": ("98a6893becee34dc", "d76c68ca1be1f7f4"),
}

by_task = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)


def texts_of(task: Task, split: str, seed: int = 0) -> list[tuple[str, ...]]:
    table = generate(task.config, split, seed)
    return list(zip(*(table[column].to_pylist() for column in task.text_columns), strict=True))


@by_task
def test_text_and_labels_are_the_same_on_every_machine(task: Task) -> None:
    contents = (repr(generate(task.config, split).to_pydict()) for split in SPLITS)
    hashes = (hashlib.sha256(content.encode()).hexdigest()[:16] for content in contents)
    assert tuple(hashes) == HASHES[task.name]


@by_task
def test_another_seed_gives_other_rows_in_the_same_numbers(task: Task) -> None:
    first, second = texts_of(task, "train"), texts_of(task, "train", 1)
    assert len(first) == len(second)
    assert len(set(first) & set(second)) < len(first) * 0.05


@by_task
def test_rows_are_short_complete_sentences_and_differ_across_splits(task: Task) -> None:
    rows = [texts for split in SPLITS for texts in texts_of(task, split)]
    assert len({texts[0] for texts in rows}) == len(rows)
    for texts in rows:
        assert len(" ".join(texts).split()) <= 50
        for text in texts:
            assert text[0].isupper()
            assert text[-1] in ".?"
            assert text == " ".join(text.split()).replace(" ,", ",").replace(" .", ".")


@by_task
@pytest.mark.parametrize("split", SPLITS)
def test_schema_and_labels_are_as_declared(task: Task, split: str) -> None:
    table = generate(task.config, split)
    assert table.column_names == [*task.text_columns, task.label_column]
    assert {str(table[column].type) for column in task.text_columns} == {"string"}
    labels = table[task.label_column].to_pylist()
    if task.head.kind == "regression":
        assert str(table[task.label_column].type) == "double"
        assert (min(labels), max(labels)) == task.head.label_range == (0.0, 5.0)
    else:
        assert str(table[task.label_column].type) == "int64"
        assert set(labels) == set(range(task.head.num_labels))
    assert Counter(labels).most_common(1)[0][1] / len(labels) < 0.6, "one label prevails"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("entailmnt", "train"), "unknown task .* 'entailmnt': did you mean 'entailment'"),
        (("cola", "train"), "'cola': the known ones are acceptability, answering, entailment"),
        (("topic", "validate"), "unknown split .* 'validate': did you mean 'validation'"),
        (("topic", "test"), "'test': the known ones are train, validation"),
        (("topic", "train", -1), "is -1"),
        (("topic", "train", 1.0), "is 1.0"),
        (("topic", "train", True), "is True"),
    ],
)
def test_bad_arguments_are_refused(arguments: tuple[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        generate(*arguments)


def test_draws_depend_on_every_part_of_the_key_and_stay_in_range() -> None:
    assert [Draw("a", 1).between(0, 10**9) for _ in range(2)] == [Draw("a", 1).between(0, 10**9)] * 2
    assert Draw("a", 1).between(0, 10**9) != Draw("a", 2).between(0, 10**9)
    draw = Draw("range")
    assert {draw.between(2, 4) for _ in range(200)} == {2, 3, 4}
    assert {draw.other("abc", "b") for _ in range(200)} == {"a", "c"}
    noise = np.array([draw.noise(0.8) for _ in range(2000)])
    assert np.abs(noise).max() < 0.8
    assert abs(noise.mean()) < 0.03


def test_numbers_in_hypotheses_are_arithmetically_correct() -> None:
    """A bound on the premise's agents or objects holds for an entailment and fails for a contradiction."""
    words = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    holds = {"exactly": int.__eq__, "at least": int.__ge__}
    holds |= {"more than": int.__gt__, "fewer than": int.__lt__}
    draw = Draw("bounds")
    for _ in range(600):
        scene, label = draw_scene(draw), draw.pick((0, 2))
        claim = pairs._about_number(draw, scene, label)
        kind = next(kind for kind in holds if claim.startswith(kind))
        number, noun = claim.removeprefix(kind).split()[:2]
        count = scene.agents if noun in (scene.agent, plural(scene.agent)) else scene.objects
        assert holds[kind](count, words.index(number)) == (label == 0), (scene, claim)


def test_faulty_sentences_are_never_among_the_good_ones() -> None:
    draw = Draw("grammar")
    rows = [single.acceptability(draw) for _ in range(4000)]
    good = {text for (text,), label in rows if label}
    bad = {text for (text,), label in rows if not label}
    assert good
    assert not good & bad


def test_topics_share_words_so_that_one_word_does_not_decide() -> None:
    table = generate("topic", "train").to_pydict()
    for noun in ("guitar", "violin", "onion", "train", "medal", "sample"):
        fields = {
            label for text, label in zip(table["sentence"], table["label"], strict=True) if noun in text
        }
        assert len(fields) >= 3, noun
    assert [topic.name for topic in TOPICS] == list(next(t for t in TASKS if t.name == "topic").label_names)
