"""Leaderboards: scores in PostgreSQL, ranks in Valkey."""
