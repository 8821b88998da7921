"""The load generator: a process of its own that speaks just enough HTTP/1.1 to cost little of the shared processors.

`python -m benchmarks.load` reads an `Order` as JSON from its input and writes a `Finding` to its output.

- A closed loop sends the next request of a connection when its answer has come: it finds the throughput.
- An open loop sends at a fixed rate whatever the answers. Latency counts from the moment at which a request was due, so
  a service that stalls is charged for everything that had to wait, also in here.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections import deque
from typing import Final, cast

import msgspec
import uvloop

from benchmarks.traffic import body

GRACE_SECONDS: Final = 10.0
TICK_SECONDS: Final = 0.001
_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length: "
_DONE: Final = b'"status":"processed"'
_PAID: Final = b'"type":"earn"'


class Order(msgspec.Struct, frozen=True):
    """What to send. `rate_per_second` makes it an open loop; `pause_seconds` waits before each request of a closed one.

    `first` is the number of the first event, and so who does it: whoever goes on with it meets members not met before.
    """

    host: str
    port: int
    key: str
    prefix: str
    members: int
    seconds: float
    first: int = 0
    warmup_seconds: float = 0.0
    connections: int = 32
    batch: int = 1
    rate_per_second: float = 0.0
    pause_seconds: float = 0.0


class Finding(msgspec.Struct):
    """What came back. Latencies in milliseconds; `events` were answered within the measured `seconds`.

    `acknowledged` counts all events of the run that were answered as processed, warm-up and late answers included.
    """

    seconds: float
    requests: int
    events: int
    events_per_second: float
    acknowledged: int
    paid: int
    refused: dict[str, int]
    unanswered: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    processor_seconds: float


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request under way."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self.due_at = 0.0
        """When the request under way was to be sent."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class does not say so

    def send(self, request: bytes, due_at: float) -> None:
        self.due_at = due_at
        assert self._transport is not None
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        head = data.find(_END)
        if head >= 0:
            at = data.find(_LENGTH, 0, head)
            if at < 0:
                raise RuntimeError(f"an answer without a length: {data[:head]!r}")
            length = int(data[at + len(_LENGTH) : data.find(b"\r", at)])
            if len(data) >= head + len(_END) + length:
                self._buffer = b""
                self._run.answered(self, data)
                return
        self._buffer = data

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._run.lost(self)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class Run:
    """One order being carried out."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self._loop = asyncio.get_running_loop()
        self._number = order.first
        self._prefix = order.prefix.encode()
        path = "/v1/events?trace=true" if order.batch == 1 else "/v1/events/batch?trace=true"
        self._head = (
            f"POST {path} HTTP/1.1\r\nHost: {order.host}:{order.port}\r\nAuthorization: Bearer {order.key}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        ).encode()
        self._idle: list[Connection] = []
        self._backlog: deque[float] = deque()
        self._latencies: list[float] = []
        self._under_way = 0
        self._acknowledged = 0
        self._paid = 0
        self._events = 0
        self._refused: dict[str, int] = {}
        self._closing = False
        self._finished = asyncio.Event()
        self._failure: str | None = None

    async def carry_out(self) -> Finding:
        order = self.order
        for _ in range(order.connections):
            _, connection = await self._loop.create_connection(lambda: Connection(self), order.host, order.port)
            self._idle.append(connection)
        used = time.process_time()
        began = time.perf_counter()
        self._from = began + order.warmup_seconds
        self._until = self._from + order.seconds
        if order.rate_per_second:
            await self._open_loop(began)
        else:
            connections, self._idle = self._idle, []
            for connection in connections:
                self._next(connection)
        left = self._until - time.perf_counter() + GRACE_SECONDS
        try:
            await asyncio.wait_for(self._finished.wait(), left)
        except TimeoutError:
            # What never came took at least as long as we waited for it.
            waited = time.perf_counter() - self._until
            self._latencies.extend([waited] * (self._under_way + len(self._backlog)))
        if self._failure is not None:
            raise RuntimeError(self._failure)
        return self._finding(time.process_time() - used)

    async def _open_loop(self, began: float) -> None:
        interval = 1.0 / self.order.rate_per_second
        count = 0
        while (due_at := began + count * interval) < self._until and self._failure is None:
            now = time.perf_counter()
            if due_at > now:
                await asyncio.sleep(max(TICK_SECONDS, due_at - now))
                continue
            count += 1
            if self._idle:
                self._send(self._idle.pop(), due_at)
            else:
                self._backlog.append(due_at)
        self._closing = True
        self._check_finished()

    def _send(self, connection: Connection, due_at: float) -> None:
        size = self.order.batch
        content = body(self._number, size, members=self.order.members, prefix=self._prefix)
        self._number += size
        self._under_way += 1
        connection.send(b"%b%d\r\n\r\n%b" % (self._head, len(content), content), due_at)

    def _next(self, connection: Connection) -> None:
        """The next request of a connection in a closed loop."""
        now = time.perf_counter()
        if now < self._until:
            self._send(connection, now)
        else:
            self._closing = True
            self._check_finished()

    def answered(self, connection: Connection, data: bytes) -> None:
        now = time.perf_counter()
        self._under_way -= 1
        done = data.count(_DONE)
        self._acknowledged += done
        self._paid += data.count(_PAID)
        if self._from <= connection.due_at:
            self._latencies.append(now - connection.due_at)
        if self._from <= now < self._until:
            self._events += done
        if done != self.order.batch:
            reason = data[9:12].decode()
            self._refused[reason] = self._refused.get(reason, 0) + self.order.batch - done
        if self.order.rate_per_second:
            if self._backlog:
                self._send(connection, self._backlog.popleft())
            else:
                self._idle.append(connection)
                self._check_finished()
        elif self.order.pause_seconds:
            self._loop.call_later(self.order.pause_seconds, self._next, connection)
        else:
            self._next(connection)

    def lost(self, connection: Connection) -> None:
        if not self._finished.is_set():
            self._failure = f"the service closed a connection under load, with a request due at {connection.due_at}"
            self._finished.set()

    def _check_finished(self) -> None:
        if self._closing and not self._under_way and not self._backlog:
            self._finished.set()

    def _finding(self, processor_seconds: float) -> Finding:
        self._finished.set()
        latencies = sorted(self._latencies)
        order = self.order
        return Finding(
            seconds=order.seconds,
            requests=len(latencies),
            events=self._events,
            events_per_second=self._events / order.seconds,
            acknowledged=self._acknowledged,
            paid=self._paid,
            refused=self._refused,
            unanswered=self._under_way + len(self._backlog),
            p50_ms=percentile(latencies, 0.50),
            p90_ms=percentile(latencies, 0.90),
            p99_ms=percentile(latencies, 0.99),
            max_ms=percentile(latencies, 1.0),
            processor_seconds=processor_seconds,
        )


def percentile(ascending: list[float], share: float) -> float:
    """The smallest value that `share` of all do not exceed, in milliseconds; 0 where there is none."""
    if not ascending:
        return 0.0
    rank = max(1, -int(-share * len(ascending) // 1))
    return ascending[min(rank, len(ascending)) - 1] * 1000


def main() -> None:
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    gc.disable()  # a run is short, and its own pauses must not be taken for the service's

    async def carried_out() -> Finding:
        return await Run(order).carry_out()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(carried_out())
    sys.stdout.buffer.write(msgspec.json.encode(found))


if __name__ == "__main__":
    main()
