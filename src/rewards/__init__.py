"""Rewards: engagement events in; points, badges, quests, streaks, tiers and ranks out."""

__version__ = "0.1.0"
