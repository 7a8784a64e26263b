"""Train one model on many tasks: `python jobs/train_mtl.py [--config file.yaml] [--section.field value ...]`."""

import sys

from jobs.cli import fail, parse_settings

EXAMPLES = """\
  python jobs/train_mtl.py
  python jobs/train_mtl.py --config jobs/configs/glue_slices.yaml --data.source /folder/of/parquet
  python jobs/train_mtl.py --run.name mine --run.seeds [1,2,3]
  python jobs/train_mtl.py --data.source hub --data.tasks [cola,rte] --model.backbone bert-base-cased
  ray job submit -- python jobs/train_mtl.py --cluster.num_workers 2"""


def main() -> None:
    """Parses, trains and prints the table."""
    settings = parse_settings(sys.argv[1:], "Train CA-MTL on a mixture of tasks.", EXAMPLES)
    from jobs.cli.report import show_comparison, show_results  # imported late, so that --help is fast
    from pipeline.experiments.seeds import train_seeds
    from pipeline.experiments.train import train

    def show(line: str) -> None:
        print(line, flush=True)

    try:
        if settings.run.seeds:
            group, written = train_seeds(settings, show)
            show_comparison([group], [], written)
        else:
            show_results(train(settings, show), settings)
    except ValueError as error:
        fail(str(error))


if __name__ == "__main__":
    main()
