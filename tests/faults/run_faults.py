"""The long set: runs that are struck by faults at random moments, each compared with an undisturbed one.

    python -m tests.faults --faults 50 --seed 0 [--minutes 60] [--kinds worker,driver] [--json faults.json]

It starts a Ray of two nodes, an MLflow server and an S3 server of its own, in a temporary folder. The runs are
tiny and real: jobs/train_mtl.py with two Ray Train workers, each on a node of its own. Whoever may mount file
systems also gets the faults of a full disk. With PostgreSQL's programs and `pip install psycopg2-binary`,
`--postgres` keeps MLflow's runs there in place of SQLite.

Faults that found nothing to strike are planned anew, so that `--faults` is how many were tried.
A fault is survived when the run records a further step and, in the end, has the undisturbed run's weights,
rows and curves, and nothing half written among its files. One failure fails the run, and all of its faults
are counted as not survived; its folder is kept, and named.
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
from tests.faults.faults import FAULTS, NotTried, Scene, saved_for_notices
from tests.faults.outcomes import Outcome, Report, judged
from tests.faults.place import CPUS_PER_WORKER, Place, open_place
from tests.faults.plans import Planned, RunPlan, known, plan_runs
from tests.faults.same_run import (
    Curves,
    curve_differences,
    curves,
    differences,
    parameters,
    shown_secrets,
    unsealed,
)
from tests.faults.scripted_run import NotSurvived, ScriptedRun
from tests.faults.servers import SECRET_KEY
from tests.pipeline.small_run import make_settings

STEPS = 150


def main(argv: list[str]) -> int:
    """Runs the set, shows the table. Returns 0 where everything survived."""
    arguments = parse(argv)
    report, began = Report(), time.monotonic()
    with open_place(postgres=arguments.postgres) as place:
        report.notes += place.without
        undisturbed = Undisturbed(place)
        for number, plan in enumerate(plans(arguments, report)):
            if time.monotonic() - began > 60 * arguments.minutes:
                report.notes.append(f"{len(report.outcomes)} faults in --minutes {arguments.minutes:g}")
                break
            chance = random.Random(f"{arguments.seed}-{number}")
            FaultyRun(place, undisturbed, plan, number, chance, report, arguments.kept).go()
            if arguments.json:
                arguments.json.write_text(json.dumps(report.to_dict(), indent=1))
    print("\n" + report.markdown(), flush=True)
    return 0 if report.outcomes and all(outcome.survived for outcome in report.outcomes) else 1


def plans(arguments: Namespace, report: Report) -> Iterator[RunPlan]:
    """The planned runs, and others in place of the faults that found nothing to strike."""
    kinds, seed, tried = known(arguments.kinds), arguments.seed, -1
    while tried < len(report.outcomes) < arguments.faults:
        tried = len(report.outcomes)
        missing = arguments.faults - tried
        yield from plan_runs(kinds, missing, per_run=arguments.per_run, steps=STEPS, seed=seed)
        seed += 1000


def parse(argv: list[str]) -> Namespace:
    """The command line."""
    parser = ArgumentParser(prog="python -m tests.faults", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--faults", type=int, default=50, help="faults to try (50)")
    parser.add_argument("--minutes", type=float, default=90, help="no run starts after so many (90)")
    parser.add_argument("--per-run", type=int, default=5, help="most faults of one run (5)")
    parser.add_argument("--seed", type=int, default=0, help="decides kinds and moments (0)")
    parser.add_argument("--kinds", type=lambda words: words.split(","), default=[], help=", ".join(FAULTS))
    parser.add_argument("--postgres", action="store_true", help="MLflow's runs in PostgreSQL")
    parser.add_argument("--json", type=Path, help="file for all that was measured")
    parser.add_argument("--kept", type=Path, default=Path("faults-kept"), help="folder for failed runs")
    return parser.parse_args(argv)


class Undisturbed:
    """The run that the others are compared with, made once."""

    def __init__(self, place: Place) -> None:
        home = place.folder / "undisturbed"
        home.mkdir()
        self.prepared = home / "prepared"
        run = ScriptedRun(settings_for(place, home, self.prepared, "directory"), home, place.nodes.address)
        run.start()
        try:
            run.wait_for_end()
        finally:
            run.close()
        self.run_dir = run.run_dir
        self.store = str(run.run_dir / "checkpoints")
        self.curves: Curves = curves(place.mlflow.uri, run.run_dir)[1]


def settings_for(place: Place, home: Path, prepared: Path, store: str) -> Settings:
    """A run of two workers that keeps its checkpoints in one of `plans.STORES`."""
    storage = {"s3": place.s3.uri(home.name), "disk": str(place.folder / "disk" / home.name)}
    output_dir = place.folder / "disk" / home.name if store == "run-disk" else home / "runs"
    return make_settings(
        home,
        place.backbone,
        run={"tracking_uri": place.mlflow.uri, "output_dir": str(output_dir)},
        data={"prepared_dir": str(prepared)},
        train={"max_steps": STEPS, "checkpoint_every": 5, "eval_every": 50},
        cluster={
            "cpus_per_worker": CPUS_PER_WORKER,
            "max_failures": -1,
            "storage_path": storage.get(store),
        },
    )


class FaultyRun:
    """One run, its faults, and what came of them."""

    def __init__(
        self,
        place: Place,
        undisturbed: Undisturbed,
        plan: RunPlan,
        number: int,
        chance: random.Random,
        report: Report,
        kept: Path,
    ) -> None:
        self._place, self._undisturbed, self._plan, self._number = place, undisturbed, plan, number
        self._report, self._kept = report, kept
        self._home = place.folder / f"run-{number:03d}"
        self._home.mkdir()
        prepared = self._home / "prepared"
        if not plan.prepares:
            shutil.copytree(undisturbed.prepared, prepared)
        settings = settings_for(place, self._home, prepared, plan.store)
        self._run = ScriptedRun(settings, self._home, place.nodes.address)
        self._store = self._store_of(settings)
        self._scene = Scene(place, self._run, self._store, chance)

    def go(self) -> None:
        """Runs it, and adds its outcomes to the report."""
        began = time.monotonic()
        struck: list[Outcome] = []
        try:
            self._run.start()
            problems = self._strike_all(struck) or list(self._problems())
        except NotSurvived as error:
            problems = [str(error)]
        finally:
            self._run.close()
        found = judged(struck, problems)
        self._report.outcomes += found
        self._report.run_seconds.append(time.monotonic() - began)
        if left := unsealed(self._store):
            self._report.notes.append(
                f"run {self._number}: {len(left)} folders of checkpoints without a manifest"
            )
        for one in found:
            told = f"{one.seconds:.1f} s" if one.seconds is not None else "never"
            print(
                f"run {self._number} ({one.store})  {one.kind} at step {one.step}: "
                f"{'survived' if one.survived else 'NOT SURVIVED'}, {told}, resumed {one.resumed}"
                + (f": {one.problem}" if one.problem else "")
                + "".join(f"\n  it had ended: {line}" for line in one.ended),
                flush=True,
            )
        if problems:
            self._keep(problems)
        shutil.rmtree(self._home, ignore_errors=True)

    def _strike_all(self, struck: list[Outcome]) -> list[str]:
        """Lets the faults strike one after the other, and the run end. Returns what went wrong."""
        for fault in self._plan.faults:
            if not self._run.wait_for_step(fault.step):
                self._report.not_tried.append(f"- {fault.kind} at step {fault.step}: the run was over")
                continue
            try:
                struck.append(self._strike(fault))
            except NotTried as error:
                self._report.not_tried.append(f"- {fault.kind} at step {fault.step}: {error}")
                continue
            if not struck[-1].survived:
                return [struck[-1].problem]
        self._run.wait_for_end()
        return []

    def _strike(self, fault: Planned) -> Outcome:
        run, resumed = self._run, self._run.resumed
        seconds, problem, ends = None, "", len(run.ends)
        try:
            FAULTS[fault.kind](self._scene)
            seconds = run.wait_until_recovered()
        except NotSurvived as error:
            problem = str(error)
        return Outcome(
            fault.kind,
            self._number,
            self._plan.store,
            run.harmed.step,
            survived=not problem,
            seconds=seconds,
            resumed=run.resumed - resumed,
            problem=problem,
            ended=run.ends[ends:],
        )

    def _problems(self) -> list[str]:
        """What the run has other than the undisturbed one, and secrets that it shows."""
        place, run_dir, expected = self._place, self._run.run_dir, self._undisturbed
        found = list(differences(run_dir, expected.run_dir, store=self._store, expected_store=expected.store))
        status, drawn = curves(place.mlflow.uri, run_dir)
        if status != "FINISHED":
            found.append(f"MLflow has the run as {status}")
        found += curve_differences(drawn, expected.curves, split_at=saved_for_notices(run_dir))
        if SECRET_KEY in str(parameters(place.mlflow.uri, run_dir)):
            found.append("MLflow's parameters show the storage's secret key")
        folders = {"run": str(self._home), "run directory": str(run_dir), "checkpoints": self._store}
        folders |= {"MLflow": str(place.mlflow.folder), "Ray's logs": str(place.folder / "ray")}
        return found + list(shown_secrets(SECRET_KEY, folders))

    def _store_of(self, settings: Settings) -> str:
        path = settings.cluster.storage_path
        if path is None:
            return str(self._run.run_dir / "checkpoints")
        before, mark, query = path.partition("?")
        return f"{before}/{settings.run.name}{mark}{query}"

    def _keep(self, problems: list[str]) -> None:
        """A failed run's folder, for whoever looks for the reason."""
        target = self._kept / self._home.name
        shutil.rmtree(target, ignore_errors=True)
        with contextlib.suppress(shutil.Error):  # a file that vanished while it was copied
            shutil.copytree(self._home, target)
        if self._run.run_dir.is_dir() and self._home not in self._run.run_dir.parents:
            shutil.copytree(self._run.run_dir, target / "run", dirs_exist_ok=True)
        (target / "problems.txt").write_text("\n".join(problems) + "\n")
