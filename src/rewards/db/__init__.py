"""Storage: the engine, the one place that commits, and the tables."""
