"""Ratios against other code: python -m minilte.bench."""

import sys

from minilte.commands.bench import main

if __name__ == "__main__":
    sys.exit(main())
