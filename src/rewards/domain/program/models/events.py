"""Event types, shared property types, groups and attributes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from rewards.domain.program.models.base import SECTION_MAX, EventName, Key, Localised, Part, PropertyName, Words

TypeName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]*$", max_length=64)]
JsonType = Literal["string", "number", "integer", "boolean", "object", "array", "null"]
Count = Annotated[int, Field(ge=0, le=100_000)]
Bound = Annotated[int | float, Field(allow_inf_nan=False)]


class Property(Part):
    """A JSON Schema (2020-12, the keywords that make sense for events), plus `pii` and `use` of a shared type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True)

    type: JsonType | list[JsonType] | None = None
    use: TypeName | None = None
    title: Words | None = None
    description: Localised | None = None
    examples: list[Any] | None = None
    pii: bool = False
    enum: Annotated[list[Any], Field(min_length=1, max_length=SECTION_MAX)] | None = None
    const: Any = None
    format: str | None = None
    pattern: Annotated[str, StringConstraints(max_length=500)] | None = None
    min_length: Count | None = Field(None, alias="minLength")
    max_length: Count | None = Field(None, alias="maxLength")
    minimum: Bound | None = None
    maximum: Bound | None = None
    exclusive_minimum: Bound | None = Field(None, alias="exclusiveMinimum")
    exclusive_maximum: Bound | None = Field(None, alias="exclusiveMaximum")
    multiple_of: Annotated[int | float, Field(gt=0, allow_inf_nan=False)] | None = Field(None, alias="multipleOf")
    items: TypeName | Property | None = None
    min_items: Count | None = Field(None, alias="minItems")
    max_items: Annotated[int, Field(ge=0, le=100)] | None = Field(None, alias="maxItems")
    unique_items: bool | None = Field(None, alias="uniqueItems")
    properties: dict[PropertyName, TypeName | Property] | None = None
    required: list[PropertyName] | None = None
    additional_properties: bool | None = Field(None, alias="additionalProperties")
    any_of: list[TypeName | Property] | None = Field(None, alias="anyOf")
    one_of: list[TypeName | Property] | None = Field(None, alias="oneOf")
    all_of: list[TypeName | Property] | None = Field(None, alias="allOf")

    @model_validator(mode="after")
    def _says_something(self) -> Property:
        if self.use is not None and self.type is not None:
            raise ValueError("use names a shared type; it does not go with type")
        return self


class EventType(Part):
    """`aka`: names that SDKs use. `client`: browsers may send it with a public key."""

    name: Localised | None = None
    description: Localised | None = None
    aka: Annotated[list[Annotated[str, StringConstraints(min_length=1, max_length=200)]], Field(max_length=20)] = Field(
        default_factory=list
    )
    client: bool = False
    properties: dict[PropertyName, TypeName | Property] = Field(default_factory=dict)
    required: list[PropertyName] = Field(default_factory=list)
    undeclared: Literal["drop", "keep"] = "drop"

    @model_validator(mode="after")
    def _required_is_declared(self) -> EventType:
        for name in self.required:
            if name not in self.properties:
                raise ValueError(f"required names {name!r}, which is not among the properties")
        return self


class Attribute(Property):
    """A declared attribute of members. `purpose` says why it is kept."""

    purpose: Words | None = None
    name: Localised | None = None


Groups = dict[Key, Annotated[list[EventName], Field(min_length=1, max_length=SECTION_MAX)]]
