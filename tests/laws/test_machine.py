"""Step a head, merge, change the number of processes, save and load, in any order: the oracle agrees after every action."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from minilte.comm import threads
from minilte.comm.communicator import Communicator
from minilte.comm.meetings import EVERYONE
from minilte.core.networks import forward
from minilte.job import checkpoint
from minilte.job.checkpoint import State
from minilte.laws import oracle
from minilte.laws.exact import as_layers, dense_settings, dense_start, redrawn
from minilte.laws.strategies import SMOOTH, cases, heads
from minilte.laws.world import build, gap

TOLERANCE = 1e-9  # rounding of a few dozen steps of numbers of size 1


class Explorers(RuleBasedStateMachine):
    """The library and the oracle side by side."""

    @initialize(case=cases(activation=SMOOTH, ranks=heads(3)))
    def begin(self, case):
        self.world = build(case)
        self.method, self.processes, self.time = self.world.method(), 1, 0
        self.main, self.heads = self.method.begin(), [self.method.enter(n) for n in range(case.heads)]
        self.oracle = oracle.Explorer(
            *dense_start(self.world), dense_settings(self.world), redraw=redrawn(self.world.plan)
        )

    @rule(n=st.integers(0, 2))
    def step_a_head(self, n):
        n %= len(self.heads)  # heads need not keep pace with each other between merges
        self.heads[n] = self.method.local(self.main, self.heads[n], self.time, self.time + 1)
        self.oracle.step(n, self.time, *self.world.task.batch(n, self.time))
        self.time += 1

    @rule()
    def merge(self):
        def work(transport):
            comm = Communicator(transport, len(self.heads))
            mine = [self.heads[n] for n in comm.mine]
            main, shown, mine, _ = EVERYONE.merge(comm, self.method, self.main, self.main, mine, self.time)
            return main, [self.method.hear(shown, head, self.time) for head in mine]

        everyone = threads.run(self.processes, work)
        self.main, self.heads = everyone[0][0], [head for _, mine in everyone for head in mine]
        self.oracle.merge(self.time)

    @rule(processes=st.sampled_from([1, 2, 3, 5]))
    def change_the_number_of_processes(self, processes):
        self.processes = processes

    @precondition(lambda self: self.time)
    @rule()
    def save_and_load(self):
        with tempfile.TemporaryDirectory() as folder:
            path = checkpoint.save(Path(folder), State(self.time, self.main, tuple(self.heads), {}), {})
            fresh = [self.method.enter(n) for n in range(len(self.heads))]
            state = checkpoint.load(path, self.method.begin(), fresh, {})
        self.main, self.heads = state.main, list(state.heads)

    @invariant()
    def the_main_weights_are_the_oracles(self):
        if hasattr(self, "main"):
            assert gap(as_layers(self.main.weights), self.oracle.weights()) < TOLERANCE

    @invariant()
    def every_head_computes_what_the_oracles_does(self):
        if not hasattr(self, "main"):
            return
        x = np.ones((2, self.world.case.widths[0]))
        act = oracle.ACTIVATIONS[self.world.case.activation]
        for head in self.heads:
            got = forward(self.world.task.net, self.world.eyes(self.main, head), x)[0]
            expected, layers = x, self.oracle.own(head.index)
            for i, (W, c) in enumerate(layers):
                z = expected @ W.T + (0 if c is None else c)
                expected = act(z) if i < len(layers) - 1 else z
            assert gap(got, expected) < TOLERANCE


TestExplorers = Explorers.TestCase
TestExplorers.settings = settings(max_examples=40, stateful_step_count=20, deadline=None, derandomize=True)
