"""The dense oracle: the whole method in its most obvious form, against which everything else is tested.

Float64, dense, head after head, each with an explicit m x n matrix; no factor tricks, no trees, no processes. Slow on
purpose, and short enough to check by eye against the formulas of the paper. It uses no arithmetic of `minilte.core`:
activations are differentiated by complex step, and gradients of factors come from the dense gradient.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

ACTIVATIONS = {
    "identity": lambda z: z,
    "relu": lambda z: np.where(np.real(z) > 0, z, 0),
    "tanh": np.tanh,
    "gelu-tanh": lambda z: z / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3))),
}


class Settings(NamedTuple):
    """The settings of a step and of a merge."""

    lr: Callable[[int], float]  # of a step
    activation: str = "tanh"
    optimizer: str = "sgd"  # or "adamw"
    momentum: float = 0.0
    nesterov: bool = False
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    decay: float = 0.0  # coupled for sgd, decoupled for adamw
    clip: float = math.inf
    every: int = 1  # T
    reset: str = "none"  # or "b", "ab"
    reset_optimizer: bool = False
    replicas: str = "average"  # or "frozen"


def gradients(layers: list, activation: str, x, y):
    """Loss and (dW, dc) of every layer of an MLP; y of integers is labels (cross-entropy), else targets (squares)."""
    act, inputs, sums = ACTIVATIONS[activation], [x], []
    for W, c in layers:
        sums.append(inputs[-1] @ W.T + (0 if c is None else c))
        inputs.append(act(sums[-1]))
    z, b = sums[-1], len(x)
    if np.issubdtype(y.dtype, np.integer):
        p = np.exp(z - z.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        loss = -np.mean(np.log(p[np.arange(b), y]))
        dz = (p - np.eye(z.shape[1])[y]) / b
    else:
        loss, dz = np.mean(((z - y) ** 2).sum(axis=1)), 2 * (z - y) / b
    grads = []
    for i in reversed(range(len(layers))):
        grads.insert(0, (dz.T @ inputs[i], dz.sum(axis=0)))
        if i:
            dz = (dz @ layers[i][0]) * np.imag(act(sums[i - 1] + 1e-30j)) / 1e-30
    return loss, grads


def move(params: dict, grads: dict, memory: dict, lr: float, s: Settings) -> None:
    """One optimizer step on every parameter, in place; `memory` holds the optimizer's state."""
    size = math.sqrt(sum((grads[key] ** 2).sum() for key in params))
    for key, p in params.items():
        g, old = grads[key] * min(1, s.clip / size if size else 1), memory.setdefault(key, {})
        if s.optimizer == "sgd":
            g = g + s.decay * p
            old["buf"] = s.momentum * old.get("buf", 0) + g
            p -= lr * (g + s.momentum * old["buf"] if s.nesterov else old["buf"])
        else:
            (b1, b2), t = s.betas, old.get("t", 0) + 1
            old["t"], old["m"] = t, b1 * old.get("m", 0) + (1 - b1) * g
            old["v"] = b2 * old.get("v", 0) + (1 - b2) * g**2
            p *= 1 - lr * s.decay
            p -= lr * (old["m"] / (1 - b1**t)) / (np.sqrt(old["v"] / (1 - b2**t)) + s.eps)


def train(params: dict, see: Callable, chain: Callable, batch: Callable, steps: int, s: Settings):
    """Plain training: see(params) is a list of (W, c), chain(grads) the gradient of `params`; yields see(params)."""
    memory: dict = {}
    for t in range(steps):
        _, grads = gradients(see(params), s.activation, *batch(t))
        move(params, chain(grads), memory, s.lr(t), s)
        yield [(W.copy(), None if c is None else c.copy()) for W, c in see(params)]


def full(weights: list, batch: Callable, steps: int, s: Settings):
    """Full-rank training of [(W, c), …] on batch(t); yields the weights after every step."""
    params = {(i, k): a.copy() for i, layer in enumerate(weights) for k, a in enumerate(layer) if a is not None}
    see = lambda p: [(p[i, 0], p.get((i, 1))) for i in range(len(weights))]  # noqa: E731
    chain = lambda grads: {(i, k): grads[i][k] for i, k in params}  # noqa: E731
    return train(params, see, chain, batch, steps, s)


def mhlora(weights: list, adapters: list, scales: list, batch: Callable, steps: int, s: Settings):
    """All heads on the same batch: y = x W^T + (1/N) sum_n s_n x (B_n A_n)^T; adapters[n][i] = (A, B), scales[n][i].

    LoRA is N = 1. Yields the effective weights after every step.
    """
    N, params = len(adapters), {}
    for n, head in enumerate(adapters):
        for i, (A, B) in enumerate(head):
            params[n, i, "A"], params[n, i, "B"] = A.copy(), B.copy()
    for i, (_, c) in enumerate(weights):
        if c is not None and s.replicas == "average":
            params[i, "c"] = c.copy()

    def see(p):
        low = [sum(scales[n][i] / N * p[n, i, "B"] @ p[n, i, "A"] for n in range(N)) for i in range(len(weights))]
        return [(W + low[i], p.get((i, "c"), c)) for i, (W, c) in enumerate(weights)]

    def chain(grads):
        out = {(i, "c"): dc for i, (_, dc) in enumerate(grads)}
        for n in range(N):
            for i, (G, _) in enumerate(grads):
                k = scales[n][i] / N
                out[n, i, "A"], out[n, i, "B"] = k * params[n, i, "B"].T @ G, k * G @ params[n, i, "A"].T
        return out

    return train(params, see, chain, batch, steps, s)


def fedavg(weights: list, heads: int, batch: Callable, steps: int, s: Settings, rate=1.0, momentum=0.0):
    """Every head takes T = s.every steps on batch(n, t) from the main weights; then a Nesterov step along their mean.

    Rate 1 without momentum is FedAvg, else DiLoCo. Yields the weights after every round.
    """
    main = {(i, k): a.copy() for i, layer in enumerate(weights) for k, a in enumerate(layer) if a is not None}
    memory: list[dict] = [{} for _ in range(heads)]
    buf = {key: np.zeros_like(a) for key, a in main.items()}
    layers = lambda p: [(p[i, 0], p.get((i, 1))) for i in range(len(weights))]  # noqa: E731
    for start in range(0, steps, s.every):
        own = [{key: a.copy() for key, a in main.items()} for _ in range(heads)]
        for t in range(start, min(start + s.every, steps)):
            for n in range(heads):
                _, grads = gradients(layers(own[n]), s.activation, *batch(n, t))
                move(own[n], {(i, k): grads[i][k] for i, k in main}, memory[n], s.lr(t), s)
        for key in main:
            d = main[key] - sum(p[key] for p in own) / heads
            buf[key] = momentum * buf[key] + d
            main[key] = main[key] - rate * (d + momentum * buf[key])
        yield layers(main)


class Explorer:
    """LTE's whole state as plain matrices: `step` moves one head, `merge` moves the main weights.

    weights is [(W, c), …]; adapters[n][i] = (A, B) of head n in layer i, scales[n][i] its s; w[n] is the head's share
    in a merge (default 1/N), factor[n] scales its gradient (default 1); redraw(n, t)[i] is a fresh A for reset "ab".
    """

    def __init__(self, weights, adapters, scales, s: Settings, w=None, factor=None, redraw=None):
        self.N, self.L, self.s, self.scales, self.redraw = len(adapters), range(len(weights)), s, scales, redraw
        self.w, self.factor = w or [1 / self.N] * self.N, factor or [1.0] * self.N
        self.W, self.c = [W.copy() for W, _ in weights], [None if c is None else c.copy() for _, c in weights]
        self.A = [[A.copy() for A, _ in head] for head in adapters]
        self.B = [[B.copy() for _, B in head] for head in adapters]
        self.V = [[np.zeros_like(self.W[i]) for i in self.L] for _ in adapters]
        self.bias = [[None if c is None else c.copy() for c in self.c] for _ in adapters]
        self.memory: list[dict] = [{} for _ in adapters]

    def own(self, n: int) -> list:
        """The effective network of head n: W - s V + s B A, and the head's own biases."""
        s, B, A, V = self.scales[n], self.B[n], self.A[n], self.V[n]
        return [(self.W[i] - s[i] * V[i] + s[i] * B[i] @ A[i], self.bias[n][i]) for i in self.L]

    def step(self, n: int, t: int, x, y) -> None:
        """One local step of head n."""
        _, grads = gradients(self.own(n), self.s.activation, x, y)
        params, g = {}, {}
        for i, (G, dc) in enumerate(grads):
            k = self.factor[n] * self.scales[n][i]
            params[i, "A"], g[i, "A"] = self.A[n][i], k * self.B[n][i].T @ G
            params[i, "B"], g[i, "B"] = self.B[n][i], k * G @ self.A[n][i].T
            if self.c[i] is not None and self.s.replicas == "average":
                params[i, "c"], g[i, "c"] = self.bias[n][i], self.factor[n] * dc
        move(params, g, self.memory[n], self.s.lr(t), self.s)

    def merge(self, t: int) -> None:
        """W <- W + sum_n w_n s_n (B_n A_n - V_n), biases averaged; then V_n <- B_n A_n, or a reset."""
        w, heads = self.w, range(self.N)
        for i in self.L:
            self.W[i] = self.W[i] + sum(
                w[n] * self.scales[n][i] * (self.B[n][i] @ self.A[n][i] - self.V[n][i]) for n in heads
            )
            if self.c[i] is not None:
                self.c[i] = sum(w[n] * self.bias[n][i] for n in heads)
        for n in heads:
            for i in self.L:
                if self.s.reset != "none":
                    self.B[n][i] = np.zeros_like(self.B[n][i])
                if self.s.reset == "ab":
                    self.A[n][i] = self.redraw(n, t)[i].copy()
                self.V[n][i] = self.B[n][i] @ self.A[n][i]
                self.bias[n][i] = None if self.c[i] is None else self.c[i].copy()
            if self.s.reset_optimizer:
                self.memory[n] = {}

    def weights(self) -> list:
        """A copy of the main weights, [(W, c), …]."""
        return [(W.copy(), None if c is None else c.copy()) for W, c in zip(self.W, self.c)]


def lte(weights, adapters, scales, batch: Callable, steps: int, s: Settings, w=None, factor=None, redraw=None):
    """LoRA-the-Explorer on batch(n, t) -> x, y; yields the main weights after every merge. See `Explorer`."""
    state = Explorer(weights, adapters, scales, s, w, factor, redraw)
    for t in range(steps):
        for n in range(state.N):
            state.step(n, t, *batch(n, t))
        if (t + 1) % s.every == 0 or t + 1 == steps:
            state.merge(t + 1)
            yield state.weights()
