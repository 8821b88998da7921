"""How fast the service is, as ratios to what PostgreSQL itself can do in the same run: `python -m benchmarks`."""
