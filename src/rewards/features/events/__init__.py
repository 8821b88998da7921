"""Events: sending them, reading them back, and why they did what they did."""
