"""Full-rank training by data parallelism: every weight, every step."""

from minilte.core.method import Method
from minilte.core.types import Task
from minilte.methods.data_parallel import Trainee, data_parallel
from minilte.methods.facts import Facts
from minilte.settings.part import part


@part("method", "full", gives={"sums"})
class Full:
    """Data parallel training of all weights: T = 1, gradients averaged."""

    def build(self, task: Task, config) -> Method:
        return full(task)


def full(task: Task) -> Method:
    """W <- W - eta G, G the gradient of the whole batch's mean, by the task's optimizer."""
    whole = Trainee(task.weights, lambda weights: weights, lambda grads, _: grads, lambda weights: weights)

    def held(main, worker, all_heads):
        return {"weights": main.trained, "gradients": main.trained, "optimizer": main.opt if all_heads else None}

    return data_parallel(task, whole, Facts(held=held))
