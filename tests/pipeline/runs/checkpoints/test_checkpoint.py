"""Checkpoints: what is saved comes back, and nothing of another run does."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from camtl import CaMtlModel
from pipeline.runs.checkpoints.checkpoint import load_checkpoint, save_checkpoint
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


def save(folder: Path, tokenizer_dir: str, **changes: Any) -> dict[str, Any]:
    saved = parts(1)
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_dir)
    arguments = {**saved, "tokenizer": tokenizer, "state": STATE, "fingerprint": FINGERPRINT}
    save_checkpoint(folder, **{**arguments, **changes})
    return saved


def test_everything_comes_back_bit_for_bit(tmp_path: Path, tokenizer_dir: str) -> None:
    saved, fresh = save(tmp_path, tokenizer_dir), parts(2)
    state = load_checkpoint(tmp_path, **fresh, fingerprint=FINGERPRINT)
    assert repr(state) == repr(STATE)
    for name, value in saved["model"].state_dict().items():
        assert torch.equal(fresh["model"].state_dict()[name], value), name
    assert fresh["schedule"].state_dict() == saved["schedule"].state_dict()
    left, right = (which["optimizer"].state_dict() for which in (saved, fresh))
    assert left["param_groups"] == right["param_groups"]
    for number, values in left["state"].items():
        for name, value in values.items():
            assert torch.equal(right["state"][number][name], value), (number, name)


def test_the_model_folder_stands_on_its_own(tmp_path: Path, tokenizer_dir: str) -> None:
    saved = save(tmp_path, tokenizer_dir)
    model = CaMtlModel.from_pretrained(tmp_path / "model")
    assert model.config.tasks == saved["model"].config.tasks
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert (
        tokenizer("the cat")["input_ids"]
        == AutoTokenizer.from_pretrained(tokenizer_dir)("the cat")["input_ids"]
    )


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"tasks": ["three", "two", "four"]}, "task 'score' was removed, task 'four' was added"),
        ({"tasks": ["three", "two"], "sizes": [40, 9]}, "task 'score' was removed"),
        (
            {"tasks": ["two", "three", "score"], "sizes": [9, 40, 24]},
            r"tasks were \['three', 'two', 'score'\], are \['two', 'three', 'score'\]",
        ),
        ({"sizes": [40, 9, 25]}, "task 'score' had 24 rows, has 25"),
        ({"seed": 9, "max_steps": 5}, "seed was 3, is 9, max_steps was 8, is 5"),
        ({"batch_size": 16}, "batch_size was 8, is 16"),
        ({"smoothing": 0.75}, "smoothing was 0.5, is 0.75"),
        (
            {"options": {**FINGERPRINT["options"], "max_epochs": 2.0}},
            r"options.max_epochs was None, is 2\.0",
        ),
        (
            {"selection": {**FINGERPRINT["selection"], "copy_from": {}, "dropout": True}},
            r"selection.copy_from.2 was 0, is None, selection.dropout was False, is True",
        ),
    ],
    ids=lambda value: "" if isinstance(value, str) else "+".join(value),
)
def test_a_checkpoint_of_another_run_is_refused(
    tmp_path: Path, tokenizer_dir: str, changes: dict[str, Any], told: str
) -> None:
    save(tmp_path, tokenizer_dir)
    fresh = parts(2)
    before = {key: tensor.clone() for key, tensor in fresh["model"].state_dict().items()}
    with pytest.raises(
        ValueError, match=f"belongs to another run: {told}; resume with the saved settings"
    ) as caught:
        load_checkpoint(tmp_path, **fresh, fingerprint={**FINGERPRINT, **changes})
    assert "\n" not in str(caught.value)
    assert all(torch.equal(before[key], tensor) for key, tensor in fresh["model"].state_dict().items())


@pytest.mark.parametrize(
    "text", [None, "", '{"sampler": {"step": 1', '{"sampler": {}, "fingerprint": {}}', "[]"]
)
def test_a_state_that_cannot_be_read_is_refused(tmp_path: Path, tokenizer_dir: str, text: str | None) -> None:
    save(tmp_path, tokenizer_dir)
    (tmp_path / "state.json").unlink()
    if text is not None:
        (tmp_path / "state.json").write_text(text)
    with pytest.raises(ValueError, match=rf"checkpoint {tmp_path}: state.json cannot be read \(") as caught:
        load_checkpoint(tmp_path, **parts(2), fingerprint=FINGERPRINT)
    assert "\n" not in str(caught.value)


def test_a_fingerprint_is_the_same_after_json() -> None:
    assert json.loads(json.dumps(FINGERPRINT)) == FINGERPRINT
