"""As what members appear to other customers: by a pseudonym, unless the program shows them otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from rewards.db.transact import reading
from rewards.domain.ids import bucket_of
from rewards.domain.program.board import Board, Shown
from rewards.features.leaderboards import queries
from rewards.pipeline.identity import Identity
from rewards.pipeline.load import rows

NAME_LENGTH_MAX: Final = 64
NUMBERS: Final = 10_000
_PSEUDONYM: Final = b"pseudonym"
_MEMBER_BYTES: Final = 16

_ADJECTIVES: Final = (
    "Able Agile Amber Ample Azure Bold Brave Breezy Bright Brisk Calm Candid Cheery Clever Cosmic Cosy Crisp Curious "
    "Daring Deft Eager Early Fabled Fair Fleet Fond Frank Fresh Gentle Glad Golden Grand Happy Hardy Honest Humble "
    "Jolly Keen Kind Lively Lucky Lunar Mellow Merry Mighty Modest Neat Noble Patient Placid Proud Quick Quiet Rapid "
    "Silver Sincere Steady Sunny Swift Tidy Vivid Warm Wise Witty"
)
_ANIMALS: Final = (
    "Badger Beaver Bison Bobcat Buzzard Camel Condor Corgi Crane Curlew Deer Dingo Dolphin Dove Eagle Egret Elk "
    "Falcon Ferret Finch Fox Gazelle Gecko Heron Hare Hawk Ibex Ibis Jackal Jaguar Kestrel Kite Koala Lark Lemur "
    "Leopard Linnet Llama Lynx Magpie Marmot Marten Merlin Moose Narwhal Newt Ocelot Okapi Osprey Otter Owl Panda "
    "Petrel Plover Puffin Quail Raven Robin Seal Stork Swan Tapir Tern Wren"
)
ADJECTIVES: Final = _ADJECTIVES.split()
ANIMALS: Final = _ANIMALS.split()


def pseudonym(identity: Identity, member: UUID) -> str:
    """Always the same for a member of a program, another in every program: `Swift Heron 4821`.

    Made by a keyed hash, so nobody without the program's secret can tell whose it is, or link it to anything.
    """
    hashed = _pseudonyms(identity.secret).copy()
    hashed.update(member.bytes)
    number = int.from_bytes(hashed.digest()[:8], "big")
    number, adjective = divmod(number, len(ADJECTIVES))
    number, animal = divmod(number, len(ANIMALS))
    return f"{ADJECTIVES[adjective]} {ANIMALS[animal]} {number % NUMBERS:04}"


@lru_cache(maxsize=1024)
def _pseudonyms(secret: bytes) -> Any:
    """What `keyed_hash` makes of everything before the member, which is the same for all members of a program."""
    begun = blake2b(key=secret, digest_size=16)
    begun.update(len(_PSEUDONYM).to_bytes(4, "big") + _PSEUDONYM + _MEMBER_BYTES.to_bytes(4, "big"))
    return begun


def name_of(identity: Identity, board: Board, member: UUID, ref: str | None) -> str:
    """What a member is called before others where nothing need be read for it: on boards that show no attribute."""
    if board.names.shown is Shown.EXTERNAL_ID and ref is not None:
        return ref
    return pseudonym(identity, member)


async def names_of(
    engine: AsyncEngine, identity: Identity, program_id: int, board: Board, members: Mapping[UUID, str | None]
) -> dict[UUID, str]:
    """What each member is called before others, by what identifies it (None: erased). Whoever has no name of the kind
    that the board shows has a pseudonym."""
    shown: dict[UUID, str] = {}
    if board.names.shown is Shown.ATTRIBUTE and members:
        shown = await _attributes(engine, program_id, board.names.attribute or "", list(members))
    return {member: shown.get(member) or name_of(identity, board, member, ref) for member, ref in members.items()}


async def _attributes(engine: AsyncEngine, program_id: int, attribute: str, members: Sequence[UUID]) -> dict[UUID, str]:
    buckets = [bucket_of(member) for member in members]
    async with reading(engine) as connection:
        found = await rows(connection, queries.ATTRIBUTE_OF, program_id, buckets, list(members), attribute)
    return {row.member_id: row.value.strip()[:NAME_LENGTH_MAX] for row in found if row.value}
