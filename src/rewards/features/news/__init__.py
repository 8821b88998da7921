"""News: what a member was awarded and has not seen yet."""
