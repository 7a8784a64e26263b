"""Finished runs side by side: read from MLflow, grouped by their settings, tested over seeds, written down."""
