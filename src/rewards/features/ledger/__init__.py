"""The books of a program: proving them, and the statements of the house and of a member."""
