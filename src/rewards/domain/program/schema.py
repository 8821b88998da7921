"""The grammar as JSON Schema, for editors that complete and check while one types."""

from __future__ import annotations

from typing import Any, Final

from rewards.domain.program.models import Document

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def document_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of a document. It knows shapes; what names refer to only `check` knows."""
    schema = Document.model_json_schema(by_alias=True)
    parts = schema["$defs"]
    # Short forms that the models accept before they look at the fields.
    parts["Segment"] = {"anyOf": [{"type": "string", "description": "A condition."}, parts["Segment"]]}
    parts["BadgeLevel"] = {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, parts["BadgeLevel"]]}
    limits = parts["Rule"]["properties"]["limit"]
    parts["Rule"]["properties"]["limit"] = {"anyOf": [{"$ref": "#/$defs/Limit"}, limits]}
    return {"$schema": DIALECT, **schema, "title": "Rewards program"}
