"""Step a head, merge, change the number of ranks, save and load, in any order: the oracle agrees after every action."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from minilte.comm import threads
from minilte.comm.communicator import Ranks
from minilte.core.head import seen
from minilte.core.networks import forward
from minilte.laws import oracle
from minilte.laws.dense import dense_settings
from minilte.laws.strategies import SMOOTH, cases, heads
from minilte.laws.world import build, gap
from minilte.job import checkpoint
from minilte.job.checkpoint import State

TOLERANCE = 1e-9  # rounding of a few dozen steps of numbers of size 1


class Explorers(RuleBasedStateMachine):
    """The library and the oracle side by side."""

    @initialize(case=cases(activation=SMOOTH, ranks=heads(3)))
    def begin(self, case):
        self.world = build(case)
        self.method, self.ranks, self.time = self.world.method(), 1, 0
        self.main, self.heads = self.method.begin(), [self.method.enter(n) for n in range(case.heads)]
        plan, weights = self.world.plan, self.world.task.weights
        pairs = lambda n, step=0: [tuple(pair) for pair in plan.draw(n, step).values()]  # noqa: E731
        self.oracle = oracle.Explorer(
            [tuple(layer) for layer in weights.values()],
            [pairs(n) for n in range(case.heads)],
            [list(scales.values()) for scales in plan.scales],
            dense_settings(self.world),
            redraw=lambda n, step: [A for A, _ in pairs(n, step)],
        )

    @rule(n=st.integers(0, 2))
    def step_a_head(self, n):
        n %= len(self.heads)  # heads need not keep pace with each other between merges
        (self.heads[n],) = self.method.local(self.main, [self.heads[n]], self.time, self.time + 1, map)
        self.oracle.step(n, self.time, *self.world.task.batch(n, self.time))
        self.time += 1

    @rule()
    def merge_and_restart(self):
        def work(transport):
            comm = Ranks(transport, len(self.heads))
            main, _ = self.method.merge(comm, self.main, [self.heads[n] for n in comm.mine], self.time)
            return main, [self.method.restart(main, self.heads[n], self.time) for n in comm.mine]

        everyone = threads.run(self.ranks, work)
        self.main, self.heads = everyone[0][0], [head for _, mine in everyone for head in mine]
        self.oracle.merge(self.time)

    @rule(ranks=st.sampled_from([1, 2, 3, 5]))
    def change_the_number_of_ranks(self, ranks):
        self.ranks = ranks

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
            assert gap([tuple(layer) for layer in self.main.weights.values()], self.oracle.weights()) < TOLERANCE

    @invariant()
    def every_head_computes_what_the_oracles_does(self):
        if not hasattr(self, "main"):
            return
        x = np.ones((2, self.world.case.widths[0]))
        act = oracle.ACTIVATIONS[self.world.case.activation]
        for head in self.heads:
            params = seen(self.main.weights, head, self.world.plan.scales[head.index])
            got, expected, layers = forward(self.world.task.net, params, x)[0], x, self.oracle.own(head.index)
            for i, (W, c) in enumerate(layers):
                z = expected @ W.T + (0 if c is None else c)
                expected = act(z) if i < len(layers) - 1 else z
            assert gap(got, expected) < TOLERANCE


TestExplorers = Explorers.TestCase
TestExplorers.settings = settings(max_examples=40, stateful_step_count=20, deadline=None, derandomize=True)
