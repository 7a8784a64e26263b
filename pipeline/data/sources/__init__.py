"""Where rows come from: the Hub, a folder laid out like it, the embedded suite, or a task's own files."""
