"""Train a network: python -m minilte.train, or mpirun -n 8 python -m minilte.train for heads as MPI processes."""

import sys

from minilte.commands.train import main

if __name__ == "__main__":
    sys.exit(main())
