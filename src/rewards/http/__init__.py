"""The HTTP edge: problems, strict bodies, keys, limits, cursors, the API reference and the server."""
