"""Whether the service lives, may be sent traffic, and what it counts."""
