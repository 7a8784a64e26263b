"""Score a trained model: `python jobs/evaluate.py <run or model folder> [--section.field value ...]`."""

import sys
from pathlib import Path

from jobs.cli import fail, parse_settings

DESCRIPTION = """\
Score a trained model on the evaluation splits of its tasks.
The first argument is a run directory or a model folder. A run directory's config.yaml supplies the settings;
the command line overrides them."""
EXAMPLES = """\
  python jobs/evaluate.py runs/base-20260101-120000
  python jobs/evaluate.py runs/base-20260101-120000 --data.max_eval_rows null --cluster.num_workers 4
  python jobs/evaluate.py model --data.source /folder/of/parquet --data.tasks [rte]"""


def main() -> None:
    """Parses, scores, prints the table and writes `evaluation.json`."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        parse_settings(["--help"], DESCRIPTION, EXAMPLES)
    folder, *rest = arguments
    if folder.startswith("-"):
        fail(f"the first argument is a run directory or a model folder, not {folder!r}")
    config = Path(folder) / "config.yaml"
    settings = parse_settings(
        [*(["--config", str(config)] if config.is_file() else []), *rest], DESCRIPTION, EXAMPLES
    )
    from rich.console import Console

    from jobs.cli.report import scores_table
    from pipeline.experiments.evaluate import evaluate_model, write_scores

    try:
        scores = evaluate_model(folder, settings)
        written = write_scores(folder, scores)
    except ValueError as error:
        fail(str(error))
    console = Console(width=100)
    console.print(scores_table(scores["tasks"], scores["majority"]))
    console.print(f"average {scores['average']:.2f}   written to {written}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
