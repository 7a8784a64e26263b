"""Many ranks: the Ray connection, Ray Train workers, their reports, and evaluation beside training."""
