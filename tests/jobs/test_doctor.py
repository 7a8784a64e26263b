"""The command: a line for every finding, its remedy below, and an exit code for scripts."""

import sys
from pathlib import Path

import pytest

from jobs import doctor


def examined(monkeypatch: pytest.MonkeyPatch, home: Path, *arguments: str) -> int:
    monkeypatch.chdir(home)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(sys, "argv", ["doctor.py", *arguments])
    with pytest.raises(SystemExit) as ended:
        doctor.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_the_embedded_default_is_well(
    ray_cluster: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Fewer rows than the default's, so that the memory of a busy machine is enough.
    code = examined(monkeypatch, tmp_path, "--train.batch_size", "8")
    lines = capsys.readouterr().out.splitlines()
    assert (code, lines[-1]) == (0, "all is well"), lines
    assert all(line.startswith("✓ ") for line in lines[:-1])
    assert [line[2:].partition(":")[0] for line in lines[:-1]] == [
        "model", "tasks", "Ray", "nodes", "workers", "memory", "run.output_dir", "data.prepared_dir", "MLflow",
        "run directory", "one batch",
    ]  # fmt: skip
    assert not list(tmp_path.rglob("*.*"))


def test_what_is_not_well_has_a_mend_and_exit_code_1(
    ray_cluster: None,
    tiny_backbone: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "reviews.csv").write_text("body,verdict\ngood,good\n")
    (tmp_path / "mine.yaml").write_text(
        "reviews: {files: {train: reviews.csv, validation: reviews.csv}, text_columns: [body], "
        "label_column: verdict, label_names: [bad, good]}\n"
    )
    wrong = "http://me:secret@127.0.0.1:1"
    arguments = ["--run.tracking_uri", wrong, "--data.task_files", "[mine.yaml]", "--data.tasks", "[reviews]"]
    arguments += ["--model.backbone", tiny_backbone, "--data.max_seq_length", "32"]
    code = examined(monkeypatch, tmp_path, *arguments)
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert (code, lines[-1]) == (1, "1 of these can stop the run"), lines
    [place] = [number for number, line in enumerate(lines) if line.startswith("✗ ")]
    assert lines[place].startswith("✗ MLflow: MLflow at http://***@127.0.0.1:1 cannot be used")
    assert lines[place + 1].startswith("    → start the server")
    assert "secret" not in printed.out + printed.err
    assert any(line.startswith("✓ one batch: ") for line in lines)


def test_wrong_settings_have_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert examined(monkeypatch, tmp_path, "--data.tasks", "[cola,sentimnt]") == 2
    assert capsys.readouterr().err.startswith("error: ")
