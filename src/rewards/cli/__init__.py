"""The command line: `rewards --help`.

`root.COMMANDS` lists the commands. What one needs is imported when it runs, so that `rewards --help` stays quick.
"""

from rewards.cli.root import main

__all__ = ["main"]
