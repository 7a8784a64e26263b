"""Checks a run before it starts: `python jobs/doctor.py [--config file.yaml] [--section.field value ...]`."""

import sys

from jobs.cli import fail, parse_settings

DESCRIPTION = """\
Check everything that a training run needs before it is started, with the settings it will be started with:
Ray and its token, nodes and their versions, CPUs, GPUs and memory, folders and storage, MLflow, the rows of
every task, and one batch through the model. Nothing is trained, and no file is left behind.
Ends with exit code 0 if all is well, 1 if something is not, 2 for wrong settings."""
EXAMPLES = """\
  python jobs/doctor.py
  python jobs/doctor.py --config jobs/configs/glue_base.yaml
  python jobs/doctor.py --data.task_files [my_tasks.yaml] --cluster.storage_path s3://bucket/runs
  ray job submit -- python jobs/doctor.py --cluster.num_workers 4    # from where the run will be started"""
SIGNS = {True: ("✓", "green"), False: ("✗", "bold red"), None: ("-", "yellow")}


def main() -> None:
    """Parses the command line, runs the checks, prints a line for every finding."""
    settings = parse_settings(sys.argv[1:], DESCRIPTION, EXAMPLES)
    import transformers
    from rich.console import Console
    from rich.text import Text

    from pipeline.doctor.examination import Examination
    from pipeline.experiments.assembly import build_job, select_tasks

    transformers.utils.logging.disable_progress_bar()
    try:
        job = build_job(settings, select_tasks(settings))
    except ValueError as error:
        fail(str(error))
    console = Console(soft_wrap=True, highlight=False)
    failed = 0
    with console.status("looking") as status:  # shown on a terminal only
        for finding in Examination(settings, job).run(lambda name: status.update(f"looking at {name}")):
            sign, style = SIGNS[finding.ok]
            console.print(Text.assemble((sign, style), f" {finding.name}: {finding.message}"))
            if finding.remedy:
                console.print(Text(f"    → {finding.remedy}"))
            failed += finding.ok is False
    console.print(f"{failed} of these can stop the run" if failed else "all is well")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
