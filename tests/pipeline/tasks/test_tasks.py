"""Tasks, their registry and groups."""

import pickle

import pytest

from camtl.heads import HeadSpec
from camtl.heads.spec import KINDS
from pipeline.tasks.base import TASK_KINDS, make_task
from pipeline.tasks.families import glue, mrqa, nli, superglue, wnut
from pipeline.tasks.metrics.scores import check_metrics
from pipeline.tasks.registry import GROUPS, KNOWN_TASKS, resolve_tasks

GLUE = GROUPS["glue"]
NEW = {"name": "new", "dataset": "someone/new", "text_columns": ("sentence",), "label_names": ("a", "b")}


@pytest.mark.parametrize("name", KNOWN_TASKS)
def test_every_known_task_is_coherent(name: str) -> None:
    task = KNOWN_TASKS[name]
    check_metrics(task)
    assert task.description
    if KINDS[task.head.kind] is None:
        assert task.head.num_labels == len(task.label_names)
        assert task.head.label_names == task.label_names
    if task.head.kind == "regression":
        assert task.head.label_range is not None
        assert task.uncertainty_from is not None
        assert KNOWN_TASKS[task.uncertainty_from].dataset == task.dataset
    assert pickle.loads(pickle.dumps(task)) == task


def test_every_kind_of_head_is_a_kind_of_task() -> None:
    assert set(TASK_KINDS) == set(KINDS)


def test_sentences_stop_at_128_tokens_and_passages_at_the_runs_limit() -> None:
    limits = {task.name: task.max_seq_length for task in KNOWN_TASKS.values() if task.dataset != "embedded"}
    unlimited = {"boolq", "cb", "multirc", "record", *GROUPS["mrqa"]}
    assert limits == {name: None if name in unlimited else 128 for name in limits}


def test_groups_contain_every_task_of_the_papers_families() -> None:
    families = {
        family: tuple(task.name for task in family.TASKS) for family in (glue, superglue, mrqa, wnut, nli)
    }
    assert len(KNOWN_TASKS) == sum(map(len, families.values())) + 6, "a name stands for two tasks"
    assert (GROUPS["glue"], GROUPS["super_glue"]) == (families[glue], families[superglue])
    assert len(set(GROUPS["paper_24"])) == len(GROUPS["paper_24"]) == 23
    assert set(GROUPS["paper_26"]) == {name for names in families.values() for name in names} - {
        "superglue_rte"
    }


@pytest.mark.parametrize(
    ("names", "resolved"),
    [
        (["rte", "cola"], ["rte", "cola"]),
        (["glue"], [*GLUE]),
        (["rte", "glue", "snli"], ["rte", *(name for name in GLUE if name != "rte"), "snli"]),
        (["new", "rte"], ["new", "rte"]),
    ],
)
def test_names_resolve_in_order_and_once(names: list[str], resolved: list[str]) -> None:
    assert [task.name for task in resolve_tasks(names, [make_task(**NEW)])] == resolved  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["mrcp"], "unknown task 'mrcp': did you mean 'mrpc'"),
        (["sst2", "CoLA"], "unknown task 'CoLA': did you mean 'cola'"),
        (["zzzzzz"], "unknown task 'zzzzzz': the known ones are .*cola"),
        (["gleu"], "unknown task 'gleu': did you mean 'glue'"),
        (["nwe"], "unknown task 'nwe': did you mean 'new'"),
        (["rte", "cola", "rte"], "task 'rte' is listed twice"),
        (["glue", "rte", "glue"], "task 'glue' is listed twice"),
    ],
)
def test_unknown_and_repeated_names_are_refused(names: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        resolve_tasks(names, [make_task(**NEW)])  # type: ignore[arg-type]


CHOICE = {"kind": "choice", "label_names": ()}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "a/b"}, "task name 'a/b'"),
        ({"kind": "ranking"}, "head kind 'ranking' is not known"),
        ({"text_columns": ()}, "task 'new' of kind classification has 0 text_columns: give 1 or 2"),
        ({"text_columns": ("a", "b", "c")}, "3 text_columns: give 1 or 2"),
        ({"kind": "tagging"}, "1 text_columns: give 0 .its texts are among columns"),
        ({**CHOICE, "columns": {"choices": "a", "answers": "b"}}, "give 2"),
        (CHOICE, "columns for no role: give choices or choices, answers"),
        (
            {"columns": {"tokens": "words"}},
            "kind classification has columns for tokens: give none or question",
        ),
        ({"kind": "tagging", "text_columns": ()}, "columns for no role: give tokens, tags"),
        ({"max_seq_length": 4}, "max_seq_length 4: give 8 or more"),
        ({"null_threshold": 0.0}, "only spans have one"),
        ({"metrics": ()}, "at least one metric"),
        ({"eval_splits": ()}, "one evaluation split"),
        ({"label_names": ("a",)}, "at least 2 labels"),
        ({"kind": "regression"}, "2 label_names for num_labels=1"),
    ],
)
def test_an_incoherent_task_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_task(**NEW | changes)  # type: ignore[arg-type]


def test_the_head_carries_what_a_saved_model_needs() -> None:
    task = make_task(
        "qa", "x", "span", columns={role: role for role in TASK_KINDS["span"].roles[0]}, null_threshold=0
    )
    assert task.head == HeadSpec(kind="span", num_labels=2, null_threshold=0)
    assert (task.config, task.metrics) == ("qa", ("em", "token_f1"))
