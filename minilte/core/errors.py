"""What minilte raises when it cannot go on: one line for a person, one exit code for a script."""


class MinilteError(Exception):
    """An error whose message is one clear line: what, where, expected, got, remedy."""

    code = 70
    agreed = False  # does every process of the job raise it? Then all leave with one line, else one ends the job


class BadInput(MinilteError):
    """The caller can mend it: a flag, a config, a file, a shape."""

    code = 2


class DiskTrouble(MinilteError):
    """The run folder could not be written; what was there before is intact."""

    code = 74


class ProcessLost(MinilteError):
    """A process is silent or missing."""

    code = 75


class ProcessesDisagree(MinilteError):
    """Two processes hold different ideas of the same run."""

    code = 76


class Diverged(MinilteError):
    """The numbers left the range in which training makes sense."""

    code = 77
