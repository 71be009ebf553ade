"""What training costs, before a run: python -m minilte.cost."""

import sys

from minilte.commands.cost import main

if __name__ == "__main__":
    sys.exit(main())
