"""What training costs, before a run: python -m minilte.cost."""

from minilte.commands.signals import early

early(__name__)  # what follows takes long to import

from minilte.commands.cost import main

if __name__ == "__main__":
    main.exit()
