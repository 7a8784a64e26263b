"""The long set: runs that faults strike at random moments, each compared with an undisturbed run.

    python -m tests.faults --faults 50 --seed 0 [--minutes 60] [--kinds worker,driver] [--json faults.json]

It starts its own Ray of two nodes, MLflow server and S3 server in a temporary folder. The runs are tiny and
real: jobs/train_mtl.py with two Ray Train workers on two nodes. Faults of a full disk need permission to mount.

A run survives a fault if it records a later step and, in the end, has the undisturbed run's weights, rows and
curves, and no partly written file. If one of these differs, none of the run's faults counts as survived, and
its folder is kept. Faults that found nothing to strike are planned again, so `--faults` is the number tried.
"""

import contextlib
import json
import random
import shutil
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path

from pipeline.config import Settings
from tests.faults.environment import CPUS_PER_WORKER, Environment, open_environment
from tests.faults.faults import FAULTS, FaultContext, NotTriedError, preemption_checkpoints
from tests.faults.outcomes import FaultReport, Outcome, apply_problems
from tests.faults.plans import PlannedFault, RunPlan, check_kinds, plan_runs
from tests.faults.same_run import curve_differences, curves, differences, parameters
from tests.faults.scripted_run import NotSurvivedError, ScriptedRun
from tests.faults.servers import SECRET_KEY
from tests.faults.stored import checkpoints, files_with
from tests.pipeline.small_run import make_settings

STEPS = 150


def main(argv: list[str]) -> int:
    """Runs the set and prints the table. Returns 0 if every fault was survived."""
    arguments = parse_arguments(argv)
    report, start = FaultReport(), time.monotonic()
    with open_environment() as environment:
        report.notes += environment.notes
        undisturbed = UndisturbedRun(environment)
        for number, plan in enumerate(plan_until_tried(arguments, report)):
            if time.monotonic() - start > 60 * arguments.minutes:
                report.notes.append(f"{len(report.outcomes)} faults in --minutes {arguments.minutes:g}")
                break
            chance = random.Random(f"{arguments.seed}-{number}")
            DisturbedRun(environment, undisturbed, plan, number, chance).execute(report, arguments.kept)
            if arguments.json:
                arguments.json.write_text(json.dumps(report.to_dict(), indent=1))
    print("\n" + report.markdown(), flush=True)
    return 0 if report.outcomes and all(outcome.survived for outcome in report.outcomes) else 1


def plan_until_tried(arguments: Namespace, report: FaultReport) -> Iterator[RunPlan]:
    """Yields runs, and further ones for the faults that found nothing to strike."""
    kinds, seed, tried = check_kinds(arguments.kinds), arguments.seed, -1
    while tried < len(report.outcomes) < arguments.faults:
        tried = len(report.outcomes)
        yield from plan_runs(
            kinds, arguments.faults - tried, per_run=arguments.per_run, steps=STEPS, seed=seed
        )
        seed += 1000


def parse_arguments(argv: list[str]) -> Namespace:
    """Parses the command line."""
    parser = ArgumentParser(prog="python -m tests.faults", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--faults", type=int, default=50, help="number of faults (50)")
    parser.add_argument("--minutes", type=float, default=90, help="time after which no run starts (90)")
    parser.add_argument("--per-run", type=int, default=5, help="most faults of one run (5)")
    parser.add_argument("--seed", type=int, default=0, help="determines kinds and moments (0)")
    parser.add_argument("--kinds", type=lambda words: words.split(","), default=[], help=", ".join(FAULTS))
    parser.add_argument("--json", type=Path, help="file for all results")
    parser.add_argument("--kept", type=Path, default=Path("faults-kept"), help="folder for failed runs")
    return parser.parse_args(argv)


def settings_for(environment: Environment, home: Path, prepared: Path, store: str) -> Settings:
    """Returns the settings of a run on two workers with one of `plans.STORES`."""
    disk = str(environment.folder / "disk" / home.name)
    storage = {"s3": environment.s3.uri(home.name), "disk": disk}
    output_dir = disk if store == "run-disk" else str(home / "runs")
    return make_settings(
        home,
        environment.backbone,
        run={"tracking_uri": environment.mlflow.uri, "output_dir": output_dir},
        data={"prepared_dir": str(prepared)},
        train={"max_steps": STEPS, "checkpoint_every": 5, "eval_every": 50},
        cluster={
            "cpus_per_worker": CPUS_PER_WORKER,
            "max_failures": -1,
            "storage_path": storage.get(store),
        },
    )


class UndisturbedRun:
    """The run with which the others are compared."""

    def __init__(self, environment: Environment) -> None:
        home = environment.folder / "undisturbed"
        home.mkdir()
        self.prepared = home / "prepared"
        settings = settings_for(environment, home, self.prepared, "directory")
        with contextlib.closing(ScriptedRun(settings, home, environment.nodes.address)) as run:
            run.start()
            run.wait_for_end()
        self.run_dir = run.run_dir
        self.store = str(run.run_dir / "checkpoints")
        self.curves = curves(environment.mlflow.uri, run.run_dir)[1]


class DisturbedRun:
    """One run and its faults."""

    def __init__(
        self,
        environment: Environment,
        undisturbed: UndisturbedRun,
        plan: RunPlan,
        number: int,
        chance: random.Random,
    ) -> None:
        self._environment, self._undisturbed, self._plan = environment, undisturbed, plan
        self._number = number
        self._home = environment.folder / f"run-{number:03d}"
        self._home.mkdir()
        prepared = self._home / "prepared"
        if not plan.prepares:
            shutil.copytree(undisturbed.prepared, prepared)
        settings = settings_for(environment, self._home, prepared, plan.store)
        self._run = ScriptedRun(settings, self._home, environment.nodes.address)
        self._store = str(self._run.run_dir / "checkpoints")
        if storage := settings.cluster.storage_path:
            path, mark, query = storage.partition("?")
            self._store = f"{path}/{settings.run.name}{mark}{query}"
        self._context = FaultContext(environment, self._run, self._store, chance)

    def execute(self, report: FaultReport, kept: Path) -> None:
        """Runs to the end, adds the outcomes to the report, and keeps the folder of a failed run."""
        start = time.monotonic()
        outcomes: list[Outcome] = []
        try:
            self._run.start()
            problems = self._inject_all(outcomes, report) or list(self._problems())
        except NotSurvivedError as error:
            problems = [str(error)]
        finally:
            self._run.close()
        outcomes = apply_problems(outcomes, problems)
        report.outcomes += outcomes
        report.run_seconds.append(time.monotonic() - start)
        if unsealed := [each for each in checkpoints(self._store) if not each.is_sealed]:
            report.notes.append(
                f"run {self._number}: {len(unsealed)} folders of checkpoints without a manifest"
            )
        for outcome in outcomes:
            seconds = f"{outcome.seconds:.1f} s" if outcome.seconds is not None else "never"
            print(
                f"run {self._number} ({outcome.store})  {outcome.kind} at step {outcome.step}: "
                f"{'survived' if outcome.survived else 'NOT SURVIVED'}, {seconds}, resumed {outcome.resumed}"
                + (f": {outcome.problem}" if outcome.problem else "")
                + "".join(f"\n  it ended with: {line}" for line in outcome.errors),
                flush=True,
            )
        if problems:
            self._keep(problems, kept)
        shutil.rmtree(self._home, ignore_errors=True)

    def _inject_all(self, outcomes: list[Outcome], report: FaultReport) -> list[str]:
        """Injects the faults one after the other and waits for the end. Returns what went wrong."""
        for fault in self._plan.faults:
            try:
                if not self._run.wait_for_step(fault.step):
                    raise NotTriedError("the run had ended")
                outcomes.append(self._inject(fault))
            except NotTriedError as error:
                report.not_tried.append(f"- {fault.kind} at step {fault.step}: {error}")
                continue
            if not outcomes[-1].survived:
                return [outcomes[-1].problem]
        self._run.wait_for_end()
        return []

    def _inject(self, fault: PlannedFault) -> Outcome:
        run, resumed, errors = self._run, self._run.resumed, len(self._run.errors)
        seconds, problem = None, ""
        try:
            FAULTS[fault.kind](self._context)
            seconds = run.wait_until_recovered()
        except NotSurvivedError as error:
            problem = str(error)
        return Outcome(
            fault.kind,
            self._number,
            self._plan.store,
            run.struck.step,
            survived=not problem,
            seconds=seconds,
            resumed=run.resumed - resumed,
            problem=problem,
            errors=run.errors[errors:],
        )

    def _problems(self) -> Iterator[str]:
        """Yields the differences from the undisturbed run, and the secrets that the run shows."""
        environment, run_dir, expected = self._environment, self._run.run_dir, self._undisturbed
        yield from differences(run_dir, expected.run_dir, store=self._store, expected_store=expected.store)
        status, points = curves(environment.mlflow.uri, run_dir)
        if status != "FINISHED":
            yield f"MLflow has the run as {status}"
        yield from curve_differences(points, expected.curves, split_at=preemption_checkpoints(run_dir))
        if SECRET_KEY in str(parameters(environment.mlflow.uri, run_dir)):
            yield "MLflow's parameters show the storage's secret key"
        folders = [self._home, run_dir, environment.mlflow.folder, environment.folder / "ray"]
        for path in files_with(SECRET_KEY, self._store, *map(str, folders)):
            yield f"{path} shows the storage's secret key"

    def _keep(self, problems: list[str], kept: Path) -> None:
        target = kept / self._home.name
        shutil.rmtree(target, ignore_errors=True)
        with contextlib.suppress(shutil.Error):  # a file vanished during the copy
            shutil.copytree(self._home, target)
        if self._run.run_dir.is_dir() and self._home not in self._run.run_dir.parents:
            shutil.copytree(self._run.run_dir, target / "run", dirs_exist_ok=True)
        (target / "problems.txt").write_text("\n".join(problems) + "\n")
