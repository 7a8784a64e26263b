"""`python jobs/list_tasks.py`: all known tasks in one table."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.list_tasks import main
from pipeline.tasks.registry import KNOWN_TASKS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """RTE as Parquet files, and a user's task beside it."""
    rte = tmp_path / "data" / "nyu-mll" / "glue" / "rte"
    rte.mkdir(parents=True)
    for split, rows in {"train": 1234, "validation": 5}.items():
        pq.write_table(pa.table({"label": [0] * rows}), rte / f"{split}.parquet")
    (tmp_path / "mine.csv").write_text("text,label\na,no\nb,yes\n")
    (tmp_path / "mine.yaml").write_text(
        "mine:\n  files: {train: mine.csv, validation: mine.csv}\n"
        "  text_columns: text\n  label_names: [no, yes]\n"
    )
    return tmp_path


def lines(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, list[str]]:
    """{task or group: its cells}."""
    main(arguments)
    shown = [line.replace("│", "|").strip("| ") for line in capsys.readouterr().out.splitlines()]
    cells = [[cell.strip() for cell in line.split("|")] for line in shown if "|" in line]
    return {row[0]: row[1:] for row in cells}


def test_every_task_is_listed_with_kind_metrics_and_source(capsys: pytest.CaptureFixture[str]) -> None:
    listed = lines(capsys)
    assert set(KNOWN_TASKS) <= set(listed)
    assert listed["squad"] == ["span", "the run's", "em, token_f1", "mrqa-workshop/mrqa/SQuAD"]


def test_rows_of_the_source_are_counted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--data.source", str(folder / "data"), "--data.task_files", f"[{folder / 'mine.yaml'}]")
    listed = lines(capsys, *arguments)
    assert listed["rte"] == ["classification", "128", "1,234 / 5", "accuracy", "nyu-mll/glue/rte"]
    assert listed["cola"][2] == ""
    assert listed["mine"] == ["classification", "the run's", "2 / 2", "accuracy", "2 files"]


def test_groups_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    assert "mrqa: squad, newsqa, triviaqa, searchqa, hotpotqa, naturalquestions\n" in capsys.readouterr().out


def test_a_mistake_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["--data.source", str(folder / "none")])
    assert exit_info.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("error: data source ")
    assert message.count("\n") == 1
