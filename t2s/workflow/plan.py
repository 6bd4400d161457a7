"""The plan of a study: the values that a rule sees, and the files that it makes for every suite, method and seed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from t2s import params
from t2s.data import assets, results
from t2s.data.files import files_below, write_text
from t2s.workflow import sources

GIVEN = Path(".snakemake/t2s/params")
"""Folder of the params files that jobs read. Each file is named by a digest of its content."""

FIGURES = {
    "success_matrix": "Success after every task",
    "learning_curves": "Learning curves",
    "forgetting": "Forgetting",
    "scores": "FWT, NBT and AUC",
    "tokens": "Tokens in the bank",
    "language": "Language and reuse",
    "losses": "Training losses",
}
"""Titles of the figures of a suite."""

Paths = list[str]


def typed(value: Any, key: str) -> Any:
    """The value of `--config key=value` with its type. Snakemake passes values inside braces as text.

    Raises: ValueError in one line for text that is no YAML.
    """
    if isinstance(value, dict):
        return {inner: typed(values, f"{key}.{inner}") for inner, values in value.items()}
    if isinstance(value, list):
        return [typed(inner, key) for inner in value]
    try:
        return yaml.safe_load(value) if isinstance(value, str) else value
    except (yaml.YAMLError, ValueError):
        raise ValueError(f"--config {key}: expected a value as in params.yaml, got {value!r}") from None


class Plan:
    """All files and values of one study."""

    def __init__(self, config: dict[str, Any], folder: str = "results", kept: bool = False) -> None:
        """`config` holds the sections of params.yaml with every override applied; methods may name a base in `of`.

        `folder` holds the results.

        `kept` says that the results are those of a kept study, not of a run.

        Raises: ValueError in one line for a mistake in `config`.
        """
        self.config, self.folder, self.kept = params.resolve(config), folder, kept
        self.params = params.check(self.config)
        self.study = self.params.study
        downloads = Path(self.params.download.folder)
        if self.params.demos.source == "download" and not kept and downloads.exists() and not downloads.is_dir():
            raise ValueError(f"params: download.folder: expected a folder, got a file '{downloads}'")

    def learner(self, method: str) -> str:
        """The learner of `method`."""
        return str(self.config["methods"][method]["learner"])

    # Values

    def sections(self, *names: str, method: str | None = None) -> dict[str, Any]:
        """Only these sections of the params: the values that a rule sees and whose changes rerun its jobs.

        `methods` holds only `method`, or those of the study, `evaluate.protocols` only the protocol in use, and
        `policy.resnet_t` is left out unless it is in use.
        """
        chosen = {name: self.config[name] for name in names}
        if "policy" in chosen and self.params.policy.network == "compact":
            chosen["policy"] = {key: value for key, value in self.config["policy"].items() if key != "resnet_t"}
        if method is not None or "methods" in chosen:
            methods = self.study.methods if method is None else [method]
            chosen["methods"] = {name: self.config["methods"][name] for name in methods}
        if "evaluate" in chosen:
            protocol = self.config["evaluate"]["protocol"]
            rules = {protocol: self.config["evaluate"]["protocols"][protocol]}
            chosen["evaluate"] = self.config["evaluate"] | {"protocols": rules}
        return chosen

    def given(self, *names: str, method: str | None = None) -> str:
        """Path of a params file with only these sections, for --params. Other values give another path."""
        return write_params(self.sections(*names, method=method))

    def given_all(self) -> str:
        """Path of a params file with all sections."""
        return write_params(self.config)

    def given_producing(self) -> str:
        """Path of a params file with the params that affect the numbers of the study."""
        return write_params(self.producing())

    def producing(self) -> dict[str, Any]:
        """The params that affect the numbers of the study, without those of figures, films and the engine."""
        return self.sections(*set(self.config) - {"engine", "figures", "film"})

    def starts(self, suite: str) -> list[int]:
        """The stored initial states from which scripted demonstrations start; none if the suite draws its own."""
        return params.states_of(self.params.evaluate).demonstrating if assets.needed(suite) else []

    def look(self, suite: str) -> list[str]:
        """The sections that decide how a suite's images look."""
        return ["env", "render"] if assets.needed(suite) else ["env"]

    # Inputs

    def code(self, command: str, method: str | None = None) -> Paths:
        """The files of t2s that a command imports. Of the learners, only that of `method` is included."""
        return list(sources.code(command, None if method is None else self.learner(method)))

    def producing_code(self) -> Paths:
        """The files of t2s that affect the numbers of the study."""
        return sources.producing(self.params.demos.source, map(self.learner, self.study.methods))

    def asset_files(self) -> Paths:
        """All files of LIBERO's scene assets, if a suite of the study needs them; otherwise none.

        Raises: ValueError in one line if they are needed and missing, or cannot be read.
        """
        if not any(map(assets.needed, self.study.suites)):
            return []
        paths = [str(path) for path in files_below(assets.check(self.params.assets.folder))]
        if braces := [path for path in paths if "{" in path or "}" in path]:  # wildcards of Snakemake
            raise ValueError(f"{braces[0]}: expected a path without any of '{{}}' for LIBERO's scene assets; rename it")
        return paths

    def scenes(self, suite: str) -> Paths:
        """The files that the simulator reads for a suite, except Python: arena, objects, tasks, initial states."""
        if assets.needed(suite):
            return ["results/assets.json"]
        others = set(params.SUITES) - {suite}
        files = [path for path in (sources.ROOT / "t2s/sim/blocks").rglob("*") if path.is_file()]
        kept = [path for path in files if path.suffix not in {".py", ".pyc"} and not others & set(path.parts)]
        return sorted(str(path.relative_to(sources.ROOT)) for path in kept)

    def policies(self, suite: str, method: str, seed: str | int, n_tasks: str | int) -> Paths:
        """The kept policies of the first `n_tasks` tasks of a chain."""
        chain = f"{self.folder}/runs/{suite}/{method}/seed{seed}"
        return [f"{chain}/task{k}/policy.safetensors" for k in range(int(n_tasks))]

    def before(self, suite: str, method: str, seed: str | int, stage: str | int, task: str | int) -> Paths:
        """The records of a task at the previous stage; none if the task was just learned."""
        path = f"{self.folder}/episodes/{suite}/{method}/seed{seed}/stage{int(stage) - 1}_task{task}.jsonl"
        return [path] if int(task) < int(stage) else []

    # Outputs

    def chains(self) -> Iterator[str]:
        """`suite/method/seed` of every chain of the study."""
        for suite, method, seed in self.study.chains():
            yield f"{suite}/{method}/seed{seed}"

    def episodes(self) -> Paths:
        """All episode records of the study."""
        return self._records(results.EPISODES, (f"episodes/{name}.jsonl" for name in self._rollouts()))

    def learned(self) -> Paths:
        """The files that say what learning each task of the study added and cost."""
        return self._records(results.LEARNED, (f"runs/{name}/learn.json" for name in self._tasks()))

    def losses(self) -> Paths:
        """The training losses of every task of the study."""
        return self._records(results.LOSSES, (f"runs/{name}/losses.csv" for name in self._tasks()))

    def benchmarks(self) -> Paths:
        """The files with time and memory of every job that learned or rolled out."""
        jobs = [*(f"learn/{name}" for name in self._tasks()), *(f"evaluate/{name}" for name in self._rollouts())]
        return self._records(results.COSTS, (f"benchmarks/{job}.tsv" for job in jobs))

    def films(self) -> Paths:
        """The lists of films of every method's last policy, for the first seed."""
        first = f"seed{self.study.seeds[0]}"
        return [f"{self.folder}/films/{chain}/films.json" for chain in self.chains() if chain.endswith(f"/{first}")]

    def drawn(self) -> list[str]:
        """Names of the figures that have something to show. Those of tokens and reuse need a T2S learner."""
        hidden = set() if "t2s" in map(self.learner, self.study.methods) else {"tokens", "language"}
        hidden |= {"language", "forgetting"} if self.study.n_tasks == 1 else set()
        return [figure for figure in FIGURES if figure not in hidden]

    def tables(self) -> Paths:
        """Every table in every format. The mean needs several suites, the differences need several methods."""
        names = ["headline", "metrics", "success", "tasks", "cost", "published"]
        names += ["mean"] if len(self.study.suites) > 1 else []
        names += ["differences"] if len(self.study.methods) > 1 else []
        return [f"{self.folder}/tables/{name}.{suffix}" for name in names for suffix in ("md", "tex", "csv")]

    def figures(self, kind: str = "png") -> Paths:
        """Every figure of every suite as PNG or PDF, and the scores in the mean if there are several suites."""
        folder = {"png": "figures", "pdf": "pdf"}[kind]
        names = [f"{suite}/{figure}" for suite in self.study.suites for figure in self.drawn()]
        names += [f"{params.MEAN}/scores"] if len(self.study.suites) > 1 else []
        return [f"{self.folder}/{folder}/{name}.{kind}" for name in names]

    # Resources

    def images_mb(self, method: str, task: str | int) -> int:
        """Memory [MB] of the images that learning a task reads. They are held twice while they are joined."""
        n_tasks = int(task) + 1 if self.learner(method) in {"er", "multitask"} else 1
        n_frames = 2 * self.params.demos.n_demos * 300  # libero_10 has about 270 steps per demonstration
        return 2 * n_tasks * n_frames * self.params.env.image_size**2 * 3 // 10**6

    def activations_mb(self, method: str) -> int:
        """Memory [MB] of what resnet_t keeps of a batch for its gradients, if it learns on a CPU."""
        if self.params.policy.network == "compact" or self.params.learn.device == "cuda":
            return 0
        n_windows = self.params.learn.batch_size + self.config["methods"][method].get("n_replayed", 0)
        n_pixels = n_windows * 2 * self.params.policy.values.n_frames * self.params.env.image_size**2
        return 500 * n_pixels // 10**6  # measured: 410 bytes a pixel

    def _records(self, kept: str, paths: Iterable[str]) -> Paths:
        """The files of a run, or the one file that replaces them in a kept study."""
        if self.kept:
            return [f"{self.folder}/{kept}"]
        return [f"{self.folder}/{path}" for path in paths]

    def _tasks(self) -> Iterator[str]:
        for chain in self.chains():
            yield from (f"{chain}/task{task}" for task in range(self.study.n_tasks))

    def _rollouts(self) -> Iterator[str]:
        for chain in self.chains():
            yield from (f"{chain}/{name}" for name in results.rollouts(self.study.n_tasks))


def write_params(sections: dict[str, Any]) -> str:
    """Write `sections` to a JSON file named by a digest of its content, and return its path.

    Raises: ValueError if it cannot be written.
    """
    text = json.dumps(sections, sort_keys=True, indent=2) + "\n"
    path = GIVEN / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
    if not path.is_file():
        write_text(path, text)
    return str(path)
