"""Quests as they are followed: what is kept of one (`standing`), how it follows from events (`folding`), what is shown."""
