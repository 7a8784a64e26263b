"""The embedded suite: the same text everywhere, splits apart, labels as the tasks say."""

from __future__ import annotations

import hashlib
import pickle
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from pipeline.tasks.base import Task
from pipeline.tasks.embedded import pairs, single
from pipeline.tasks.embedded.suite import TASKS, generate
from pipeline.tasks.embedded.text import Draw, draw_scene, noun_phrase
from pipeline.tasks.embedded.words import TOPICS, Verb, plural
from pipeline.tasks.metrics.classification import METRICS

SPLITS = ("train", "validation")

# Another text is another suite: results before and after a change here do not compare.
HASHES = {
    ("sentiment", "train"): "d777739456536fa6",
    ("sentiment", "validation"): "ba45f85f85c12c6a",
    ("entailment", "train"): "59377832fd727d08",
    ("entailment", "validation"): "ccb00081179b5389",
    ("similarity", "train"): "56a459d6c11861b4",
    ("similarity", "validation"): "d8af03d067d3b48b",
    ("acceptability", "train"): "0b8de30d35413435",
    ("acceptability", "validation"): "3ba53927a8ffe633",
    ("topic", "train"): "712a69fca0aa6b47",
    ("topic", "validation"): "8b41fe1e39509c6b",
    ("answering", "train"): "98a6893becee34dc",
    ("answering", "validation"): "d76c68ca1be1f7f4",
}

by_task = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)


def _texts(task: Task, split: str, seed: int = 0) -> list[tuple[str, ...]]:
    table = generate(task.config, split, seed)
    return list(zip(*(table[column].to_pylist() for column in task.text_columns), strict=True))


def _hash(table: pa.Table) -> str:
    return hashlib.sha256(repr(table.to_pydict()).encode()).hexdigest()[:16]


@by_task
@pytest.mark.parametrize("split", SPLITS)
def test_text_and_labels_are_the_same_on_every_machine(task: Task, split: str) -> None:
    assert _hash(generate(task.config, split)) == HASHES[task.name, split]


@by_task
def test_another_seed_writes_another_suite_of_the_same_size(task: Task) -> None:
    first, second = generate(task.config, "train"), generate(task.config, "train", 1)
    assert first.num_rows == second.num_rows
    assert len(set(_texts(task, "train")) & set(_texts(task, "train", 1))) < first.num_rows * 0.05


@by_task
@pytest.mark.parametrize("seed", [0, 7])
def test_no_text_occurs_twice_or_in_both_splits(task: Task, seed: int) -> None:
    first_texts = [texts[0] for split in SPLITS for texts in _texts(task, split, seed)]
    assert len(set(first_texts)) == len(first_texts)


def test_sizes_are_unequal_and_small() -> None:
    train = {task.name: generate(task.config, "train").num_rows for task in TASKS}
    assert len(set(train.values())) == len(TASKS)
    assert min(train.values()) <= 300
    assert max(train.values()) == 4000
    assert all(200 <= generate(task.config, "validation").num_rows <= 400 for task in TASKS)


@by_task
@pytest.mark.parametrize("split", SPLITS)
def test_rows_are_short_whole_sentences(task: Task, split: str) -> None:
    for texts in _texts(task, split):
        assert len(" ".join(texts).split()) <= 50
        for text in texts:
            assert text[0].isupper()
            assert text[-1] in ".?"
            assert text == " ".join(text.split())
            assert " ," not in text
            assert " ." not in text


@by_task
@pytest.mark.parametrize("split", SPLITS)
def test_schema_and_labels_are_what_the_task_says(task: Task, split: str) -> None:
    table = generate(task.config, split)
    assert table.column_names == [*task.text_columns, task.label_column]
    assert all(table.schema.field(column).type == pa.string() for column in task.text_columns)
    labels = table[task.label_column]
    if task.head.kind == "regression":
        assert labels.type == pa.float64()
        assert min(labels.to_pylist()) == 0.0
        assert max(labels.to_pylist()) == 5.0
    else:
        assert labels.type == pa.int64()
        assert set(labels.to_pylist()) == set(range(task.head.num_labels))


@by_task
def test_no_answer_prevails(task: Task) -> None:
    labels = generate(task.config, "validation")[task.label_column].to_pylist()
    assert Counter(labels).most_common(1)[0][1] / len(labels) < 0.6


def test_tasks_are_six_of_several_kinds_that_travel_between_processes() -> None:
    names = [task.name for task in TASKS]
    assert len(set(names)) == len(names) == 6
    assert {task.dataset for task in TASKS} == {"embedded"}
    assert {len(task.text_columns) for task in TASKS} == {1, 2}
    assert all(task.description and set(task.metrics) <= set(METRICS) for task in TASKS)
    assert pickle.loads(pickle.dumps(TASKS)) == TASKS


def test_regression_borrows_its_uncertainty_from_a_classification_of_pairs() -> None:
    tasks = {task.name: task for task in TASKS}
    (regression,) = (task for task in TASKS if task.head.kind == "regression")
    assert regression.head.label_range == (0.0, 5.0)
    assert regression.uncertainty_from is not None
    source = tasks[regression.uncertainty_from]
    assert source.head.kind == "classification"
    assert len(source.text_columns) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("entailmnt", "train"), "'entailmnt'; did you mean 'entailment'"),
        (("cola", "train"), "'cola'; known: sentiment, entailment"),
        (("topic", "validate"), "'validate'; did you mean 'validation'"),
        (("topic", "test"), "'test'; known: train, validation"),
        (("topic", "train", -1), "not -1"),
        (("topic", "train", 1.0), "not 1.0"),
        (("topic", "train", True), "not True"),
    ],
)
def test_bad_arguments_are_named_with_the_nearest_good_one(arguments: tuple[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        generate(*arguments)


def test_draws_depend_on_the_whole_key_and_stay_in_range() -> None:
    assert [Draw("a", 1).between(0, 10**9) for _ in range(2)] == [Draw("a", 1).between(0, 10**9)] * 2
    assert Draw("a", 1).between(0, 10**9) != Draw("a", 2).between(0, 10**9)
    draw = Draw("range")
    assert {draw.between(2, 4) for _ in range(200)} == {2, 3, 4}
    assert {draw.other("abc", "b") for _ in range(200)} == {"a", "c"}
    noise = np.array([draw.noise(0.8) for _ in range(2000)])
    assert np.abs(noise).max() < 0.8
    assert abs(noise.mean()) < 0.03


@pytest.mark.parametrize(
    ("noun", "count", "adjective", "determiner", "phrase"),
    [
        ("onion", 1, "", "", "an onion"),
        ("onion", 1, "red", "", "a red onion"),
        ("potato", 3, "", "", "three potatoes"),
        ("child", 0, "", "", "some children"),
        ("trophy", 2, "blue", "at least two", "at least two blue trophies"),
    ],
)
def test_noun_phrases_agree(noun: str, count: int, adjective: str, determiner: str, phrase: str) -> None:
    assert noun_phrase(noun, count, adjective, determiner) == phrase


def test_words_inflect() -> None:
    assert [plural(noun) for noun in ("melody", "bus", "dish", "woman")] == [
        "melodies",
        "buses",
        "dishes",
        "women",
    ]
    verb = Verb(base="carry", past="carried", participle="carried", progressive="carrying", synonym="moved")
    assert verb.singular == "carries"


def test_numbers_in_hypotheses_keep_to_arithmetic() -> None:
    """A bound on the premise's own agents or objects is met when it follows, broken when it cannot be."""
    words = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    holds = {
        "exactly": int.__eq__,
        "at least": int.__ge__,
        "more than": int.__gt__,
        "fewer than": int.__lt__,
    }
    draw, checked = Draw("bounds"), 0
    for _ in range(600):
        scene, label = draw_scene(draw), draw.pick((0, 2))
        claim = pairs._about_number(draw, scene, label)
        kind = next(kind for kind in holds if claim.startswith(kind))
        number, noun = claim.removeprefix(kind).split()[:2]
        count = scene.agents if noun in (scene.agent, plural(scene.agent)) else scene.objects
        assert holds[kind](count, words.index(number)) == (label == 0), (scene, claim)
        checked += 1
    assert checked == 600


def test_the_same_scene_told_twice_scores_near_five_and_an_unrelated_one_near_zero() -> None:
    draw = Draw("alike")
    scores = [pairs.similarity(draw)[1] for _ in range(1000)]
    assert 0.05 < np.mean(np.array(scores) < 0.5) < 0.3
    assert 0.05 < np.mean(np.array(scores) > 4.5) < 0.35


def test_faulty_sentences_are_never_among_the_good_ones() -> None:
    draw = Draw("grammar")
    rows = [single.acceptability(draw) for _ in range(4000)]
    good = {text for (text,), label in rows if label}
    bad = {text for (text,), label in rows if not label}
    assert good
    assert not good & bad


def test_topics_share_words_so_that_a_word_alone_does_not_tell() -> None:
    table = generate("topic", "train").to_pydict()
    for noun in ("guitar", "violin", "onion", "train", "medal", "sample"):
        fields = {
            label for text, label in zip(table["sentence"], table["label"], strict=True) if noun in text
        }
        assert len(fields) >= 3, noun
    assert [topic.name for topic in TOPICS] == list(next(t for t in TASKS if t.name == "topic").label_names)
