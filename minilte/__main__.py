"""What there is to run: python -m minilte."""

import sys

from minilte import __version__
from minilte.commands import COMMANDS
from minilte.commands.streams import say


def main() -> int:
    """List the commands; returns 2, since none was named."""
    say(f"minilte {__version__}: python -m minilte.COMMAND, with --help for its options", "stderr")
    for name, words in COMMANDS.items():
        say(f"  {name:12} {words}", "stderr")
    return 2


if __name__ == "__main__":
    sys.exit(main())
