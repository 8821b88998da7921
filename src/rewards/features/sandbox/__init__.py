"""Sandboxes: programs whose clock can be moved on, to try in a minute what takes months."""
