"""What makes a member token good: the signature, the time and the epochs; and how long what is known of it is believed."""

import base64
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.domain.commands import MemberRef
from rewards.http.member_tokens import TOKEN_LENGTH_MAX, MemberTokens, Minted, Standing, TokenEnded
from rewards.http.recent import Recent

ADA = MemberRef("user", "ada")
ADAS_ID, BOBS_ID = UUID(int=7 << 120 | 1), UUID(int=7 << 120 | 2)
STANDING = Standing(ADAS_ID, "shop", program_epoch=3, member_epoch=1, origins=frozenset())
REFS = st.builds(MemberRef, st.sampled_from(["user", "anon", "group"]), st.text(min_size=1, max_size=200))


@dataclass
class Service:
    """The tokens of a service whose clock and database are the test's."""

    secret: bytes = b"s" * 32
    now: float = 1_800_000_000.0
    standing: Standing | None = STANDING
    tokens: MemberTokens = field(init=False)

    def __post_init__(self) -> None:
        async def find(program_id: int, member: MemberRef) -> Standing | None:
            return self.standing if program_id == 7 else None

        self.tokens = MemberTokens(self.secret, find, requests_per_second=20, clock=lambda: self.now)

    def mint(self, member: MemberRef = ADA, program_id: int = 7) -> str:
        return self.minted(member, program_id).token

    def minted(self, member: MemberRef = ADA, program_id: int = 7) -> Minted:
        return self.tokens.mint(program_id, member, STANDING, timedelta(minutes=15))


async def test_a_token_stands_for_its_member() -> None:
    service = Service()
    caller = await service.tokens.caller(service.mint())
    assert (caller.program_id, caller.program_key, caller.member) == (7, "shop", ADA)
    assert (caller.kind, caller.scopes, caller.origins) == ("member", frozenset({"me"}), frozenset({"*"}))


@given(REFS)
async def test_whatever_the_member_is_called(member: MemberRef) -> None:
    service = Service()
    token = service.mint(member)
    assert len(token) <= TOKEN_LENGTH_MAX
    assert (await service.tokens.caller(token)).member == member


def flipped(token: str, byte: int) -> str:
    """The token with one bit of a byte of its content turned over."""
    text = token.removeprefix("mt_")
    content = bytearray(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    content[byte] ^= 1
    return "mt_" + base64.urlsafe_b64encode(content).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "mt_",
        "mt_a",
        "mt_" + "A" * 80,
        lambda token: token[:-4],
        lambda token: token + "AAAA",
        lambda token: token + "A" * TOKEN_LENGTH_MAX,
        lambda token: token.replace("mt_", "rk_"),
        lambda token: f"{token} ",
        lambda token: f"{token}=",
        lambda token: flipped(token, 0),
        lambda token: flipped(token, 31),
        lambda token: flipped(token, 32),
        lambda token: flipped(token, -1),
        lambda _: Service(secret=b"t" * 32).mint(),
    ],
)
async def test_any_other_text_is_refused(wrong: str | Callable[[str], str]) -> None:
    service = Service()
    with pytest.raises(TokenEnded, match="cut or changed"):
        await service.tokens.caller(wrong if isinstance(wrong, str) else wrong(service.mint()))


@pytest.mark.parametrize(
    ("seconds", "standing", "program_id", "refused"),
    [
        (0, STANDING, 7, None),
        (899, STANDING, 7, None),
        (900, STANDING, 7, "has expired"),
        (0, replace(STANDING, member_epoch=2), 7, "was revoked"),
        (0, replace(STANDING, program_epoch=4), 7, "was revoked"),
        (0, None, 7, "was revoked"),
        (0, STANDING, 8, "was revoked"),
    ],
)
async def test_a_token_ends_with_its_time_or_when_it_is_revoked(
    seconds: float, standing: Standing | None, program_id: int, refused: str | None
) -> None:
    service = Service(standing=standing)
    token = service.mint(program_id=program_id)
    service.now += seconds
    if refused is None:
        assert (await service.tokens.caller(token)).member == ADA
    else:
        with pytest.raises(TokenEnded, match=refused):
            await service.tokens.caller(token)


async def test_one_token_ends_without_the_others() -> None:
    service = Service()
    lost, kept = service.minted(), service.minted()
    service.standing = replace(STANDING, ended=frozenset({lost.id}))
    with pytest.raises(TokenEnded):
        await service.tokens.caller(lost.token)
    assert (await service.tokens.caller(kept.token)).key_id == kept.id


async def test_an_id_tells_whose_token_it_is_and_when_it_expires() -> None:
    service = Service()
    minted = service.minted()
    assert minted.expires_at == datetime.fromtimestamp(service.now + 900, UTC)
    assert service.tokens.expiry(minted.id, ADAS_ID) == minted.expires_at
    later, other = UUID(int=minted.id.int + (1 << 80)), UUID(int=minted.id.int ^ 1)
    for identifier, member in [(minted.id, BOBS_ID), (later, ADAS_ID), (other, ADAS_ID), (uuid4(), ADAS_ID)]:
        assert service.tokens.expiry(identifier, member) is None
    assert Service(secret=b"t" * 32).tokens.expiry(minted.id, ADAS_ID) is None
    assert len({service.minted().id for _ in range(100)}) == 100


@pytest.mark.parametrize(("seconds", "reads"), [(0, 1), (1.9, 1), (2, 2)])
async def test_what_was_read_is_believed_for_two_seconds(seconds: float, reads: int) -> None:
    now, read = 0.0, []

    async def find(key: str) -> int:
        read.append(key)
        return len(read)

    recent = Recent(find, seconds=2, keys_max=2, clock=lambda: now)
    assert await recent.get("a") == recent.peek("a") == 1
    now += seconds
    assert await recent.get("a") == reads


async def test_what_is_remembered_is_bounded() -> None:
    async def find(key: int) -> int:
        return key

    recent = Recent(find, seconds=2, keys_max=2, clock=lambda: 0)
    for key in range(3):
        await recent.get(key)
    assert [recent.peek(key) for key in range(3)] == [None, None, 2]
