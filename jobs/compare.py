"""Hold runs against each other: `python jobs/compare.py RUN [RUN ...] [--query "..."]`."""

import argparse
import os
from typing import NoReturn

from jobs.cli.errors import fail

DESCRIPTION = """\
Compare finished runs in MLflow: a table per task with mean and spread over seeds, what each run cost, which
settings differ, and a paired test where two groups share three seeds. Runs that differ in their seed only
make one group; the first group is the one that the others are held against."""
EXAMPLES = """\
examples:
  python jobs/compare.py base-20260101-120000 plain-20260101-130000
  python jobs/compare.py my-sweep                               # the children of a parent
  python jobs/compare.py --query "params.`data.source` = 'hub'"
  python jobs/compare.py --name plain=run-1 --name ca-mtl=run-2 --tracking_uri http://mlflow:5000"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        fail(message)


def main() -> None:
    """Parse, find, group, print, write."""
    parser = _Parser(
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("runs", nargs="*", metavar="RUN", help="id or name of a run, or of a parent of runs")
    parser.add_argument("--query", help="filter in MLflow's language")
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        metavar="NAME=RUN",
        help="a run under a name of yours; again for each",
    )
    parser.add_argument(
        "--tracking_uri", default=os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    )
    parser.add_argument("--experiment", default="camtl")
    parser.add_argument("--output_dir", default="compare")
    asked = parser.parse_args()
    if not (asked.runs or asked.query or asked.name):
        fail("no runs: give ids or names of runs, or --query")
    named = [entry.partition("=") for entry in asked.name]
    for entry, (name, _, reference) in zip(asked.name, named, strict=True):
        if not (name and reference):
            fail(f"--name {entry}: write it as NAME=RUN")
    from jobs.cli.report import show_comparison
    from pipeline.data.checks import check_writable
    from pipeline.experiments.compare.groups import group_runs
    from pipeline.experiments.compare.report import write_report
    from pipeline.experiments.compare.runs import RunFinder

    try:
        check_writable("--output_dir", asked.output_dir)
        finder = RunFinder(asked.tracking_uri, asked.experiment)
        found = [run for name, _, reference in named for run in finder.by_reference(reference, name)]
        found += [run for reference in asked.runs for run in finder.by_reference(reference)]
        found += finder.by_query(asked.query) if asked.query else []
        once = {run.run_id: run for run in reversed(found)}
        groups, passed_over = group_runs(
            [once[run_id] for run_id in dict.fromkeys(run.run_id for run in found)]
        )
        remarks = [*finder.remarks, *passed_over]
        written = write_report(groups, remarks, asked.output_dir)
    except ValueError as error:
        fail(str(error))
    show_comparison(groups, remarks, written)


if __name__ == "__main__":
    main()
