"""Segment's calls as commands.

    track            Event, by the name of the type or an SDK's name for it (`aka`)
    page, screen     Event `page_viewed` or `screen_viewed` (or `aka: [Page Viewed]`) where the program declares it, else nothing
    group            Event `group_joined` (or `aka: [Group Joined]`) where the program declares it, and where it has team
                     quests the member belongs to the group from now on; else nothing
    identify         SetProfile with the declared ones among the traits; with both ids also a merge of the anonymous member
    alias            MergeOut of `previousId` into `userId`

A call with a `userId` is about that user, else about the anonymous member. Public keys may send events only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Any, ClassVar, Final
from uuid import uuid4

from rewards.domain.commands import Event, MemberRef, SetProfile
from rewards.domain.errors import InvalidInput, RewardsError
from rewards.domain.group_commands import JoinGroup
from rewards.domain.play.groups import group_ref
from rewards.features.segment.circumstances import (
    claimed_moment,
    context_of,
    locale_of,
    moment,
    occurred_at,
    timezone_of,
)
from rewards.features.segment.merging import Merges
from rewards.features.segment.schemas import CALLS, Call
from rewards.pipeline.intake import Addressed
from rewards.pipeline.programs import Published

MESSAGE_ID_LENGTH_MAX: Final = 100
TYPE_LENGTH_MAX: Final = 200

EVENTS_OF_CALLS: Final[Mapping[str, tuple[str, ...]]] = {
    "page": ("page_viewed", "Page Viewed"),
    "screen": ("screen_viewed", "Screen Viewed"),
    "group": ("group_joined", "Group Joined"),
}
"""The event types that a call other than `track` becomes: the first that the program declares."""

PUBLIC_CALLS: Final = frozenset({"track", "page", "screen"})


class SecretKeyNeeded(RewardsError):
    """A public key may only send events: a page must not change traits, groups or who somebody is."""

    code: ClassVar[str] = "forbidden"


@dataclass(frozen=True, slots=True)
class Sender:
    """Whose request it is, when it came, and when the client says that it sent it."""

    actor: str
    public: bool
    received_at: datetime
    sent_at: Any


class Translator:
    """Turns the calls of one request into commands, in order: what a call does to identity holds for those after it."""

    def __init__(self, published: Published, sender: Sender, merges: Merges) -> None:
        self._published = published
        self._sender = sender
        self._merges = merges

    def commands(self, call: Call) -> list[Addressed]:
        """None at all for a call that the program has no use for. Raises what is wrong with the call for good."""
        if call.type not in CALLS:
            raise InvalidInput("The type of call is unknown.", path="type", expected=f"one of {', '.join(CALLS)}")
        if self._sender.public and call.type not in PUBLIC_CALLS:
            raise SecretKeyNeeded(f"A public key may not send {call.type}.", required="a secret key")
        match call.type:
            case "track":
                return self._track(call)
            case "identify":
                return self._identify(call)
            case "alias":
                return self._alias(call)
            case _:
                return self._named_by_program(call)

    def _track(self, call: Call) -> list[Addressed]:
        if not call.event or len(call.event) > TYPE_LENGTH_MAX:
            raise InvalidInput("The event has no name.", path="event", expected=f"1 to {TYPE_LENGTH_MAX} characters")
        return [self._event(call, call.event, call.properties or {})]

    def _named_by_program(self, call: Call) -> list[Addressed]:
        assert call.type is not None
        declared = next((name for name in EVENTS_OF_CALLS[call.type] if self._published.program.event_type(name)), None)
        if call.type == "group":
            return self._group(call, declared)
        if declared is None:
            member_of(call)
            return []
        named = {"name": call.name, "category": call.category}
        said = {key: value for key, value in named.items() if value is not None}
        return [self._event(call, declared, {**said, **(call.properties or {})})]

    def _group(self, call: Call, declared: str | None) -> list[Addressed]:
        """The membership comes before the event, so that the event counts for the group."""
        member = member_of(call)
        has_teams = self._published.program.quests.for_teams
        if declared is None and not has_teams:
            return []
        group = text_of(call.group_id)
        if group is None:
            raise InvalidInput("The group has no id.", path="groupId", expected="an id")
        found: list[Addressed] = []
        if has_teams:
            self._merges.saw(member)
            ref = group_ref(group)
            command = JoinGroup(ref.external_id, self._published.identity.member(ref))
            key = f"segment:group:{self._message_id(call)}"
            found.append(Addressed(member, command, key, {"group": str(ref)}, self._sender.actor))
        if declared is not None:
            found.append(self._event(call, declared, {**(call.traits or {}), "group_id": group}))
        return found

    def _event(self, call: Call, name: str, properties: dict[str, Any]) -> Addressed:
        member = member_of(call)
        self._merges.saw(member)
        # What the client said, before any correction: a second sending of the call is the same by this.
        content: dict[str, Any] = {"type": name, "properties": properties}
        claimed = claimed_moment(call)
        if claimed is not None:
            content["occurred_at"] = claimed
        sent_at = moment(call.sent_at) or moment(self._sender.sent_at)
        client_id = self._message_id(call)
        command = Event(
            client_id=client_id,
            type=name,
            occurred_at=occurred_at(call, sent_at=sent_at, received_at=self._sender.received_at),
            properties=properties,
            context=context_of(call),
            sent_by="public" if self._sender.public else "server",
        )
        return Addressed(member, command, client_id, content, self._sender.actor)

    def _identify(self, call: Call) -> list[Addressed]:
        member = member_of(call)
        message_id = self._message_id(call)
        found: list[Addressed] = []
        anonymous = text_of(call.anonymous_id)
        if member.kind == "user" and anonymous is not None:
            origin = MemberRef.parse(f"anon:{anonymous}")
            merge = self._merges.on_identify(origin, member)
            if merge is not None:
                content = {"merge": str(origin), "into": str(member)}
                found.append(Addressed(origin, merge, f"segment:merge:{message_id}", content, self._sender.actor))
        self._merges.saw(member)
        traits = call.traits or {}
        command = SetProfile(
            attributes=traits,
            locale=locale_of(call.context),
            timezone=timezone_of(call.context),
            drop_unknown=True,
        )
        found.append(Addressed(member, command, f"segment:{message_id}", {"traits": traits}, self._sender.actor))
        return found

    def _alias(self, call: Call) -> list[Addressed]:
        user, previous = text_of(call.user_id), text_of(call.previous_id)
        if user is None or previous is None:
            raise InvalidInput("An alias needs both ids.", path="previousId", expected="userId and previousId")
        into = MemberRef.parse(f"user:{user}")
        origin, merge = self._merges.on_alias(previous, into)
        content = {"merge": previous, "into": str(into)}
        key = f"segment:merge:{self._message_id(call)}"
        return [Addressed(origin, merge, key, content, self._sender.actor)]

    def _message_id(self, call: Call) -> str:
        """What makes the call happen once. Without a `messageId`: a hash of the call as far as it tells when it was made.

        A call without id and without any time is new each time, for nothing tells a repeat from a second occurrence.
        """
        given = text_of(call.message_id)
        if given is not None:
            if len(given) <= MESSAGE_ID_LENGTH_MAX:
                return given
            return f"long-{blake2b(given.encode(), digest_size=16).hexdigest()}"
        said = claimed_moment(call) or moment(call.sent_at) or moment(self._sender.sent_at)
        if said is None:
            return f"once-{uuid4().hex}"
        return f"hash-{self._published.identity.fingerprint([*call.values(), said]).hex()}"


def member_of(call: Call) -> MemberRef:
    """Raises InvalidInput when the call names nobody, or somebody by an id that is too long."""
    user, anonymous = text_of(call.user_id), text_of(call.anonymous_id)
    if user is not None:
        return MemberRef.parse(f"user:{user}")
    if anonymous is not None:
        return MemberRef.parse(f"anon:{anonymous}")
    raise InvalidInput("The call names nobody.", path="userId", expected="userId or anonymousId")


def text_of(identifier: str | float | None) -> str | None:
    """An id as text: numbers are ids too, and an empty one is none."""
    if isinstance(identifier, float) and identifier.is_integer():
        identifier = int(identifier)
    return str(identifier) if identifier is not None and identifier != "" else None


def members_to_know(call: Call) -> list[MemberRef]:
    """The members whose standing decides what a call means."""
    user, anonymous, previous = text_of(call.user_id), text_of(call.anonymous_id), text_of(call.previous_id)
    if call.type == "identify" and user and anonymous:
        named = [f"user:{user}", f"anon:{anonymous}"]
    elif call.type == "alias" and user and previous:
        named = [f"user:{user}", f"anon:{previous}", f"user:{previous}"]
    else:
        return []
    try:
        return [MemberRef.parse(name) for name in named]
    except InvalidInput:
        return []  # found again, and answered, when the call is translated
