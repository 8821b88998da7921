"""What members have achieved and how far they are: badges, quests, streaks, tiers, and what is new to them."""
