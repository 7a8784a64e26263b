"""The words, the grammar and the row makers behind `pipeline.tasks.embedded`."""
