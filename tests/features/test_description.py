"""The whole API against its own OpenAPI description: no 5xx, no undocumented answer, whatever is sent."""

import pytest
from tests.features.bank import Bank
from tests.http.exploring import explore
from tests.service import SEEDS, live, service_settings

UNSAFE_TO_EXPLORE = ("/v1/keys",)  # exploring would revoke the key that it explores with
ENDLESS = "/stream"  # whoever opens one waits for what never ends


def is_a_customers(path: str) -> bool:
    """Keys do not open `/v1/me`, and member tokens nothing else."""
    return f"{path}/".startswith("/v1/me/")


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_whatever_is_sent_is_answered_as_described(migrated_url: str, redis_url: str) -> None:
    source = (SEEDS / "shop.yaml").read_bytes()
    async with live(service_settings(migrated_url, redis_url), source) as explored:
        await explored.worker.projector.run()
        await explored.worker.projector.rebuilt()
        document = (await explored.client.get("/openapi.json")).json()
        paths = {
            path: item
            for path, item in document["paths"].items()
            if not path.startswith(UNSAFE_TO_EXPLORE) and not path.endswith(ENDLESS) and not is_a_customers(path)
        }
        headers = {"Authorization": f"Bearer {explored.server_key}"}
        sent = await explore({**document, "paths": paths}, explored.client, headers, cases_each=25)
    assert len(sent) >= len(paths)


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_whatever_a_customer_sends_is_answered_as_described(migrated_url: str, redis_url: str) -> None:
    source = (SEEDS / "shop.yaml").read_bytes()
    settings = service_settings(migrated_url, redis_url, member_requests_per_second=100_000)
    async with live(settings, source) as explored:
        await explored.worker.projector.run()
        await explored.worker.projector.rebuilt()
        await explored.event(member="ada")
        document = (await explored.client.get("/openapi.json")).json()
        paths = {
            path: item
            for path, item in document["paths"].items()
            if is_a_customers(path) and not path.endswith(ENDLESS)
        }
        minted = await explored.client.post("/v1/members/ada/tokens", json={"ttl_seconds": 3600})
        headers = {"Authorization": f"Bearer {minted.json()['token']}"}
        sent = await explore({**document, "paths": paths}, explored.client, headers, cases_each=25)
    assert len(sent) >= len(paths)


async def test_a_body_is_required_where_a_field_is(bank: Bank) -> None:
    """No body is `{}`. Not for PATCH: a change that names nothing has lost its body on the way."""
    document = (await bank.live.client.get("/openapi.json")).json()
    required = {}
    for path, item in document["paths"].items():
        body = item.get("post", {}).get("requestBody")
        if body is not None and "application/json" in body["content"]:
            schema = body["content"]["application/json"]["schema"]
            if "$ref" in schema:
                schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
            required[path] = (body["required"], bool(schema.get("required")) or "properties" not in schema)
    assert len(required) > 10
    assert {path: found for path, found in required.items() if found[0] is not found[1]} == {}
