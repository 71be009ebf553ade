"""Train a network: python -m minilte.train, or mpirun -n 8 python -m minilte.train for heads as MPI processes."""

from minilte.commands.signals import early

early(__name__)  # what follows takes long to import

from minilte.commands.train import main

if __name__ == "__main__":
    main.exit()
