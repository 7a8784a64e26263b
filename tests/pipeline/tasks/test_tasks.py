"""Tasks and their registry."""

import pickle

import pytest

from camtl.heads import HeadSpec
from camtl.heads.spec import KINDS
from pipeline.tasks import registry
from pipeline.tasks.base import Task
from pipeline.tasks.families import glue, mrqa, nli, superglue, wnut
from pipeline.tasks.groups import GROUPS, expand
from pipeline.tasks.registry import all_tasks, get_task, register, resolve

GLUE = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli")


def new_task(**changes: object) -> Task:
    fields: dict[str, object] = {
        "name": "new",
        "dataset": "someone/new",
        "config": "default",
        "text_columns": ("sentence",),
        "head": HeadSpec(num_labels=2),
        "metrics": ("accuracy",),
    }
    return Task(**(fields | changes))  # type: ignore[arg-type]


def test_the_nine_glue_tasks_have_their_official_metrics() -> None:
    assert tuple(task.name for task in glue.TASKS) == GLUE
    metrics = {task.name: task.metrics for task in glue.TASKS}
    assert metrics["cola"] == ("mcc",)
    assert metrics["stsb"] == ("pearson", "spearman")
    assert metrics["mrpc"] == metrics["qqp"] == ("f1", "accuracy")
    assert all(metrics[name] == ("accuracy",) for name in ("sst2", "mnli", "qnli", "rte", "wnli"))
    assert {prefix for _, prefix in get_task("mnli").eval_splits} == {"matched_", "mismatched_"}


def test_every_registered_task_is_coherent() -> None:
    for task in all_tasks():
        if KINDS[task.head.kind] is None:
            assert task.head.num_labels == len(task.label_names)
            assert task.head.label_names == task.label_names
        if task.head.kind == "regression":
            assert task.head.label_range is not None
            assert set(task.metrics) == {"pearson", "spearman"}
            assert task.uncertainty_from is not None
            assert get_task(task.uncertainty_from).dataset == task.dataset
        assert pickle.loads(pickle.dumps(task)) == task


def test_sentences_stop_at_128_tokens_and_passages_at_the_runs_limit() -> None:
    unlimited = {
        task.name for task in all_tasks() if task.max_seq_length is None and task.dataset != "embedded"
    }
    assert unlimited == {"boolq", "cb", "multirc", "record", *GROUPS["mrqa"]}
    assert {task.max_seq_length for task in resolve(["glue", "wnut17", "snli", "wic"])} == {128}


def test_names_resolve_in_the_order_given() -> None:
    assert [task.name for task in resolve(["rte", "cola"])] == ["rte", "cola"]


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"unknown task 'mrcp': did you mean 'mrpc'"):
        get_task("mrcp")
    with pytest.raises(ValueError, match=r"unknown task 'CoLA': did you mean 'cola'"):
        resolve(["sst2", "CoLA"])
    with pytest.raises(ValueError, match=r"unknown task 'zzzzzz': the known ones are .*cola"):
        get_task("zzzzzz")


def test_a_name_listed_twice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'rte' is listed twice"):
        resolve(["rte", "cola", "rte"])


def test_a_group_stands_for_its_tasks_and_repeats_none() -> None:
    assert [task.name for task in resolve(["glue"])] == list(GLUE)
    assert expand(["rte", "glue", "snli"]) == ("rte", *(name for name in GLUE if name != "rte"), "snli")
    with pytest.raises(ValueError, match="'glue' is listed twice"):
        resolve(["glue", "rte", "glue"])
    with pytest.raises(ValueError, match="unknown task 'gleu': did you mean 'glue'"):
        resolve(["gleu"])


def test_the_groups_name_every_task_of_the_papers_families() -> None:
    names = {
        module: tuple(task.name for task in module.TASKS) for module in (glue, superglue, mrqa, wnut, nli)
    }
    assert GROUPS["glue"] == names[glue]
    assert GROUPS["super_glue"] == names[superglue]
    assert GROUPS["mrqa"] == names[mrqa]
    assert len(set(GROUPS["paper_24"])) == len(GROUPS["paper_24"]) == 23
    assert set(GROUPS["paper_26"]) == {name for found in names.values() for name in found} - {"superglue_rte"}


def test_a_task_of_ones_own_may_not_take_a_known_name() -> None:
    assert [task.name for task in resolve(["new", "rte"], (new_task(),))] == ["new", "rte"]
    with pytest.raises(ValueError, match="'rte' is already registered"):
        resolve(["cola"], (new_task(name="rte"),))
    with pytest.raises(ValueError, match="'glue' is the name of a group"):
        resolve(["cola"], (new_task(name="glue"),))
    with pytest.raises(ValueError, match="'new' is already registered"):
        resolve(["new"], (new_task(), new_task()))
    with pytest.raises(ValueError, match="unknown task 'nwe': did you mean 'new'"):
        resolve(["nwe"], (new_task(),))


def test_registering(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_TASKS", dict(registry._TASKS))
    register(new_task())
    assert get_task("new").dataset == "someone/new"
    with pytest.raises(ValueError, match="'new' is already registered"):
        register(new_task())
    with pytest.raises(ValueError, match="unknown metric 'acuracy': did you mean 'accuracy'"):
        register(new_task(name="other", metrics=("acuracy",)))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"name": "a/b"}, "task name 'a/b'"),
        ({"text_columns": ()}, "give one or two"),
        ({"max_seq_length": 4}, "max_seq_length 4: give 8 or more"),
        (
            {"columns": {"tokens": "words"}},
            "kind classification has columns for tokens: give none or question",
        ),
        ({"head": HeadSpec(kind="tagging"), "text_columns": ()}, "columns for nothing: give tokens, tags"),
        ({"head": HeadSpec(kind="tagging")}, "give none, for its texts are among `columns`"),
        (
            {"head": HeadSpec(kind="choice", num_labels=1)},
            "columns for nothing: give choices or choices, answers",
        ),
        (
            {"head": HeadSpec(kind="choice", num_labels=1), "columns": {"choices": "a", "answers": "b"}},
            "give two",
        ),
        ({"text_columns": ("a", "b", "c")}, "give one or two"),
        ({"null_threshold": 0.0}, "spans alone have one"),
        ({"metrics": ()}, "at least one metric"),
        ({"eval_splits": ()}, "one evaluation split"),
        ({"label_names": ("a", "b", "c")}, "3 label_names for num_labels=2"),
    ],
)
def test_an_incoherent_task_is_refused(changes: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        new_task(**changes)
