"""The description holds for whatever a property-based tester thinks of: nothing fails, nothing is undocumented."""

import httpx
from tests.http.application import Application
from tests.http.exploring import explore

from rewards.http.openapi import describe


async def test_no_answer_is_a_surprise(app: Application, client: httpx.AsyncClient, everything: dict[str, str]) -> None:
    document = describe(app.litestar)
    sent = await explore(document, client, everything, cases_each=40)
    assert set(sent) == {
        f"{method.upper()} {path}" for path, operations in document["paths"].items() for method in operations
    }
    assert min(sent.values()) >= 1
