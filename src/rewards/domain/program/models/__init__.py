"""The document as models: one for YAML and JSON. `document.Document` is the whole."""

from rewards.domain.program.models.document import Document

__all__ = ["Document"]
