"""MLflow: opening runs, sending metrics and files, and staying alive while the server is away."""
