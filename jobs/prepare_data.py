"""Prepare task data ahead of a run: `python jobs/prepare_data.py [--config file.yaml] [--data.field value ...]`."""

import sys
from pathlib import Path

sys.path[0] = str(
    Path(__file__).resolve().parents[1]
)  # in place of jobs/, whose evaluate.py is also a library

from jobs.cli import fail, parse_settings

DESCRIPTION = """\
Read, format, tokenise and shuffle the rows of all tasks into Parquet with a manifest.
Training does this by itself; doing it ahead shares the result among runs. What is there and unchanged
is re-used. Only the sections data, model (backbone) and run (seed excepted) are looked at."""
EXAMPLES = """\
  python jobs/prepare_data.py
  python jobs/prepare_data.py --data.source hub --data.tasks [cola,rte] --model.backbone bert-base-cased
  python jobs/prepare_data.py --config jobs/configs/glue_slices.yaml --data.source /folder/of/parquet"""


def main() -> None:
    """Parse, prepare, show what there is."""
    settings = parse_settings(sys.argv[1:], DESCRIPTION, EXAMPLES)
    from rich.console import Console
    from rich.table import Table

    from pipeline import cluster
    from pipeline.assembly import prepare_data, tasks_of

    try:
        cluster.connect()
        prepared = prepare_data(settings, tasks_of(settings))
    except ValueError as error:
        fail(str(error))
    table = Table("task", "split", title="prepared data")
    for name in ("rows", "tokens a row", "cut short"):
        table.add_column(name, justify="right")
    for task in prepared.values():
        for split, found in task.manifest["splits"].items():
            rows = found["rows"]
            table.add_row(
                task.name, split, f"{rows:,}", f"{found['tokens'] / rows:.1f}", f"{found['truncated']:,}"
            )
    console = Console(width=100)
    console.print(table)
    console.print(f"in {settings.data.prepared_dir}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
