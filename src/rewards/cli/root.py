"""The root of the command line, and how commands run: settings, an event loop, and errors as one readable line."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from rewards import __version__
from rewards.domain.errors import RewardsError

if TYPE_CHECKING:
    from rewards.settings import Settings

T = TypeVar("T")

# Command → where it is, and what `rewards --help` says of it.
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "local": ("rewards.cli.local:local", "Run everything on this machine, with a sample program."),
    "serve": ("rewards.cli.serve:serve", "Serve the HTTP API."),
    "work": ("rewards.cli.serve:work", "Run due commands, upkeep and jobs."),
    "migrate": ("rewards.cli.serve:migrate", "Bring the database to the newest schema."),
    "program": ("rewards.cli.program:program", "Check, test, compare, publish and simulate program documents."),
    "keys": ("rewards.cli.keys:keys", "Make, list and revoke API keys of a program."),
    "ledger": ("rewards.cli.ledger:ledger", "Prove the books; statements of the house and of members."),
    "leaderboards": (
        "rewards.cli.leaderboards:leaderboards",
        "Build leaderboards again, and prove what Valkey holds.",
    ),
    "sandbox": ("rewards.cli.sandbox:sandbox", "Make programs whose clock can be moved on."),
    "members": ("rewards.cli.members:members", "Import members with their opening balances."),
}


class Commands(click.Group):
    """Finds commands by `COMMANDS` and turns our errors into a line and an exit code: 1 refused, 2 wrong usage."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*COMMANDS, *super().list_commands(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        where, _ = COMMANDS[cmd_name]
        module, _, attribute = where.partition(":")
        found = getattr(import_module(module), attribute)
        if not isinstance(found, click.Command):
            raise TypeError(f"{where} is not a command")
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List without importing."""
        own = [(name, command.get_short_help_str()) for name, command in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(sorted([*own, *((name, about) for name, (_, about) in COMMANDS.items())]))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception as error:
            # What it takes to tell errors apart is loaded when there is one: `--help` answers at once.
            told: click.ClickException | None = import_module("rewards.cli.failures").told(error)
            if told is None:
                raise
            raise told from None


def explained(error: RewardsError) -> str:
    """An error for a terminal: the sentence, and where the mistakes are that it does not tell of."""
    wrong = [f"{each.get('path') or 'input'}: {each.get('message', '')}" for each in error.details.get("errors", ())]
    lines = [error.message, *(f"  {each}" for each in wrong if each not in error.message)]
    if path := error.details.get("path"):
        expected = error.details.get("expected")
        lines.append(f"  {path}: expected {expected}" if expected else f"  {path}")
    return "\n".join(lines)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="rewards")
def main() -> None:
    """Rewards: engagement events in; points, badges, quests, streaks, tiers and ranks out.

    The service and its tools. Commands that reach the database read REWARDS_DATABASE_URL, REWARDS_REDIS_URL and
    REWARDS_SECRET_KEY from the environment; those about program documents need nothing.
    """


def run(work: Callable[[Settings], Awaitable[T]]) -> T:
    """Run an asynchronous command with the settings of the environment."""
    settings: Settings = import_module("rewards.settings").load_settings()

    async def with_settings() -> T:
        return await work(settings)

    return asyncio.run(with_settings())
