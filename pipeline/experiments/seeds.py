"""One configuration with several seeds: runs one after the other, in one folder, under one MLflow run."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from pipeline.config import Settings
from pipeline.experiments.compare.groups import SHOWN_ONLY, Group, Run
from pipeline.experiments.compare.report import write_report
from pipeline.experiments.compare.scores import score_frame
from pipeline.experiments.parent_run import changed_settings, check_parent, open_parent, resume_child
from pipeline.experiments.train import check_training, train
from pipeline.runs.mirror import RUN_ID
from pipeline.runs.results import RESULTS
from pipeline.tracking.texts import flatten
from pipeline.tracking.tracker import Tracker

# When a group is resumed: paths, and limits on failures.
MAY_CHANGE = ("run", "data.prepared_dir", "data.in_memory_bytes", "cluster.storage_path", *SHOWN_ONLY)


def train_seeds(settings: Settings, show: Callable[[str], None] = print) -> tuple[Group, list[str]]:
    """Trains one configuration with each of `run.seeds`, or resumes such a group (`run.resume`).

    The runs are called `<name>-seed-<seed>` and lie in the folder `<name>`. A resumed group may have more seeds. Its
    finished seeds are not trained again, an interrupted one continues from its last checkpoint. `run.seed` is not used.

    Returns:
        The runs in the order of `run.seeds`, and the paths of the report.

    Raises:
        ValueError: A mistake in the settings, in one line; nothing was trained.
    """
    run, seeds = settings.run, settings.run.seeds
    folder = check_parent(run, "group")
    if run.resume is not None and (changes := changed_settings(folder, asdict(settings), MAY_CHANGE)):
        raise ValueError(
            f"run.resume: of the group, {'; '.join(changes)}: its seeds would not compare; "
            "start another group with --run.name"
        )
    members = [_with_seed(settings, seed, folder) for seed in seeds]
    unfinished = [one for one in members if not (folder / one.run.name / RESULTS).is_file()]
    if unfinished:
        check_training(resume_child(unfinished[0]))
    parent = open_parent(run, asdict(settings), {"seeds": " ".join(map(str, seeds))})
    with Tracker(run.tracking_uri, parent) as tracker:
        for number, one in enumerate(members, 1):
            if one not in unfinished:
                show(f"seed {one.run.seed}: trained before")
            else:
                show(f"seed {one.run.seed}: {number} of {len(members)}")
                train(resume_child(one), show, tags={"mlflow.parentRunId": parent, "group": run.name})
        group = Group(run.name, [_read(one, folder / one.run.name) for one in members])
        written = write_report([group], [], str(folder))
        tracker.log_metrics(_spreads(group), step=len(group.runs))  # the means change as seeds are added
        for path in written:
            tracker.log_artifact(path)
    return group, written


def _with_seed(settings: Settings, seed: int, folder: Path) -> Settings:
    name = f"{settings.run.name}-seed-{seed}"
    run = replace(settings.run, seed=seed, seeds=(), name=name, output_dir=str(folder), resume=None)
    return replace(settings, run=run)


def _read(settings: Settings, run_dir: Path) -> Run:
    return Run(
        run_id=(run_dir / RUN_ID).read_text().strip(),
        name=settings.run.name,
        started=0,
        seed=settings.run.seed,
        settings=flatten(asdict(settings)),
        results=json.loads((run_dir / RESULTS).read_text()),
    )


def _spreads(group: Group) -> dict[str, float]:
    """Returns the mean and the standard deviation of every score as metrics."""
    scores = score_frame([group])
    scores.index = ["/".join(filter(None, row)) for row in scores.index]
    means, deviations = scores.mean(axis=1), scores.std(axis=1).dropna()
    return means.add_prefix("mean/").to_dict() | deviations.add_prefix("deviation/").to_dict()
