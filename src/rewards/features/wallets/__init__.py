"""Wallets: balances, statements, and moving points."""
