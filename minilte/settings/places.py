"""The places that the parts of a run fill, and the names of the parts: the one list that a new part is added to."""

from typing import NamedTuple


class Place(NamedTuple):
    """Something that a run has one of."""

    names: dict[str, str]  # of a part -> the module that defines it
    flag: str  # the setting that chooses; "" where there is no choice
    help: str
    title: str  # of its settings in --help
    default: str
    always: bool = True  # else only where the method brings it
    other: str = ""  # the part for any other word, which becomes its `path`


def place(names: dict[str, str], flag: str = "", help: str = "", **more) -> Place:
    """A place; its title is its flag and its default the first of its names, unless given."""
    usual = {"title": flag.replace("_", " "), "default": next(iter(names)) if flag else ""}
    return Place(names, flag, help, **usual | more)


def parts(folder: str, **modules: str) -> dict[str, str]:
    """module="name name …", as names with the modules that define them."""
    return {name: f"{folder}.{module}" for module, names in modules.items() for name in names.split()}


RULES = parts(  # that may also be the rule inside an outer step
    "rules",
    mean="mean",
    weighted="weighted",
    ties="ties",
    clipped="clipped",
    trimmed="trimmed",
    median="median",
    dare="dare",
    svd="svd",
    factor_mean="factor-mean",
    gram="gram",
)

PLACES = {
    "data": place(
        parts("data", sources="fashion-mini fashion-mnist file", synthetic="least-squares"),
        "data",
        "a data set, or a path: folder of IDX, .npz, .csv",
        other="file",
    ),
    "network": place(
        parts("networks", mlp="mlp linear deep-linear", residual_mlp="residual-mlp"),
        "model",
        "the network",
        title="network",
    ),
    "method": place(
        parts(
            "methods",
            full="full",
            mhlora="lora mhlora",
            lte="lte",
            dynamic="dynamic",
            fedavg="fedavg diloco",
            fedit="fedit fedex",
            galore="galore",
            flora_projected="flora-projected",
            adamix="adamix",
            relora="relora",
            flora_stacked="flora-stacked",
            shared_basis="shared-basis",
        ),
        "method",
        "how it is trained",
        default="lte",
    ),
    "workers": place(parts("data", batches="workers"), title="workers"),
    "adapters": place(parts("methods", adapters="adapters"), title="adapters", always=False),
    "rule": place(
        RULES | parts("rules", telescope="telescope", outer="outer"),
        "merge_rule",
        "how the heads' factors become a change of W",
        always=False,
    ),
    "inner_rule": place(
        dict.fromkeys(RULES, "rules.outer"),
        "outer_over",
        "the rule along which an outer step goes",
        title="the rule inside an outer step",
        always=False,
    ),
    "topology": place(
        parts("comm", topologies="default auto allgather allreduce server"),
        "topology",
        "who sends what to whom at a merge",
    ),
    "wire": place(
        parts("quant", wire="full float16 bfloat16 int8 int4 nf4"), "wire", "how factors travel", always=False
    ),
    "guard": place(
        parts("around", guarded="stop skip clip"),
        "bad_heads",
        "a head that is not finite, or (skip, clip) moved 3 times as far as the median",
        always=False,
    ),
    "quant": place(
        parts("around", quantized="none int8 int4 nf4"),
        "quant",
        "how the heads see W",
        title="quantization",
        always=False,
    ),
    "local_steps": place(
        parts("steps", plain="plain", absorbed="absorbed", stacked="stacked"),
        "local_steps",
        "how the heads of a process take their steps",
        always=False,
    ),
    "optimizer": place(parts("optimizers", adamw="adamw", sgd="sgd", muon="muon"), "optimizer", "of every head"),
    "schedule": place(
        parts("schedules", plain="constant linear cosine"),
        "schedule",
        "of the learning rate after the warm-up",
        default="cosine",
    ),
    "run": place(parts("run", settings="run"), title="the run"),
}
