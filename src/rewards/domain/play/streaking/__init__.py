"""What streaks are made of: the periods that a member lived, and what follows from which of them were kept."""
