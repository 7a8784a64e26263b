"""One run or many: assembly of a training job, train, seeds, evaluate a saved model; `tune/` and `compare/`."""
