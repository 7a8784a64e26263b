"""A checkpoint restores what was saved, and nothing of another run."""

import copy
import functools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from pipeline.runs.checkpoints.checkpoint import fingerprint_differences, load_checkpoint, save_checkpoint
from pipeline.sampling.state import SamplerState
from pipeline.training.learner import make_optimizer, make_schedule
from tests.toy import make_job, make_model, make_rows, padded

STATE = SamplerState(
    step=3,
    round_start=2,
    cursors=(5, 0, 1),
    planned_from=(float("nan"),) * 3,
    plan_next_from=(0.5, float("nan"), 0.25),
    uncertainty=(0.5, 0.1, 0.3),
)
FINGERPRINT = make_job("", (40, 9, 24)).fingerprint()
assert_equal = functools.partial(torch.testing.assert_close, rtol=0, atol=0)


def parts(seed: int) -> dict[str, Any]:
    """A model with an optimiser that has taken some steps."""
    model = make_model("base", seed=seed)
    optimizer = make_optimizer(model, learning_rate=1e-2, new_parameters_learning_rate=1e-3, weight_decay=0.1)
    schedule = make_schedule(optimizer, 10, 0.2)
    rows = make_rows([4, 6, 5], [0, 1, 2])
    for _ in range(3):
        model(**padded(rows), labels=rows.labels_by_task(model.config.tasks)).loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    return {"model": model, "optimizer": optimizer, "schedule": schedule}


def save(folder: Path, tokenizer_dir: str) -> dict[str, Any]:
    saved = parts(1)
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_dir)
    save_checkpoint(folder, **saved, tokenizer=tokenizer, state=STATE, fingerprint=FINGERPRINT)
    return saved


def test_everything_comes_back_bit_for_bit(tmp_path: Path, tokenizer_dir: str) -> None:
    saved, fresh = save(tmp_path, tokenizer_dir), parts(2)
    state = load_checkpoint(tmp_path, **fresh, fingerprint=FINGERPRINT)
    assert repr(state) == repr(STATE)
    assert_equal(fresh["model"].state_dict(), saved["model"].state_dict())
    assert fresh["schedule"].state_dict() == saved["schedule"].state_dict()
    left, right = (which["optimizer"].state_dict() for which in (saved, fresh))
    assert left["param_groups"] == right["param_groups"]
    assert_equal(left["state"], right["state"])


@pytest.mark.parametrize(
    ("changes", "clauses"),
    [
        ({"tasks": ["three", "two", "four"]}, ["task 'score' was removed", "task 'four' was added"]),
        ({"tasks": ["three", "two"], "sizes": [40, 9]}, ["task 'score' was removed"]),
        (
            {"tasks": ["two", "three", "score"], "sizes": [9, 40, 24]},
            ["tasks were ['three', 'two', 'score'], are ['two', 'three', 'score']"],
        ),
        ({"sizes": [40, 9, 25]}, ["task 'score' had 24 rows, has 25"]),
        ({"seed": 9, "max_steps": 5}, ["max_steps was 8, is 5", "seed was 3, is 9"]),
        ({"options": {**FINGERPRINT["options"], "max_epochs": 2.0}}, ["options.max_epochs was None, is 2.0"]),
        (
            {"selection": {**FINGERPRINT["selection"], "copy_from": {}, "dropout": True}},
            ["selection.copy_from.2 was 0, is None", "selection.dropout was False, is True"],
        ),
        ({"new_setting": 1}, ["new_setting was None, is 1"]),
        ({}, []),
    ],
    ids=lambda value: "" if isinstance(value, list) else "+".join(value),
)
def test_differences_of_fingerprints_are_named(changes: dict[str, Any], clauses: list[str]) -> None:
    saved = json.loads(json.dumps(FINGERPRINT)) | {"removed_setting": 1}
    assert sorted(fingerprint_differences(saved, {**FINGERPRINT, **changes})) == sorted(clauses)


@pytest.mark.parametrize(
    "text", [None, "", '{"sampler": {"step": 1', '{"sampler": {}, "fingerprint": {}}', "[]", "another run"]
)
def test_a_state_that_is_unreadable_or_of_another_run_restores_nothing(
    tmp_path: Path, tokenizer_dir: str, text: str | None
) -> None:
    save(tmp_path, tokenizer_dir)
    fresh, fingerprint, problem = parts(2), FINGERPRINT, r": state\.json cannot be read \("
    before = copy.deepcopy(fresh["model"].state_dict())
    if text == "another run":
        fingerprint = {**FINGERPRINT, "seed": 9}
        problem = " belongs to another run: seed was 3, is 9; resume with the saved settings"
    elif text is None:
        (tmp_path / "state.json").unlink()
    else:
        (tmp_path / "state.json").write_text(text)
    with pytest.raises(ValueError, match=f"checkpoint {tmp_path}{problem}") as caught:
        load_checkpoint(tmp_path, **fresh, fingerprint=fingerprint)
    assert "\n" not in str(caught.value)
    assert_equal(fresh["model"].state_dict(), before)
