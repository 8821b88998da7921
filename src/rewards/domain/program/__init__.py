"""The program document: its grammar, its compiled form, and what one can ask of it before it is published."""
