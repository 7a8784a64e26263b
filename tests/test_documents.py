"""Documents: every printed command is accepted by its job, and every named file exists."""

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.cli import parse_settings
from jobs.cli.sweep import parse_sweep

ROOT = Path(__file__).parents[1]
PAGES = [
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/*.md"),
    *ROOT.glob("jobs/configs/**/*.yaml"),
    ROOT / "cluster.yaml",
]
JOBS = [path.stem for path in sorted((ROOT / "jobs").glob("[a-z]*.py"))]


def commands() -> Iterator[tuple[str, str]]:
    """(where it is printed, a command line that starts with the job's file) of pages and `--help` examples."""
    texts = {path.relative_to(ROOT).as_posix(): path.read_text() for path in PAGES}
    for job in JOBS:
        texts[f"jobs/{job}.py"] = getattr(importlib.import_module(f"jobs.{job}"), "EXAMPLES", "")
    for origin, text in texts.items():
        joined = re.sub(r"\\\n[#\s]*", " ", text)
        for match in re.finditer(r"python (jobs/\w+\.py[^\n|]*)", joined):
            command = re.sub(r"\s{2,}#.*", "", match[1])
            quoted = command.count("`") % 2 == 1  # the command stands between backquotes in a sentence
            yield origin, (command.partition("`")[0] if quoted else command).strip()


COMMANDS = sorted(set(commands()))


@pytest.mark.parametrize(("origin", "command"), COMMANDS, ids=[f"{o}: {c[5:60]}" for o, c in COMMANDS])
def test_a_printed_command_is_accepted(
    origin: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "jobs").symlink_to(ROOT / "jobs")
    file, *arguments = shlex.split(re.sub(r"<[^>]*>", "folder", command))
    assert (ROOT / file).is_file()
    if "--help" in arguments or any(
        word.endswith("best.yaml") for word in arguments
    ):  # a sweep writes best.yaml
        return
    match Path(file).stem:
        case "train_mtl" | "prepare_data" | "doctor":
            parse_settings(arguments, "", "")
        case "evaluate" if arguments:
            parse_settings(arguments[1:], "", "")
        case "tune_mtl" if arguments and "--run.resume" not in arguments:
            parse_sweep(arguments, "", "")


def test_named_files_and_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
        text = page.read_text()
        for name in re.findall(r"\b(?:pipeline|camtl|jobs|tests|docs)/[\w/]+(?:\.\w+|/)", text):
            assert (ROOT / name).exists(), f"{page.name} names {name}"
        for target in re.findall(r"(?:^|`)make (\w+)", text, re.MULTILINE):
            assert f"\n{target}:" in makefile, f"{page.name} names make {target}"
        for module in re.findall(r"python -m ([\w.]+)", text):
            path = ROOT / module.replace(".", "/")
            assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module
