"""The places that the parts of a run fill, and the names of the parts: the one list that a new part is added to."""

from typing import NamedTuple


class Place(NamedTuple):
    """Something that a run has one of."""

    title: str  # of its settings in --help
    names: dict[str, str]  # of a part -> the module that defines it
    flag: str = ""  # the setting that chooses; "" where there is no choice
    default: str = ""
    help: str = ""
    always: bool = True  # else only where the method brings it
    other: str = ""  # the part for any other word, which becomes its `path`


def parts(folder: str, **modules: str) -> dict[str, str]:
    """module="name name …", as names with the modules that define them."""
    return {name: f"{folder}.{module}" for module, names in modules.items() for name in names.split()}


PLACES = {
    "data": Place(
        "data",
        parts("data", sources="fashion-mini fashion-mnist file", synthetic="least-squares"),
        "data",
        "fashion-mini",
        "a data set, or a path: folder of IDX, .npz, .csv",
        other="file",
    ),
    "network": Place(
        "network",
        parts("networks", mlp="mlp linear deep-linear", residual_mlp="residual-mlp"),
        "model",
        "mlp",
        "the network",
    ),
    "method": Place(
        "method",
        parts("methods", full="full", mhlora="lora mhlora", lte="lte", fedavg="fedavg diloco", fedit="fedit fedex"),
        "method",
        "lte",
        "how it is trained",
    ),
    "workers": Place("workers", parts("data", batches="workers")),
    "adapters": Place("adapters", parts("methods", adapters="adapters"), always=False),
    "rule": Place(
        "merge rule",
        parts("rules", mean="mean", telescope="telescope", outer="outer", ties="ties"),
        "merge_rule",
        "mean",
        "how the heads' factors become a change of W",
        always=False,
    ),
    "topology": Place(
        "topology",
        parts("comm", topologies="default auto allgather allreduce server"),
        "topology",
        "default",
        "who hears what at a merge",
    ),
    "wire": Place(
        "wire", parts("comm", wire="full float16 bfloat16"), "wire", "full", "how factors travel", always=False
    ),
    "guard": Place(
        "bad heads",
        parts("around", guarded="stop skip clip"),
        "bad_heads",
        "stop",
        "a head that is not finite, or (skip, clip) moved 3 times as far as the median",
        always=False,
    ),
    "quant": Place(
        "quantization",
        parts("around", quantized="none int8 int4 nf4"),
        "quant",
        "none",
        "how the heads see W",
        always=False,
    ),
    "local_steps": Place(
        "local steps",
        parts("steps", plain="plain", absorbed="absorbed", stacked="stacked"),
        "local_steps",
        "plain",
        "how the heads of a process take their steps",
        always=False,
    ),
    "optimizer": Place(
        "optimizer", parts("optimizers", adamw="adamw", sgd="sgd"), "optimizer", "adamw", "of every head"
    ),
    "schedule": Place(
        "schedule",
        parts("schedules", plain="constant linear cosine"),
        "schedule",
        "cosine",
        "of the learning rate after the warm-up",
    ),
    "run": Place("the run", parts("run", settings="run")),
}
