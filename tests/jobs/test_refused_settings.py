"""Wrong settings: each is refused in one line that names it, before Ray starts or a file is written.

`VALUES` are wrong alone, `COMBINATIONS` contradict each other, the tasks or the model, `ARGUMENTS` are malformed.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.cli.checks import COUNT, RULES
from jobs.cli.parser import FIELDS
from jobs.evaluate import main as evaluate
from jobs.prepare_data import main as prepare_data
from tests.jobs.refusal import ResourcesTakenError, one_line, refusal, refusal_line, tree

ROOT = Path(__file__).parents[2]
NO_COUNT = ("0", "-3", "1.5", "many", "", "[1]", "{a: 1}", "99999999999999999999")
NO_SHARE = ("-0.1", "1", "1.5", ".nan", ".inf", "half", "true")
NO_SWITCH = ("2", "perhaps", "[true]", "")
VALUES: dict[str, tuple[str, ...]] = {
    **{name: NO_COUNT for name, rule in RULES.items() if rule is COUNT and FIELDS[name] in (int, int | None)},
    **dict.fromkeys(("sampler.smoothing", "sampler.floor", "train.warmup_proportion", "model.dropout"), NO_SHARE),
    **dict.fromkeys(("train.gradient_checkpointing", "train.compile", "run.overwrite"), NO_SWITCH),
    **dict.fromkeys(("sampler.dropout_while_scoring", "model.random_top_layer"), NO_SWITCH),
    **dict.fromkeys(("model.conditional_attention", "model.conditional_alignment"), NO_SWITCH),
    **dict.fromkeys(("run.output_dir", "data.prepared_dir"), ("", "  ", "s3://bucket/x", "/dev/null/x")),
    "train.epochs": ("0", "-1", ".nan", ".inf", "1e300", "twice"),
    "train.learning_rate": ("0", "-1", "nan", ".nan", "inf", ".inf", "1e-4x", "true", "null"),
    "train.new_parameters_learning_rate": ("0", "-1", ".nan", ".inf"),
    "train.weight_decay": ("-1", ".nan", ".inf", "null"),
    "train.max_grad_norm": ("0", "-1", ".nan", "null"),
    "train.precision": ("fp16", "", "16", "null"),
    "train.evaluate": ("later", "true", "null"),
    "sampler.temperature": ("0", "-2", ".nan", "hot"),
    "sampler.pool": ("0.5", "0", "-1", ".nan", ".inf", "per task", "null"),
    "sampler.max_share_per_task": ("0", "1.1", "-1", ".nan", "most"),
    "sampler.task_factors": ("3", "[cola]", "{sentiment: 0}", "{sentiment: -1}", "{sentiment: two}"),
    "sampler.max_epochs_per_task": ("0", "-1", ".nan", ".inf"),
    "sampler.policy": ("unifrm", "", "null", "counterfactual"),
    "sampler.select": ("uncertain", "true", "null"),
    "cluster.num_workers": ("-1", "[3,1]", "[0,2]", "[1]", "[1,2,3]", "[1.5,2]", "1.5", "two", "true", "null"),
    "cluster.cpus_per_worker": ("0", "-1", ".nan", ".inf", "all"),
    "cluster.max_failures": ("-2", "1.5", "never"),
    "cluster.hang_timeout": ("0", "-1", ".nan", ".inf", "soon"),
    "cluster.use_gpu": ("2", "perhaps", "null"),
    "cluster.storage_path": ("", "s3://", "s3:/bucket", "s3://user:secret@bucket/x"),
    "data.max_seq_length": ("0", "-8", "7", "128.5", "long", "null"),
    "data.in_memory_bytes": ("-1", "1e9", "99999999999999999999"),
    "data.tasks": ("cola", "[1,2]", "[null]", "null", "[[cola]]", "{a: b}", "[cola"),
    "data.task_files": ("a.yaml", "[tasks.csv]", "[/tmp]", "[3]", "null"),
    "data.source": ("", " "),
    "run.name": ("", "..", "a/b", "a b", ".hidden", "{foo}", "{variant", "é" * 201, "x\ny"),
    "run.seeds": ("3", "[1,1]", "[1,-2]", "[1.5]", "[a]", "null", "[4294967296]"),
    "run.seed": ("-1", "1.5", "4294967296", "today", "null"),
    "run.tracking_uri": ("", "mlflow.db", "localhost:5000", "null"),
    "run.experiment": ("", "\t"),
    "model.backbone": ("", " "),
    "model.variant": ("bse", "Base", "null"),
    "model.freeze": ("3", "upper_half", "0-", "a-b", "null"),
    "model.bottleneck": ("middle", "0-2", "3"),
}  # fmt: skip


@pytest.mark.parametrize("name", VALUES)
def test_a_wrong_value_is_named(empty_folder: Path, name: str) -> None:
    for value in VALUES[name]:
        assert refusal(empty_folder, f"--{name}={value}").startswith((f"{name}: ", f"{name} ")), value


def test_every_setting_has_wrong_values_but_those_that_take_any_text() -> None:
    assert set(FIELDS) - set(VALUES) == {"run.resume", "model.conditional_layer_norm"}


COMBINATIONS = {
    "--train.epochs 1 --train.max_steps 5": "train.max_steps and train.epochs are both set",
    "--run.resume here --run.overwrite true": "run.resume and run.overwrite are both set",
    "--run.resume here --run.name other": "run.name: 'other' is not the name of the resumed run",
    "--run.resume s3://user:secret@bucket/x": "run.resume: s3://***@... contains a user or a password",
    "--cluster.storage_path s3://me:secret@bucket": "cluster.storage_path: s3://***@... contains a user or a password",
    "--run.tracking_uri http://me:secret@127.0.0.1:1": "MLflow at http://***@127.0.0.1:1 cannot be used (Connection",
    "--sampler.select none": "sampler.select: 'none' trains on every candidate",
    "--train.batch_size 3 --train.gradient_accumulation 2": "train.batch_size: 3 rows leave some of the 4",
    "--train.batch_size 3 --cluster.num_workers 4": "train.batch_size: 3 rows leave some of the 4",
    "--cluster.num_workers [1,2]": "cluster.cpus_per_worker: 0.5 with num_workers as [min, max]",
    "--cluster.num_workers 0 --train.evaluate asynchronous": "train.evaluate: 'asynchronous' needs workers",
    "--train.batch_size 2000000000": "sampler.round_steps 25 of 2 x 2000000000 candidates",
    "--sampler.pool 1e300": "sampler.round_steps 25 of 1e+300 x 32 candidates",
    "--sampler.max_share_per_task 0.01": "sampler.max_share_per_task: 0.01 for each of 6 tasks cannot fill a batch",
    "--sampler.task_factors.sentimnt 3": "sampler.task_factors: task 'sentimnt' is not in this run: did you mean",
    "--sampler.floor 0.2": "sampler.floor: 0.2 for each of 6 tasks is more than the candidates",
    "--data.tasks [sentiment,sentiment]": "task 'sentiment' is listed twice",
    "--data.tasks [sentimnt]": "unknown task 'sentimnt': did you mean 'sentiment'",
    "--data.tasks [cola]": "task 'cola' is not one of the embedded suite",
    "--data.source hub": "task 'sentiment' is not on the Hub",
    "--data.source nowhere": "data source '",
    "--data.source s3://bucket/rows": "data source 's3://bucket/rows' is not a folder",
    "--data.task_files [none.yaml]": "{folder}/none.yaml cannot be read (No such file",
    "--data.max_seq_length 4096": "max_seq_length=4096 is more than the 512 positions",
    "--model.attention_blocks 1000": "attention_blocks=1000 is more than max_seq_length=128",
    "--model.freeze 4-6": "freeze='4-6': the encoder's layers are 0-5",
    "--model.freeze 3-1": "freeze='3-1': the encoder's layers are 0-5",
    "--model.conditional_layer_norm 0-99": "conditional_layer_norm='0-99': the encoder's layers are 0-5",
    "--model.conditional_layer_norm 7": "conditional_layer_norm='7' is not known",
    "--model.bottleneck_reduction 1000": "bottleneck_reduction=1000 leaves nothing",
    "--model.task_embedding_size 1999999999": "no model can be built on backbone",
    "--model.backbone package:no-such-encoder": "backbone 'package:no-such-encoder': the package is not installed",
    "--model.backbone package:": "backbone 'package:': '' is not a package name",
    "--model.backbone package:a.b": "backbone 'package:a.b': 'a.b' is not a package name",
    "--model.backbone ./nowhere": "backbone '{folder}/nowhere' cannot be loaded",
    "--run.resume nowhere": "run.resume: {folder}/nowhere is not a run directory",
    "--run.tracking_uri http://[::1": "MLflow at http://[::1 cannot be used (Invalid IPv6 URL)",
    "--run.tracking_uri http://localhost:99999999": "MLflow at http://localhost:99999999 cannot be used (Port out",
    "--run.tracking_uri sqlite://": "MLflow at sqlite:// cannot be used (the URI names no file)",
    "--run.tracking_uri nosuch://x": "MLflow at nosuch://x cannot be used",
}  # fmt: skip
ARGUMENTS = {
    "--train 3": "--train: set one field at a time, as --train.field value",
    "--train.batch_size 3 4": "unexpected argument '4'",
    "--config": "--config: expected one argument",
    "--help=3": "-h/--help: ignored explicit argument '3'",
    "-x": "unknown setting --x",
    "--": "unknown setting --",
    "": "unexpected argument ''",
    "run.yaml --train.batch_size 1": "unexpected argument 'run.yaml'",
    "--train.batch_size": "--train.batch_size: expected one argument",
    "--train.batchsize 3": "unknown setting --train.batchsize; did you mean train.batch_size?",
    "--batch_size=3": "unknown setting --batch_size; did you mean train.batch_size?",
    "--model.learning_rate 1": "unknown setting --model.learning_rate; did you mean train.learning_rate?",
    "--trian.max_steps 3": "unknown setting --trian.max_steps; did you mean train.max_steps?",
    "--sampler.policy unifrm": "sampler.policy: expected uniform, size, temperature, uncertainty, got 'unifrm'",
    "--model.bottleneck topp": "model.bottleneck: expected none, top, all or null, got 'topp'; did you mean top?",
    "--train.precision fp16": "train.precision: expected auto, bf16, fp32, got 'fp16'; did you mean bf16?",
    "--sampler.pool per_tsk": "sampler.pool: expected per_task or a number, got 'per_tsk'; did you mean per_task?",
    "--train.batch_size 1.5": "train.batch_size: expected a whole number, got '1.5'",
    "--train.batch_size 0": "train.batch_size: 0 must be more than 0",
    "--train.learning_rate=-1e-4": "train.learning_rate: -0.0001 must be more than 0",
    "--data.tasks cola": "data.tasks: expected a list such as [cola,rte], got 'cola'",
    "--data.task_files [tasks.csv]": "data.task_files: ['tasks.csv'] must be a list of YAML files",
    "--cluster.num_workers [1]": "cluster.num_workers: expected a whole number or [min, max]",
    "--cluster.use_gpu perhaps": "cluster.use_gpu: expected true or false or auto",
    "--run.name a/b": "run.name: 'a/b' must be a plain folder name",
}  # fmt: skip


@pytest.mark.parametrize("arguments", [*COMBINATIONS, *ARGUMENTS])
def test_a_wrong_command_line_gets_one_line(empty_folder: Path, arguments: str) -> None:
    expected = (COMBINATIONS | ARGUMENTS)[arguments].replace("{folder}", str(empty_folder))
    line = refusal(empty_folder, *(arguments.split() or [""]))
    assert line.startswith(expected)
    assert "secret" not in line


def test_correct_settings_get_as_far_as_ray(empty_folder: Path) -> None:
    """Otherwise every refusal above might have another cause."""
    with pytest.raises(ResourcesTakenError):
        refusal_line("--data.tasks", "[sentiment]")


def test_other_jobs_refuse_before_ray_too(empty_folder: Path) -> None:
    line = refusal(empty_folder, "--data.source", "nowhere", job=prepare_data)
    assert line.startswith(f"data source '{empty_folder}/nowhere' is not a folder")
    assert refusal(empty_folder, "nowhere", job=evaluate).startswith("nowhere is neither a run directory")
    assert refusal(empty_folder, "--x", job=evaluate).startswith("the first argument is a run directory")


def test_a_real_process_ends_with_2_and_leaves_nothing(empty_folder: Path) -> None:
    environment = {**os.environ, "RAY_TMPDIR": str(empty_folder / "ray")}  # where Ray's files would be
    command = [sys.executable, str(ROOT / "jobs" / "train_mtl.py"), "--data.tasks", "[cola]"]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert one_line(ended.stderr).startswith("task 'cola' is not one of the embedded")
    assert tree(empty_folder) == set()
