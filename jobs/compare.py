"""Compares finished runs: `python jobs/compare.py RUN [RUN ...] [--query "..."]`."""

import argparse
import os
from typing import NoReturn

from jobs.cli.errors import fail

DESCRIPTION = """\
Compare finished runs in MLflow: a table per task with mean and spread over seeds, the cost of each run, the
settings that differ, and a paired test if two groups share three seeds. Runs that differ in their seed only
form one group; the others are compared with the first group."""
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
    """Parses the command line, finds and groups runs, writes and prints the report."""
    parser = _Parser(
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("runs", nargs="*", metavar="RUN", help="id or name of a run, or of a parent of runs")
    parser.add_argument("--query", help="filter in MLflow's language, such as params.`data.source` = 'hub'")
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        metavar="NAME=RUN",
        help="a run and the name to show for it; may be repeated",
    )
    parser.add_argument(
        "--tracking_uri",
        default=os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db",
        help="address of MLflow (default: $MLFLOW_TRACKING_URI, else sqlite:///mlflow.db)",
    )
    parser.add_argument("--experiment", default="camtl", help="MLflow experiment (default: %(default)s)")
    parser.add_argument("--output_dir", default="compare", help="folder of the report (default: %(default)s)")
    arguments = parser.parse_args()
    if not (arguments.runs or arguments.query or arguments.name):
        fail("no runs: give ids or names of runs, or --query")
    references = []
    for entry in arguments.name:
        name, _, reference = entry.partition("=")
        if not (name and reference):
            fail(f"--name {entry}: write it as NAME=RUN")
        references.append((reference, name))
    references += [(reference, "") for reference in arguments.runs]
    from jobs.cli.report import show_comparison
    from pipeline.data.checks import check_writable
    from pipeline.experiments.compare.finder import RunFinder
    from pipeline.experiments.compare.groups import Run, group_runs
    from pipeline.experiments.compare.report import write_report

    try:
        check_writable("--output_dir", arguments.output_dir)
        finder = RunFinder(arguments.tracking_uri, arguments.experiment)
        runs = [run for reference, name in references for run in finder.by_reference(reference, name)]
        runs += finder.by_query(arguments.query) if arguments.query else []
        unique: dict[str, Run] = {}
        for run in runs:
            unique.setdefault(run.run_id, run)
        groups, left_out = group_runs(list(unique.values()))
        remarks = [*finder.remarks, *left_out]
        written = write_report(groups, remarks, arguments.output_dir)
    except ValueError as error:
        fail(str(error))
    show_comparison(groups, remarks, written)


if __name__ == "__main__":
    main()
