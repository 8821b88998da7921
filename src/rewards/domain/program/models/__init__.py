"""The document as models: one for YAML and JSON. `document.Document` is the whole."""
