"""A search for settings over many trainings: what is searched, how, and what came of it."""
