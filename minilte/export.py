"""The weights of a run in other formats: python -m minilte.export."""

import sys

from minilte.commands.export import main

if __name__ == "__main__":
    sys.exit(main())
