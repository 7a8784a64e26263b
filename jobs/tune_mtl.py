"""Searches settings: `python jobs/tune_mtl.py --config space.yaml [--section.field value ...]`."""

import sys

from jobs.cli import fail
from jobs.cli.sweep import parse_sweep

DESCRIPTION = """\
Train many times with different settings, stop trials that are behind, and keep the best configuration.
The settings of train_mtl.py configure the run that all trials start from; the section `sweep` defines the search.
Several --config files are read in order, so that a space can be added to any run's configuration."""
EXAMPLES = """\
  python jobs/tune_mtl.py --config jobs/configs/sweeps/sampling.yaml
  python jobs/tune_mtl.py --config jobs/configs/glue_slices.yaml --config jobs/configs/sweeps/adapters.yaml \\
      --data.source /folder/of/parquet --sweep.max_trials 32 --sweep.max_hours 8
  python jobs/tune_mtl.py --run.resume runs/sweep-20260101-120000
  python jobs/train_mtl.py --config runs/sweep-20260101-120000/best.yaml

a space, in YAML:
  sweep:
    search: optuna
    space:
      train.learning_rate: {loguniform: [3.0e-5, 3.0e-4]}
      model.bottleneck_reduction: {choice: [2, 3, 6]}
      sampling:                        # several settings at once
        choice:
          plain: {sampler.select: none, sampler.pool: 1}
          uncertain: {sampler.select: uncertainty, sampler.pool: 2}"""


def main() -> None:
    """Parses the command line, runs the sweep, prints its trials."""
    settings, wanted, space = parse_sweep(sys.argv[1:], DESCRIPTION, EXAMPLES)
    from jobs.cli.report import show_sweep  # imported late: --help answers at once
    from pipeline.experiments.tune.sweep import sweep

    try:
        outcome = sweep(settings, wanted, space, lambda line: print(line, flush=True))
    except ValueError as error:
        fail(str(error))
    show_sweep(outcome, settings)
    sys.exit(0 if outcome["best"] else 1)


if __name__ == "__main__":
    main()
