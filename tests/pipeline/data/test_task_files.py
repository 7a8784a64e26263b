"""A user's tasks in YAML: what they become, and the one-line message about what is wrong."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.data.task_files import load_task_files
from pipeline.tasks.base import Task

REVIEWS = """\
reviews:
  files: {train: reviews.csv, validation: dev/reviews.tsv}
  text_columns: ["{title}: {body}"]
  label_column: verdict
  label_names: [no, yes]
"""
OTHERS = """\
likeness:
  kind: regression
  files: {train: pairs.jsonl, dev: pairs.jsonl, test: pairs.jsonl}
  eval_splits: [dev, test]
  text_columns: [first, second]
  label_range: [0, 5]
  metrics: spearman
  uncertainty_from: reviews
  max_seq_length: 64
names:
  kind: tagging
  files: {train: names.conll, validation: names.conll}
  label_names: [O, B-person, I-person]
answers:
  kind: span
  files: {train: passages.parquet, validation: passages.parquet}
  null_threshold: -1.5
films:
  dataset: imdb
  config: plain_text
  eval_splits: test
  text_columns: text
  label_names: [bad, good]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Rows in every format."""
    (tmp_path / "dev").mkdir()
    (tmp_path / "reviews.csv").write_text("title,body,verdict\nGood,very good,yes\n")
    (tmp_path / "dev" / "reviews.tsv").write_text("title\tbody\tverdict\nBad\tnot good\tno\n")
    (tmp_path / "pairs.jsonl").write_text('{"first": "a cat", "second": "a dog", "label": 3.5}\n')
    (tmp_path / "names.conll").write_text("Ann B-person\nsat O\n")
    answers = [{"text": ["Ann"], "answer_start": [0]}]
    passages = pa.table({"question": ["who?"], "context": ["Ann sat"], "answers": answers})
    pq.write_table(passages, tmp_path / "passages.parquet")
    return tmp_path


def load(folder: Path, *texts: str) -> tuple[Task, ...]:
    paths = [folder / f"tasks{number or ''}.yaml" for number in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    return load_task_files(map(str, paths))


def test_a_task_is_a_few_lines(folder: Path) -> None:
    [task] = load(folder, REVIEWS)
    assert (task.name, task.head.kind, task.head.num_labels) == ("reviews", "classification", 2)
    paths = {"train": folder / "reviews.csv", "validation": folder / "dev" / "reviews.tsv"}
    assert task.files == tuple((split, str(path)) for split, path in paths.items())
    assert task.text_columns == ("{title}: {body}",)
    assert task.head.label_names == ("no", "yes"), "words that are booleans in YAML are names here"
    assert task.metrics == ("accuracy",)
    assert task.source == "2 files"


def test_every_kind_can_be_written_and_files_may_refer_to_each_other(folder: Path) -> None:
    likeness, names, answers, films, reviews = load(folder, OTHERS, REVIEWS)
    assert likeness.head.label_range == (0.0, 5.0)
    assert likeness.eval_splits == (("dev", "dev_"), ("test", "test_"))
    assert (likeness.metrics, likeness.max_seq_length) == (("spearman",), 64)
    assert likeness.uncertainty_from == reviews.name
    assert names.columns == {"tokens": "tokens", "tags": "tags"}
    assert names.metrics == ("entity_f1",)
    assert answers.head.null_threshold == -1.5
    assert set(answers.columns) == {"question", "context", "answers"}
    assert (films.dataset, films.config, films.files) == ("imdb", "plain_text", ())
    assert films.eval_splits == (("test", ""),)


ADDED = {  # lines above label_column
    "label_name: [no, yes]": "4: T, label_name: unknown field: did you mean 'label_names'",
    "kind: clasification": "4: T, kind: unknown kind 'clasification': did you mean 'classif",
    "dataset: imdb": "2: T, files: give either files, .* or dataset, a Hub id",
    "metrics: [acuracy]": "1: T: unknown metric 'acuracy': did you mean 'accuracy'",
    "uncertainty_from: mrcp": "4: T, uncertainty_from: unknown task 'mrcp': did you mean 'mr",
    "max_seq_length: long": "4: T, max_seq_length: give a number, not .'long'",
    "label_range: [0, 5]": "1: T: label_range=.* needs a regression",
    "description: [a, b]": r"4: T, description: give a text, not \['a', 'b'\]",
    "columns: [a]": "4: T, columns: give names and texts such as {a: b}, not .'a'",
    "columns: {a: b, a: c}": "4: not valid YAML: 'a' is given twice: keep one",
    "text_columns: [body]": "4: not valid YAML: 'text_columns' is given twice: keep one",
}
REPLACED = {
    ("{body}", "{bodi}"): "3: T, text_columns: .*reviews.csv has no column 'bodi': did you mean 'body'",
    ('["{title}: {body}"]', '["{title: {body}"]'): "1: T: template .* cannot be read",
    ('["{title}: {body}"]', "{a: b}"): "3: T, text_columns: give a list of texts, not",
    ("label_column: verdict", ""): "1: T, label_column: .*csv has no column 'label': the known ones are body",
    ("label_names: [no, yes]", ""): "1: T, label_names: a classification task needs the names of two or more",
    ("[no, yes]", "[no, no]"): "5: T, label_names: a classification task needs the names",
    ("reviews.csv", "review.csv"): "2: T, files: .*review.csv cannot be read .No such file or directory",
    ("reviews.csv", "reviews.xlsx"): "2: T, files: .*reviews.xlsx ends in '.xlsx': give a file that ends",
    ("validation:", "dev:"): "2: T, files: the split 'validation' has no file: add it",
    ("reviews:", "rte:"): "1: task 'rte' already exists: rename this one",
    ("reviews:", "glue:"): "1: 'glue' is the name of a group of tasks: rename the task",
    ("reviews:", "re views:"): "1: task name 're views': use letters",
}
REFUSALS = {
    **{REVIEWS.replace("  label_column", f"  {line}\n  label_column"): ADDED[line] for line in ADDED},
    **{REVIEWS.replace(*change): REPLACED[change] for change in REPLACED},
    REVIEWS + REVIEWS: "6: not valid YAML: 'reviews' is given twice: keep one",
    "reviews:\n": "1: 'reviews' has no fields: write 'name: value' lines below",
    "": "1: the file contains no tasks",
    "- name: reviews\n": "1: the file contains no tasks: write each as a name with fields below it",
    "reviews: [1\n": "2: not valid YAML: expected ',' or ']'",
}


@pytest.mark.parametrize(("text", "message"), REFUSALS.items(), ids=REFUSALS.values())
def test_a_mistake_is_one_line_with_file_line_field_and_remedy(folder: Path, text: str, message: str) -> None:
    assert text != REVIEWS
    message = message.replace(" T", " task 'reviews'", 1)
    with pytest.raises(ValueError, match=rf"tasks\.yaml:{message}") as error:
        load(folder, text)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(f"{folder}/tasks.yaml:")


def test_a_name_in_two_files_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"tasks1\.yaml:1: task 'reviews' already exists: rename this one"):
        load(folder, REVIEWS, REVIEWS)


def test_an_unreadable_file_is_named(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.yaml cannot be read \(No such file or directory\)"):
        load_task_files([str(folder / "none.yaml")])
    (folder / "bad.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"bad\.yaml is not a text file in UTF-8"):
        load_task_files([str(folder / "bad.yaml")])
