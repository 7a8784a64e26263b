"""Wrong `--config` files, by hand and generated: refused in one line that names file and line."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.cli.checks import COUNT, RULES
from jobs.cli.parser import FIELDS, SECTIONS
from tests.jobs.refusal import ResourcesTakenError, refusal, refusal_line

CONFIGS = {
    "": "{path}:1: the file contains no settings",
    "# only words\n": "{path}:1: the file contains no settings",
    "- a\n- b\n": "{path}:1: the file contains no settings",
    "train:\n": "{path}:1: section 'train' contains no settings",
    "train: [a]\n": "{path}:1: section 'train' contains no settings",
    "run: {seed: 1}\nrun: {seed: 2}\n": "{path}:2: 'run' is set twice in the file",
    "run:\n  seed: 1\n  seed: 1\n": "{path}:3: 'seed' is set twice in section 'run'",
    "trian: {max_steps: 3}\n": "{path}:1: unknown section 'trian'; did you mean train?",
    "max_steps: 3\n": "{path}:1: unknown section 'max_steps'; did you mean train.max_steps?",
    "train: {max_step: 3}\n": "{path}:1: unknown setting train.max_step; did you mean train.max_steps?",
    "run: {batch_size: 3}\n": "{path}:1: unknown setting run.batch_size; did you mean train.batch_size?",
    "train: {xyz: 3}\n": "{path}:1: unknown setting train.xyz",
    "1: 2\n": "{path}:1: unknown section '1'",
    "? [a, b]\n: 3\n": "{path}:1: not valid YAML: found unhashable key",
    "train: {<<: {batch_size: 3}}\n": "{path}:1: unknown setting train.<<",
    "train: [1\n": "{path}:2: not valid YAML",
    "run: {seed: 1}\n---\nrun: {seed: 1}\n": "{path}:2: not valid YAML: but found another document",
    "%YAML 9.9\n---\nrun: {seed: 1}\n": "{path}:1: not valid YAML: found incompatible YAML document",
    "run: {name: !!python/object/apply:os.getcwd []}\n": "{path}:1: not valid YAML: could not determine",
    "train: {learning_rate: !!float x}\n": "{path}: not valid YAML: could not convert string to float",
    "run: {name: 2020-99-99}\n": "{path}: not valid YAML: month must be in 1..12",
    "run: {seed: !!int ''}\n": "{path}: not valid YAML",
    "run: *nothing\n": "{path}:1: not valid YAML: found undefined alias",
    'run: {output_dir: "a\\0b"}\n': "run.output_dir: 'a\\x00b' contains a null character",
    "[[" * 2000: "{path}: not valid YAML",
    "train: {batch_size: x}\n": "train.batch_size: expected a whole number, got 'x'",
    "train: {batch_size: null}\n": "train.batch_size: expected a whole number, got 'null'",
    "sampler: {select: null}\n": "sampler.select: expected uncertainty, none, got 'null'",
    "run: {name: 3}\n": "run.name: expected text, got '3'",
    "\x07": "{path}:1: not valid YAML",
    "\udcff\udcfe": "--config {path}: not a text file in UTF-8",
}


@pytest.mark.parametrize("text", CONFIGS, ids=lambda text: repr(text)[1:40])
def test_a_wrong_file_is_refused_with_its_line(empty_folder: Path, text: str) -> None:
    (empty_folder / "run.yaml").write_bytes(text.encode(errors="surrogateescape"))
    expected = CONFIGS[text].replace("{path}", "run.yaml")
    assert refusal(empty_folder, "--config", "run.yaml").startswith(expected)


@pytest.mark.parametrize("path", ["none.yaml", ".", "/dev/null", "", "/dev/null/x.yaml"])
def test_a_file_that_cannot_be_read_is_named(empty_folder: Path, path: str) -> None:
    assert path in refusal(empty_folder, f"--config={path}")


def test_a_damaged_configuration_of_a_resumed_run_is_named(empty_folder: Path) -> None:
    (empty_folder / "run").mkdir()
    (empty_folder / "run" / "config.yaml").write_text("train: [")
    assert refusal(empty_folder, "--run.resume", "run").startswith("run/config.yaml:1: not valid YAML")


# Generated

GENERATED = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def as_yaml(content: dict[str, Any]) -> bytes:
    sections: dict[str, dict[str, Any]] = {}
    for name, value in content.items():
        sections.setdefault(name.split(".")[0], {})[name.split(".")[1]] = value
    return yaml.dump(sections, allow_unicode=True).encode()


@st.composite
def misspelt(draw: st.DrawFn) -> tuple[str, str]:
    """A setting, and its name with a letter too many, too few, doubled, or two exchanged."""
    name = draw(st.sampled_from(sorted(FIELDS)))
    section, _, field = name.partition(".")
    at = draw(st.integers(0, len(field) - 1))
    turned = field[:at] + field[at : at + 2][::-1] + field[at + 2 :]
    letter = draw(st.sampled_from("aex_"))
    wrong = draw(
        st.sampled_from([field[:at] + field[at + 1 :], field[:at] + letter + field[at:], turned]).filter(
            lambda wrong: f"{section}.{wrong}" not in FIELDS
        )
    )
    return name, f"{section}.{wrong}"


@GENERATED
@given(names=misspelt(), in_a_file=st.booleans())
def test_a_misspelt_setting_gets_the_right_name(
    empty_folder: Path, names: tuple[str, str], in_a_file: bool
) -> None:
    name, wrong = names
    (empty_folder / "run.yaml").write_bytes(as_yaml({wrong: 1}))
    line = refusal(empty_folder, *(["--config", "run.yaml"] if in_a_file else [f"--{wrong}", "1"]))
    assert f"unknown setting {'' if in_a_file else '--'}{wrong}; did you mean {name}?" in line


@GENERATED
@given(
    name=st.sampled_from(sorted(name for name, rule in RULES.items() if rule is COUNT)),
    value=st.integers(max_value=0) | st.integers(min_value=2**31) | st.floats(allow_subnormal=False),
)
def test_a_number_out_of_range_is_named(empty_folder: Path, name: str, value: float) -> None:
    if isinstance(value, float) and name == "train.epochs" and 0 < value < 2**31:
        return
    (empty_folder / "run.yaml").write_bytes(as_yaml({name: value}))
    assert refusal(empty_folder, "--config", "run.yaml").startswith(f"{name}: ")


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.dates(), st.binary(max_size=4)
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
PIECES = ("batch_size", ": ", "\n", "  ", "- ", "{", "}", "[", "&a ", "*a", "!!int ", "'", "#")


@settings(GENERATED, max_examples=80)
@given(
    content=st.dictionaries(st.sampled_from(sorted(FIELDS)), VALUES, min_size=1, max_size=4).map(as_yaml)
    | st.binary(max_size=40)
    | st.lists(st.sampled_from([*SECTIONS, *PIECES]), max_size=12).map(lambda parts: "".join(parts).encode())
)
def test_any_file_is_accepted_or_refused(empty_folder: Path, content: bytes) -> None:
    (empty_folder / "run.yaml").write_bytes(content)
    with suppress(ResourcesTakenError):  # generated settings may be correct; then the job gets as far as Ray
        refusal_line("--config", "run.yaml")
