"""The copy of a run directory in storage: everything that another machine needs to resume, and no partial chunks."""

from pathlib import Path

import pytest

from pipeline.runs.events import EVENTS, log_event, read_events
from pipeline.runs.mirror import Mirror
from pipeline.runs.records import last_step, list_chunks, merge_chunks, write_chunk
from tests.pipeline.runs.chunks import TASKS, make_records


def test_a_mirror_follows_the_run_through_a_resume(tmp_path: Path) -> None:
    run_dir, mirror = tmp_path / "runs" / "run", Mirror(str(tmp_path / "storage" / "run"))
    run_dir.mkdir(parents=True)
    (run_dir / "config.yaml").write_text("run: {name: run}\n")
    mirror.put(run_dir, ["config.yaml"])
    for first, last, resumed_at in ((1, 3, 0), (4, 6, 0), (7, 9, 0), (5, 6, 4), (7, 8, 4)):
        write_chunk(run_dir, [make_records(first, last, resumed_at=resumed_at)], TASKS)
        log_event(run_dir, f"wrote {last}")
        mirror.put_records(run_dir)
    fetched = tmp_path / "elsewhere" / "run"
    mirror.fetch(fetched)
    assert [chunk.name for chunk in list_chunks(fetched)] == [chunk.name for chunk in list_chunks(run_dir)]
    assert merge_chunks(fetched, "rows.parquet").equals(merge_chunks(run_dir, "rows.parquet"))
    assert read_events(fetched) == read_events(run_dir) == [f"wrote {last}" for last in (3, 6, 9, 6, 8)]
    assert mirror.read("config.yaml") == "run: {name: run}\n"

    (tmp_path / "storage" / "run" / "records" / "000000008" / "summary.json").unlink()  # as during a copy
    mirror.fetch(tmp_path / "third")
    assert last_step(tmp_path / "third") == 6
    with pytest.raises(ValueError, match=r"holds no run \(it has no config.yaml\)"):
        Mirror(str(tmp_path / "none")).read("config.yaml")


def test_events_survive_a_partial_line_and_a_missing_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert read_events(tmp_path) == []
    log_event(tmp_path, "one")
    with (tmp_path / EVENTS).open("a") as file:
        file.write('{"text": "tw')
    assert read_events(tmp_path) == ["one"]
    log_event(tmp_path / "none", "two")
    assert capsys.readouterr().out == "two (events.jsonl cannot be written: No such file or directory)\n"
