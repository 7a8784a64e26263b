"""What a run leaves on disk: directory, records, events, results, figures, model card; `checkpoints/` stores."""
