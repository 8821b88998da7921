"""The description holds for whatever a property-based tester thinks of: nothing fails, nothing is undocumented."""

import httpx
import pytest
from tests.http.application import Application
from tests.http.exploring import explore

from rewards.http.openapi import describe


@pytest.mark.parametrize("cases_each", [15, pytest.param(100, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
async def test_no_answer_is_a_surprise(
    app: Application, client: httpx.AsyncClient, everything: dict[str, str], cases_each: int
) -> None:
    document = describe(app.litestar)
    sent = await explore(document, client, everything, cases_each=cases_each)
    assert set(sent) == {
        f"{method.upper()} {path}" for path, operations in document["paths"].items() for method in operations
    }
    assert min(sent.values()) >= 1
