"""Load, decide, save, emit; one file per group. Nothing here commits: the edge does."""
