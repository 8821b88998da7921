"""Owning the program: checking, testing, publishing, rolling back, pausing rules, simulating."""
