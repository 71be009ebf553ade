"""The bodies of the commands, and what each does."""

COMMANDS = {
    "train": "train a network; under mpirun, heads as MPI processes",
    "report": "runs as one page",
    "verify": "the laws of the method, tried on random cases",
    "compare": "methods on one fair ladder, each tuned alike",
    "experiments": "the paper's claims, measured",
    "cost": "memory and traffic before a run",
    "export": "the weights of a run, for other programs",
    "bench": "ratios against other code",
}
