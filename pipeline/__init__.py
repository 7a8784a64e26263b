"""Ray around the model: tasks, prepared data, sampling, training, evaluation, records."""
