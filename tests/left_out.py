"""Say which tests this machine leaves out for want of a system package: `python -m tests.left_out`."""

import shutil
import sys
from typing import Final

BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# Any of the programs will do; the package is Debian's.
WANTED: Final[list[tuple[tuple[str, ...], str, str]]] = [
    (("node",), "nodejs", "the vendors' JavaScript client (tests/clients)"),
    (("npm",), "npm", "the vendors' JavaScript client (tests/clients)"),
    (BROWSERS, "chromium", "the browser SDK in a real browser (tests/browser)"),
    (("docker-compose", "docker"), "docker-compose", "the check of compose.yaml (tests/architecture)"),
]


def missing() -> list[str]:
    return [
        f"left out: {what}: none of {', '.join(programs)} is installed (Debian package: {package})"
        for programs, package, what in WANTED
        if not any(shutil.which(program) for program in programs)
    ]


if __name__ == "__main__":
    for line in missing():
        sys.stdout.write(f"{line}\n")
