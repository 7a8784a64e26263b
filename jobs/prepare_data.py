"""Prepare task data ahead of a run: `python jobs/prepare_data.py [--config file.yaml] [--data.field value ...]`."""

import sys
from textwrap import indent

from jobs.cli import fail, parse_settings

DESCRIPTION = """\
Read, format, tokenise and shuffle the rows of all tasks into Parquet with a manifest.
Training does this by itself; prepared data is shared by all runs with the same data settings and backbone.
Only data.* and model.backbone matter here."""
EXAMPLES = """\
  python jobs/prepare_data.py
  python jobs/prepare_data.py --data.source hub --data.tasks [cola,rte] --model.backbone bert-base-cased
  python jobs/prepare_data.py --config jobs/configs/glue_slices.yaml --data.source /folder/of/parquet
  python jobs/prepare_data.py --data.task_files [my_tasks.yaml]

your own tasks, my_tasks.yaml (`python jobs/list_tasks.py` lists the known ones):
"""
TASK_FILE = """\
reviews:
  files: {train: reviews.csv, validation: reviews_dev.csv}  # relative to this file: CSV, TSV, JSONL, CoNLL, Parquet
  text_columns: ["{title}: {body}"]      # one text or two: a column each, or a template
  label_column: verdict
  label_names: [bad, good]               # class 0, class 1; the column may hold names or numbers
likeness:
  kind: regression                       # or classification, tagging, span, choice, marked
  files: {train: pairs.jsonl, validation: pairs_dev.jsonl}
  text_columns: [first, second]
  label_range: [0, 5]
  metrics: [spearman]                    # each kind has default metrics
  uncertainty_from: reviews              # a regression has no entropy of its own
names:
  kind: tagging
  files: {train: names.conll, validation: names_dev.conll}
  label_names: [O, B-person, I-person]
films:
  dataset: stanfordnlp/imdb              # from the Hub, or a folder laid out like it: data.source
  config: plain_text
  eval_splits: [test]
  text_columns: [text]
  label_names: [negative, positive]
  max_seq_length: 256                    # where less than data.max_seq_length
"""


def main() -> None:
    """Parses, prepares and prints a row per task and split."""
    settings = parse_settings(sys.argv[1:], DESCRIPTION, EXAMPLES + indent(TASK_FILE, "  "))
    from rich.console import Console
    from rich.table import Table

    from pipeline.cluster import connection as cluster
    from pipeline.data.checks import check_data
    from pipeline.data.preparation.prepared import remarks
    from pipeline.experiments.assembly import prepare_data, select_tasks

    try:
        tasks = select_tasks(settings)
        check_data(settings, tasks)  # before Ray starts, which takes seconds
        cluster.connect()
        prepared = prepare_data(settings, tasks)
    except ValueError as error:
        fail(str(error))
    table = Table("task", "split", title="prepared data")
    for name in ("rows", "tokens a row"):
        table.add_column(name, justify="right")
    table.add_column("remarks")
    for task in prepared.values():
        for split, entry in task.manifest["splits"].items():
            rows = entry["rows"]
            table.add_row(task.name, split, f"{rows:,}", f"{entry['tokens'] / rows:.1f}", remarks(entry))
    console = Console(width=100)
    console.print(table)
    console.print(f"in {settings.data.prepared_dir}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
