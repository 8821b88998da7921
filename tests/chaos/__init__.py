"""Real processes that are killed, raced and cut off from their servers."""
