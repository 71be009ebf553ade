"""The paper's claims, measured: python -m minilte.experiments."""

from minilte.commands.experiments import main

if __name__ == "__main__":
    main.exit()
