"""The business, pure: no I/O, clock, randomness, SQL or HTTP. Time and ids are passed in. Start at `apply`."""
