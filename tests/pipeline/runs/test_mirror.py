"""The copy of a run directory in storage: all that a run needs to go on elsewhere, and nothing half."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.runs.events import EVENTS, log_event, read_events
from pipeline.runs.mirror import Mirror
from pipeline.runs.records import Records, last_step, list_chunks, merge_chunks, write_chunk

TASKS = ("a", "b")


def chunk(run_dir: Path, first: int, last: int, *, resumed_at: int = 0) -> None:
    steps = np.arange(first, last + 1)
    rows = dict.fromkeys(("step", "rank", "row_id"), steps) | {"task": steps % 2}
    write_chunk(run_dir, [Records(resumed_at, first, last, 1.0, rows, mix=rows, summary={})], TASKS)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "run"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("run: {name: run}\n")
    return folder


def test_records_written_again_after_a_resume_are_copied_as_they_are_then(
    run_dir: Path, tmp_path: Path
) -> None:
    mirror = Mirror(str(tmp_path / "storage" / "run"))
    mirror.put(run_dir, ["config.yaml"])
    for first, last, resumed_at in ((1, 3, 0), (4, 6, 0), (7, 9, 0), (5, 6, 4), (7, 8, 4)):
        chunk(run_dir, first, last, resumed_at=resumed_at)
        log_event(run_dir, f"wrote {last}")
        mirror.put_records(run_dir)
    fetched = tmp_path / "elsewhere" / "run"
    mirror.fetch(fetched)
    assert [found.name for found in list_chunks(fetched)] == [found.name for found in list_chunks(run_dir)]
    assert last_step(fetched) == 8
    assert merge_chunks(fetched, "rows.parquet").equals(merge_chunks(run_dir, "rows.parquet"))
    assert read_events(fetched) == read_events(run_dir)
    assert mirror.read("config.yaml") == "run: {name: run}\n"


def test_a_chunk_that_was_being_copied_is_left_out(run_dir: Path, tmp_path: Path) -> None:
    mirror = Mirror(str(tmp_path / "storage"))
    for first, last in ((1, 3), (4, 6)):
        chunk(run_dir, first, last)
        mirror.put_records(run_dir)
    (tmp_path / "storage" / "records" / "000000006" / "summary.json").unlink()
    mirror.fetch(tmp_path / "elsewhere")
    assert last_step(tmp_path / "elsewhere") == 3


def test_storage_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no run \(it has no config.yaml\)"):
        Mirror(str(tmp_path / "none")).read("config.yaml")


def test_a_line_that_is_being_written_is_left_for_later(run_dir: Path) -> None:
    assert read_events(run_dir) == []
    log_event(run_dir, "one")
    with (run_dir / EVENTS).open("a") as file:
        file.write('{"text": "tw')
    assert read_events(run_dir) == ["one"]
