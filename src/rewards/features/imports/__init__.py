"""Bringing members and their opening balances from another system."""
