"""Try the laws of the method on random cases: python -m minilte.verify."""

import sys

from minilte.commands.verify import main

if __name__ == "__main__":
    sys.exit(main())
