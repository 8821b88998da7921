"""How a handler takes a body: it names the wire type, and the application's `dto=StrictBody` decodes it strictly.

    @post("/events")
    async def record(data: JSONBody[EventBody]) -> …
    @post("/events/batch")
    async def record_batch(data: JSONBody[Annotated[Items[EventBody], ItemsIn("events")]]) -> …

The OpenAPI request body follows from the same annotation.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from litestar import Request
from litestar._openapi.schema_generation import SchemaCreator
from litestar.connection import ASGIConnection
from litestar.dto import AbstractDTO, DTOConfig, DTOFieldDefinition
from litestar.openapi.spec import OpenAPIType, Reference, Schema
from litestar.types import LitestarEncodableType
from litestar.typing import FieldDefinition

from rewards.domain.errors import InvalidInput
from rewards.http.decoding import ITEMS_MAX, decode_items, decoder_for, plain

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Items(Generic[T]):
    """The items of a batch in order. A wrong one is the InvalidInput that explains it, so it spoils no other."""

    values: list[T | InvalidInput]


@dataclass(frozen=True, slots=True)
class ItemsIn:
    """Where the items are in the body: `{field: [item, …]}`, one to `items_max` of them."""

    field: str
    items_max: int = ITEMS_MAX


class StrictBody(AbstractDTO[Any]):
    """For the application's `dto`: decodes every `data` parameter from the bytes by its annotation.

    It takes the framework's place for a data-transfer object because that is the one hook which gets the bytes
    before anything lenient has seen them, and which also owns the OpenAPI schema of the body.
    """

    config = DTOConfig()
    model_type = object
    _decoders: ClassVar[dict[str, Callable[[bytes], Any]]] = {}

    @classmethod
    def create_for_field_definition(
        cls,
        field_definition: FieldDefinition,
        handler_id: str,
        backend_cls: Any = None,  # noqa: ARG003 - no backend
    ) -> None:
        cls._decoders[handler_id] = _decoder(field_definition)

    def __init__(self, asgi_connection: ASGIConnection[Any, Any, Any, Any]) -> None:
        self.asgi_connection = asgi_connection

    def decode_bytes(self, value: bytes) -> Any:
        """Raises InvalidInput and its kinds. A compressed body is no larger than a plain one may be."""
        connection = self.asgi_connection
        return self._decoders[connection.route_handler.handler_id](_plain(connection, value))

    def decode_builtins(self, value: dict[str, Any]) -> Any:  # noqa: ARG002
        raise TypeError("bodies are decoded from bytes")

    def data_to_encodable_type(self, data: Any) -> LitestarEncodableType:  # noqa: ARG002
        raise TypeError("answers need no data-transfer object; set return_dto=None")

    @classmethod
    def generate_field_definitions(cls, model_type: type[Any]) -> Generator[DTOFieldDefinition, None, None]:  # noqa: ARG003
        yield from ()

    @classmethod
    def detect_nested_field(cls, field_definition: FieldDefinition) -> bool:  # noqa: ARG003
        return False

    @classmethod
    def create_openapi_schema(
        cls,
        field_definition: FieldDefinition,
        handler_id: str,  # noqa: ARG003
        schema_creator: SchemaCreator,
    ) -> Reference | Schema:
        items = _items_in(field_definition)
        if items is None:
            return schema_creator.for_field_definition(field_definition)
        item = schema_creator.for_field_definition(field_definition.inner_types[0])
        return Schema(
            type=OpenAPIType.OBJECT,
            required=[items.field],
            properties={
                items.field: Schema(type=OpenAPIType.ARRAY, items=item, min_items=1, max_items=items.items_max)
            },
            additional_properties=False,
        )


async def body_of(request: Request[Any, Any, Any]) -> bytes:
    """The body, for a handler that reads it by itself. Raises BodyTooLarge and MalformedEncoding."""
    return _plain(request, await request.body())


def _plain(connection: ASGIConnection[Any, Any, Any, Any], body: bytes) -> bytes:
    limit = connection.route_handler.resolve_request_max_body_size()
    assert isinstance(limit, int), "the application sets a limit"
    return plain(body, connection.headers.get("content-encoding", ""), bytes_max=limit)


def _items_in(field: FieldDefinition) -> ItemsIn | None:
    return next((part for part in field.metadata if isinstance(part, ItemsIn)), None)


def _decoder(field: FieldDefinition) -> Callable[[bytes], Any]:
    items = _items_in(field)
    if items is None:
        return decoder_for(field.annotation).decode
    item_type = field.inner_types[0].annotation

    def items_of(body: bytes) -> Items[Any]:
        return Items(decode_items(body, item_type, field=items.field, items_max=items.items_max))

    return items_of
