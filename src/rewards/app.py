"""The composition root: what the service is made of, wired from the settings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any

from litestar import Litestar, Router
from litestar.datastructures import State

from rewards.db.migrate import head_revision
from rewards.db.tables.base import INSERT_ONLY
from rewards.features.backfills.controller import backfills_router
from rewards.features.backfills.starting import Starter
from rewards.features.events import controller as events
from rewards.features.events.direct import PATH, DirectEvents
from rewards.features.events.jobs import DueCommands
from rewards.features.events.me import my_events_router
from rewards.features.events.quarantine import quarantine_router
from rewards.features.events.reading import events_reading_router
from rewards.features.health.controller import Readiness, health_router
from rewards.features.keys.controller import keys_router
from rewards.features.keys.queries import find_caller
from rewards.features.leaderboards.closing import Closings
from rewards.features.leaderboards.controller import leaderboards_router
from rewards.features.leaderboards.direct import UNDER, DirectBoards
from rewards.features.leaderboards.feeds import Feeds
from rewards.features.leaderboards.me import my_leaderboards_router
from rewards.features.leaderboards.ranking import Ranking
from rewards.features.leaderboards.reading import BoardReader
from rewards.features.leaderboards.streaming import streams_router
from rewards.features.leaderboards.tickets import Tickets
from rewards.features.members.controller import members_router
from rewards.features.members.me import me_router
from rewards.features.news.controller import news_router
from rewards.features.programs.checking import Checker
from rewards.features.programs.controller import programs_routers
from rewards.features.progress.badges import badges_router
from rewards.features.progress.groups import groups_router
from rewards.features.progress.quests import quests_router
from rewards.features.progress.streaks import streaks_routers
from rewards.features.progress.tiers import tiers_router
from rewards.features.sandbox.clock import SandboxClock
from rewards.features.sandbox.controller import sandbox_router
from rewards.features.sdk.controller import sdk_router
from rewards.features.segment.controller import segment_routers
from rewards.features.tokens.controller import find_revoked, find_standing, tokens_router
from rewards.features.wallets.controller import ledger_router
from rewards.features.wallets.jobs import Sweep
from rewards.features.wallets.me import my_wallet_router
from rewards.features.wallets.moving import moving_router
from rewards.http.auth import ApiKeys
from rewards.http.bodies import StrictBody
from rewards.http.edge import Direct, Edge, HttpMetrics
from rewards.http.limits import RateLimiter
from rewards.http.member_tokens import MemberTokens
from rewards.http.openapi import openapi_config, reference_router
from rewards.http.pagination import Cursors
from rewards.http.problems import problem_handlers
from rewards.http.strict_query import StrictQuery
from rewards.http.token_watch import TokenWatch
from rewards.service import Service


def _board_reader(service: Service) -> BoardReader:
    kept = timedelta(days=service.settings.board_retention_days)
    return BoardReader(service.engine, service.programs, Ranking(service.valkey), kept=kept)


def make_app(service: Service, *alongside: Callable[[], AbstractAsyncContextManager[None]]) -> Edge:
    """The ASGI application around a service. What is `alongside` (the worker) lives while the lanes run."""

    checker = Checker()
    keys = ApiKeys(
        service.secret_key,
        lambda digest: find_caller(service.engine, digest),
        limiter=RateLimiter(service.valkey),
    )

    board_reader = _board_reader(service)
    feeds = Feeds(board_reader, service.valkey)
    watch = TokenWatch(partial(find_revoked, service.engine))

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        async with service.running(), aclosing(board_reader), feeds.running(), AsyncExitStack() as stack:
            stack.push_async_callback(checker.close)
            for also in (watch.running, service.whereabouts.listening, *alongside):
                await stack.enter_async_context(also())
            yield

    app = Litestar(
        route_handlers=[
            Router("/v1", route_handlers=[events.send_event, events.send_events], tags=["events"]),
            events_reading_router(),
            quarantine_router(),
            members_router(),
            me_router(),
            my_events_router(),
            my_wallet_router(),
            news_router(),
            *(badges_router(), quests_router(), groups_router()),
            *streaks_routers(),
            tiers_router(),
            *(leaderboards_router(), my_leaderboards_router(), streams_router()),
            ledger_router(),
            moving_router(),
            *programs_routers(),
            backfills_router(),
            *segment_routers(service.registry),
            keys_router(),
            tokens_router(),
            sandbox_router(),
            health_router(),
            reference_router(),
            sdk_router(),
        ],
        lifespan=[lifespan],
        state=_state(service, keys, checker=checker, board_reader=board_reader, board_feeds=feeds, token_watch=watch),
        before_request=StrictQuery(),
        dto=StrictBody,
        return_dto=None,
        exception_handlers=problem_handlers(),
        openapi_config=openapi_config(),
        request_max_body_size=service.settings.body_bytes_max,
        logging_config=None,
    )
    return Edge(app, HttpMetrics(service.registry), direct=_short_ways(service, keys, board_reader))


def _short_ways(service: Service, keys: ApiKeys, boards: BoardReader) -> dict[tuple[str, str], Direct]:
    """Past the framework; see docs/decisions/0009."""
    direct = DirectEvents(service.intake, keys, body_bytes_max=service.settings.body_bytes_max)
    return {("POST", PATH): direct, ("GET", UNDER): DirectBoards(boards, keys)}


def _state(service: Service, keys: ApiKeys, **more: Any) -> State:
    """What handlers find in `request.app.state`."""
    due = DueCommands(service.engine, service.programs, service.lanes, service.lateness)
    sweep = Sweep(service.engine, service.programs, service.lanes)
    closings = Closings(service.engine, service.programs)
    parts = {
        "intake": service.intake,
        "engine": service.engine,
        "backfills": Starter(service.engine, service.programs, service.settings.event_retention_days),
        "programs": service.programs,
        "cursors": Cursors(service.secret_key),
        "api_keys": keys,
        "member_tokens": MemberTokens(
            service.secret_key,
            partial(find_standing, service.engine, service.programs),
            requests_per_second=service.settings.member_requests_per_second,
        ),
        "sandbox_clock": SandboxClock(service.engine, (due.run, sweep.run, closings.run), sweep.run_inactive),
        "readiness": Readiness(service.engine, head_revision(), INSERT_ONLY, service.secret_key),
        "stream_tickets": Tickets(service.secret_key, service.valkey),
        "whereabouts": service.whereabouts,
        "ending": service.ending,
        "metrics_registry": service.registry,
    }
    return State({**parts, **more})
