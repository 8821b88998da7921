"""The whole API against its own OpenAPI description: no 5xx, no undocumented answer, whatever is sent."""

import pytest
from tests.http.exploring import explore
from tests.service import SEEDS, live, service_settings

UNSAFE_TO_EXPLORE = ("/v1/keys",)  # exploring would revoke the key that it explores with


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_whatever_is_sent_is_answered_as_described(migrated_url: str, redis_url: str) -> None:
    source = (SEEDS / "shop.yaml").read_bytes()
    async with live(service_settings(migrated_url, redis_url), source) as explored:
        document = (await explored.client.get("/openapi.json")).json()
        paths = {path: item for path, item in document["paths"].items() if not path.startswith(UNSAFE_TO_EXPLORE)}
        headers = {"Authorization": f"Bearer {explored.server_key}"}
        sent = await explore({**document, "paths": paths}, explored.client, headers, cases_each=25)
    assert len(sent) >= len(paths)
