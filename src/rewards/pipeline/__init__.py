"""How a command becomes durable: lanes gather, a batch locks, loads, decides, writes and commits."""
