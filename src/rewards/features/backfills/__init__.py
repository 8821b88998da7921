"""Backfills: new metrics count what was recorded before them, for all members, as a job with progress."""
