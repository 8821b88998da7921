"""Members: who they are, and the row that everything of them stands behind."""
