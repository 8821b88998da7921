"""Vertical slices: what callers can do."""
