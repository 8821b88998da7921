"""Property-based testing of an API against its own description, in process and on the service's own event loop."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
ANSWER_SECONDS: Final = 30


async def explore(
    document: Mapping[str, Any], client: httpx.AsyncClient, headers: Mapping[str, str], *, cases_each: int
) -> dict[str, int]:
    """Send cases that fit the description and cases that do not to every operation.

    Raises all that Schemathesis found: answers of 5xx, and those whose status, headers or body are not described.
    Returns how many cases each operation got.
    """
    loop = asyncio.get_running_loop()
    schema = schemathesis.openapi.from_dict(dict(document))
    sent: dict[str, int] = {}

    def send(case: Case[Any]) -> None:
        sent[case.operation.label] = sent.get(case.operation.label, 0) + 1
        kwargs = case.as_transport_kwargs(base_url=str(client.base_url), headers=dict(headers))
        kwargs.pop("cookies", None)
        request = httpx.Request(
            kwargs["method"], kwargs["url"], params=kwargs.get("params") or None, headers=kwargs["headers"],
            content=_body(kwargs),
        )  # fmt: skip
        answer = asyncio.run_coroutine_threadsafe(client.send(request), loop).result(ANSWER_SECONDS)
        case.validate_response(answer, checks=CHECKS)

    def try_all() -> None:
        """Generation blocks, so it runs in a thread; the requests run here, where the connections belong."""
        findings: list[Exception] = []
        for found in schema.get_all_operations():
            assert isinstance(found, Ok), found.err()
            operation = found.ok()
            cases = st.one_of(
                *(
                    operation.as_strategy(generation_mode=mode)
                    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
                )
            )
            bounded = settings(
                max_examples=cases_each, deadline=None, database=None, phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )  # fmt: skip
            try:
                seed(0)(bounded(given(case=cases)(send)))()
            except Exception as finding:  # noqa: BLE001 - whatever it is, the other operations are explored too
                findings.append(finding)
        if findings:
            raise ExceptionGroup("answers that are not described", findings)

    await asyncio.to_thread(try_all)
    return sent


def _body(kwargs: Mapping[str, Any]) -> bytes | str | None:
    if "json" in kwargs:
        return httpx.Request("POST", "http://x", json=kwargs["json"]).content
    data = kwargs.get("data")
    return data if isinstance(data, bytes | str) else None
