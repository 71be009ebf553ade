"""Local steps as the textbook takes them."""

from collections.abc import Sequence

from minilte.core.lora import Plan
from minilte.core.method import Method
from minilte.core.types import Task
from minilte.settings.part import part


@part("local_steps", "plain")
class Plain:
    """Every head by itself, V as factors beside W."""

    def wrap(self, method: Method, task: Task, plan: Plan, factor: Sequence[float]) -> Method:
        return method
