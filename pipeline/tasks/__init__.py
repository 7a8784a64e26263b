"""What a task is, which tasks there are, and how they are measured."""
