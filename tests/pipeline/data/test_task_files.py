"""Tasks of one's own in YAML: what they become, and the one line about what is wrong with them."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer

from pipeline.data.columns import columns_of
from pipeline.data.formats import Origin, encode_rows
from pipeline.data.sources.open import open_source
from pipeline.data.task_files import load_task_files
from pipeline.data.tokenization import tokenizer_json
from pipeline.tasks.base import Task

REVIEWS = """\
reviews:
  files: {train: reviews.csv, validation: dev/reviews.tsv}
  text_columns: ["{title}: {body}"]
  label_column: verdict
  label_names: [no, yes]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Rows of every format."""
    (tmp_path / "dev").mkdir()
    (tmp_path / "reviews.csv").write_text("title,body,verdict\nGood,very good,yes\n")
    (tmp_path / "dev" / "reviews.tsv").write_text("title\tbody\tverdict\nBad\tnot good\tno\n")
    (tmp_path / "pairs.jsonl").write_text('{"first": "a cat", "second": "a dog", "label": 3.5}\n')
    (tmp_path / "names.conll").write_text("Ann B-person\nsat O\n")
    passages = {
        "question": ["who?"],
        "context": ["Ann sat"],
        "answers": [{"text": ["Ann"], "answer_start": [0]}],
    }
    pq.write_table(pa.table(passages), tmp_path / "passages.parquet")
    return tmp_path


def load(folder: Path, text: str) -> tuple[Task, ...]:
    (folder / "tasks.yaml").write_text(text)
    return load_task_files([str(folder / "tasks.yaml")])


def test_a_task_is_a_few_lines(folder: Path) -> None:
    [task] = load(folder, REVIEWS)
    assert (task.name, task.head.kind, task.head.num_labels) == ("reviews", "classification", 2)
    assert task.files == (
        ("train", str(folder / "reviews.csv")),
        ("validation", str(folder / "dev" / "reviews.tsv")),
    )
    assert task.text_columns == ("{title}: {body}",)
    assert task.head.label_names == ("no", "yes"), "words that are booleans in YAML are names here"
    assert task.metrics == ("accuracy",)
    assert task.source == "2 files"


def test_every_kind_can_be_written(folder: Path) -> None:
    tasks = load(
        folder,
        """\
likeness:
  kind: regression
  files: {train: pairs.jsonl, dev: pairs.jsonl, test: pairs.jsonl}
  eval_splits: [dev, test]
  text_columns: [first, second]
  label_range: [0, 5]
  metrics: spearman
  uncertainty_from: mrpc
  max_seq_length: 64
names:
  kind: tagging
  files: {train: names.conll, validation: names.conll}
  label_names: [O, B-person, I-person]
answers:
  kind: span
  files: {train: passages.parquet, validation: passages.parquet}
  null_threshold: -1.5
reviews:
  dataset: imdb
  config: plain_text
  eval_splits: test
  text_columns: text
  label_names: [bad, good]
""",
    )
    likeness, names, answers, reviews = tasks
    assert likeness.head.label_range == (0.0, 5.0)
    assert likeness.eval_splits == (("dev", "dev_"), ("test", "test_"))
    assert (likeness.metrics, likeness.uncertainty_from, likeness.max_seq_length) == (
        ("spearman",),
        "mrpc",
        64,
    )
    assert names.columns == {"tokens": "tokens", "tags": "tags"}
    assert names.metrics == ("entity_f1",)
    assert answers.head.null_threshold == -1.5
    assert set(answers.columns) == {"question", "context", "answers"}
    assert (reviews.dataset, reviews.config, reviews.files) == ("imdb", "plain_text", ())
    assert reviews.eval_splits == (("test", ""),)


def test_tasks_of_several_files_may_name_each_other(folder: Path) -> None:
    (folder / "other.yaml").write_text(
        "pairs:\n  kind: regression\n  files: {train: pairs.jsonl, validation: pairs.jsonl}\n"
        "  text_columns: [first, second]\n  uncertainty_from: reviews\n"
    )
    (folder / "tasks.yaml").write_text(REVIEWS)
    tasks = load_task_files([str(folder / "other.yaml"), str(folder / "tasks.yaml")])
    assert [task.name for task in tasks] == ["pairs", "reviews"]


def with_line(line: str) -> str:
    return REVIEWS.replace("  label_column", f"  {line}\n  label_column")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (with_line("label_name: [no, yes]"), "4: T, label_name: unknown field: did you mean 'label_names'"),
        (with_line("kind: clasification"), "4: T, kind: unknown kind 'clasification': did you mean 'classif"),
        (with_line("dataset: imdb"), "2: T, files: give either files, .* or dataset, a Hub id"),
        (with_line("metrics: [acuracy]"), "1: T: unknown metric 'acuracy': did you mean 'accuracy'"),
        (
            with_line("uncertainty_from: mrcp"),
            "4: T, uncertainty_from: unknown task 'mrcp': did you mean 'mr",
        ),
        (with_line("max_seq_length: long"), "4: T, max_seq_length: give a number, not .'long'"),
        (with_line("max_seq_length: 4"), "1: T has max_seq_length 4: give 8 or more"),
        (with_line("label_range: [0, 5]"), "1: label_range=.* needs a regression"),
        (with_line("columns: [a]"), "4: T, columns: give names and texts such as {a: b}, not .'a'"),
        (with_line("columns: {tokens: a}"), "1: T of kind classification has columns for tokens: give none"),
        (with_line("text_columns: [body]"), "4: 'text_columns' is given twice: keep one"),
    ],
)
def test_a_wrong_field_is_one_line_with_file_field_and_mend(folder: Path, text: str, told: str) -> None:
    assert_told(folder, text, told)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("{body}", "{bodi}", "3: T, text_columns: .*reviews.csv has no column 'bodi': did you mean 'body'"),
        ('["{title}: {body}"]', "[title, body, title]", "1: T has text_columns .*: give one or two"),
        ('["{title}: {body}"]', '["{title: {body}"]', "1: template .* cannot be read"),
        ('["{title}: {body}"]', "{a: b}", "3: T, text_columns: give a list of texts, not"),
        (
            "label_column: verdict",
            "",
            "1: T, label_column: .*csv has no column 'label': the known ones are body",
        ),
        ("label_names: [no, yes]", "", "1: T, label_names: a classification needs the names of two or more"),
        ("[no, yes]", "[no, no]", "5: T, label_names: a classification needs the names"),
        ("reviews.csv", "review.csv", "2: T, files: .*review.csv cannot be read .No such file or directory"),
        ("reviews.csv", "reviews.xlsx", "2: T, files: .*reviews.xlsx ends in '.xlsx': give a file that ends"),
        ("validation:", "dev:", "2: T, files: there is none for the split 'validation': add it"),
        ("reviews:", "rte:", "1: task 'rte' is already registered: give the new one another name"),
        ("reviews:", "glue:", "1: 'glue' is the name of a group of tasks: give the task another one"),
        ("reviews:", "re views:", "1: task name 're views': use letters"),
    ],
)
def test_a_wrong_value_is_one_line_with_file_field_and_mend(
    folder: Path, old: str, new: str, told: str
) -> None:
    assert old in REVIEWS
    assert_told(folder, REVIEWS.replace(old, new), told)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (REVIEWS + REVIEWS, "6: 'reviews' is given twice: keep one"),
        ("reviews:\n", "1: 'reviews' has no fields: write them as 'name: value' below it"),
        ("", "1: the file holds no tasks"),
        ("- name: reviews\n", "1: the file holds no tasks: write each as a name with fields below it"),
        ("reviews: [1\n", "2: not valid YAML: expected ',' or ']'"),
    ],
)
def test_a_file_of_something_else_is_told_by_line(folder: Path, text: str, told: str) -> None:
    assert_told(folder, text, told)


def assert_told(folder: Path, text: str, told: str) -> None:
    told = told.replace("T", "task 'reviews'", 1) if " T" in told else told
    with pytest.raises(ValueError, match=rf"tasks\.yaml:{told}") as caught:
        load(folder, text)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{folder}/tasks.yaml:")


def test_a_label_that_is_not_listed_is_told_with_file_and_row(folder: Path, tokenizer_dir: str) -> None:
    (folder / "reviews.csv").write_text("title,body,verdict\nGood,very good,yes\nBad,not good,nope\n")
    [task] = load(folder, REVIEWS)
    [block] = open_source("embedded").blocks(task, "train")
    origin = Origin(task=task.name, name=block.origin, row_ids=range(block.rows))
    tokenizer = Tokenizer.from_str(tokenizer_json(tokenizer_dir))
    told = r"task 'reviews': .*reviews.csv, row 1 has label 'nope', but the task's labels are 'no', 'yes': correct"
    with pytest.raises(ValueError, match=told):
        encode_rows(block.read(), columns_of(task), tokenizer, 32, for_training=True, origin=origin)


def test_a_file_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.yaml cannot be read \(No such file or directory\)"):
        load_task_files([str(folder / "none.yaml")])
    (folder / "bad.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"bad\.yaml is not a text file in UTF-8"):
        load_task_files([str(folder / "bad.yaml")])
