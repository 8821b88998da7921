"""Everything about one member that deciding needs: the document in the member's row, and the wallet."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from rewards.domain.ledger.reverse import Original
from rewards.domain.ledger.wallet import Wallet
from rewards.domain.recorded import History, PastEarning, Recorded, Wanted, WantedEarnings

STATE_VERSION: Final = 1
ABSORBED_MAX: Final = 100
"""Beyond it the oldest is forgotten: what it earned can no longer be taken back from the member that it became."""


@dataclass(slots=True)
class MemberState:
    """One member as loaded, or as the previous command of the batch left it. Never changed in place by `apply`.

    `metrics` is keyed by metric id, `limits` by rule key, `segments` holds the keys of the segments the member is in;
    all three are plain values (numbers, strings, lists, dicts) and form the member's compact document.
    `seq` is the last used sequence number, `last_now` the newest moment at which a command was decided.
    `play` holds what the mechanics remember, by mechanic and key; plain values as well, and replaced, never changed.
    `play_terms` are those of the program under which `play` was last brought into line; None: whoever decides next does so.
    `wake_at` is when a wake-up is arranged because time alone will do something.
    """

    id: UUID
    bucket: int
    kind: str
    external_id: str
    attributes: dict[str, Any] = field(default_factory=dict)
    locale: str | None = None
    timezone: str | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    limits: dict[str, Any] = field(default_factory=dict)
    segments: tuple[str, ...] = ()
    play: dict[str, dict[str, Any]] = field(default_factory=dict)
    seq: int = 0
    last_now: datetime | None = None
    wake_at: datetime | None = None
    play_terms: int | None = None
    merged_into: UUID | None = None
    absorbed: tuple[UUID, ...] = ()
    """The members merged into this one, directly or by way of others, newest first; at most `ABSORBED_MAX`."""
    erased_at: datetime | None = None
    wallet: Wallet = field(default_factory=Wallet)
    originals: dict[UUID, Original] = field(default_factory=dict)
    """Transactions loaded for reversal or maturing, by id. Absent means not loaded, see `Unloaded`."""
    references: dict[str, tuple[UUID, ...]] = field(default_factory=dict)
    """The transactions that carry a reference, by reference; loaded on demand like `originals`."""
    absent: set[UUID] = field(default_factory=set)
    """Transactions, holds and events that were looked for and that the member does not have."""
    recorded: dict[UUID, Recorded] = field(default_factory=dict)
    """Events of the past, by id; loaded on demand like `originals`."""
    histories: dict[Wanted, History] = field(default_factory=dict)
    past_earnings: dict[WantedEarnings, tuple[PastEarning, ...]] = field(default_factory=dict)
