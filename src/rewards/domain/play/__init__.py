"""What a program can count and grant: metrics, limits, segments, rules."""
