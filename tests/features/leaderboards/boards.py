"""A program with boards of every kind, and what a test needs to look at them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import httpx
from tests.service import Live

PROGRAM: Final = """
rewards: 1
program: {key: play, name: Play, timezone: UTC}
attributes:
  city: {type: string, purpose: boards by city}
events:
  played: {properties: {points: number}}
  ran: {properties: {seconds: number}}
metrics:
  points: {sum: played, value: event.points}
  rounds: {count: played}
  laps: {last: ran, value: event.seconds}
leaderboards:
  shared: {name: {en: Points, de: Punkte}, score: {metric: points, operator: sum}}
  first: {score: {metric: points, operator: sum}, ties: first, visibility: {names: external_id}}
  fastest: {score: {metric: laps, operator: best}, order: ascending, ties: first}
  weekly: {score: {metric: rounds, operator: sum}, period: {every: week}}
  cities: {score: {metric: points, operator: sum}, by: {attribute: city}}
"""


@dataclass(frozen=True)
class Boards:
    """The service, and its boards as one finds them once what was sent is projected."""

    live: Live

    async def score(self, member: str, points: float) -> None:
        await self.live.event(type="played", member=member, properties={"points": points})

    async def project(self) -> None:
        """Until no mark is left, and no board is being built."""
        projector = self.live.worker.projector
        projector.look()
        await projector.run()
        await projector.rebuilt()
        while await projector.run():
            pass

    async def get(self, path: str, **query: Any) -> dict[str, Any]:
        answer = await self.ask(path, **query)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    async def ask(self, path: str, **query: Any) -> httpx.Response:
        return await self.live.client.get(f"/v1/leaderboards{path}", params=query)

    async def places(self, path: str, **query: Any) -> list[tuple[int, str, float]]:
        """Rank, member and score of every entry that an address answers."""
        body = await self.get(path, **query)
        return [(each["rank"], each["member"], each["score"]) for each in body["entries"]]
