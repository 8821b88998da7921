"""Rewards: engagement events in; points, badges, streaks, tiers and vouchers out."""

__version__ = "0.1.0"
