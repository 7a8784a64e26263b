"""A trained model at work: the MLflow model."""
