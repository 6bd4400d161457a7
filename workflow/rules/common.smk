# What the rules share: the checked params, the sections a rule sees, the code a command is made of.

import ast
import fcntl
import functools
import json
import logging
import re
import shlex
import shutil
import sys
from pathlib import Path

import yaml
from snakemake.utils import update_config

ROOT = Path(workflow.current_basedir).parents[1].resolve()
sys.path.insert(0, str(ROOT))

import t2s.data.assets
import t2s.params


def typed(value):
    """The value of a --config option: Snakemake hands on what is inside braces as text."""
    if isinstance(value, dict):
        return {key: typed(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [typed(inner) for inner in value]
    return yaml.safe_load(value) if isinstance(value, str) else value


def checked(config):
    """The validated params, or one line on what is wrong and the end."""
    try:
        return t2s.params.check(dict(config))
    except ValueError as error:
        sys.exit(f"error: {error}")


given = workflow.config_settings.config or {}
update_config(
    config, {key: typed(value) for key, value in given.items() if key in config}
)
PARAMS = checked(config)
STUDY = PARAMS.study
TASKS = range(STUDY.n_tasks)  # in the order of learning
ORDER = STUDY.suite_tasks  # the same by their numbers in the suite
EPOCHS = PARAMS.learn.eval_epochs
N_GPUS = int(PARAMS.learn.device == "cuda")  # of a job that learns or rolls out
CACHE = "results/cache"  # of what was learned and rolled out, by what it depends on
ON_GPU = "workflow/scripts/gpu_slot.sh" if N_GPUS else ""
ROLLOUT_CORES = STUDY.rollout_cores(
    workflow.resource_settings.cores if workflow.is_main_process else None
)
CHAIN = "{suite}/{method}/seed{seed}"
LOCK = Path(".snakemake/t2s.lock")
PREFIX = "set -euo pipefail; "  # Snakemake's own, which any other prefix replaces
PREFIX += f'exec 8<"{LOCK}"; flock --shared 8 || :; '
PREFIX += f'export T2S_LIBERO_ASSETS="{PARAMS.assets.folder}"; '
if not workflow.deployment_settings.deployment_method:
    # Whoever calls Snakemake by its path gets the Python it belongs to.
    PREFIX += f'export PATH="{Path(sys.executable).parent}:$PATH"; '
shell.prefix(PREFIX)


def alive():
    """A file that this Snakemake and its jobs (PREFIX) share a lock on as long as they live.

    Snakemake's own locks stay behind when it is killed. Where nobody shares this one, those are of no use.
    """
    try:
        LOCK.parent.mkdir(exist_ok=True)
        file = LOCK.open("w")
    except OSError as error:
        sys.exit(f"error: {LOCK}: could not be written: {error.strerror}")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(LOCK.with_name("locks"), ignore_errors=True)
        fcntl.flock(file, fcntl.LOCK_SH)
    except BlockingIOError:
        print(
            "note: another snakemake, or a job of one, runs in this folder",
            file=sys.stderr,
        )
        fcntl.flock(file, fcntl.LOCK_SH)
    except OSError:  # a file system without locks: nothing is known, nothing removed
        pass
    return file


ALIVE = alive() if workflow.is_main_process else None  # not in a job on a node
if ALIVE and "--touch" not in sys.argv and Path("results/runs").is_dir():
    if not any(Path(".snakemake/metadata").glob("*")):
        print(
            "note: results/ has files that Snakemake did not make here: it takes them for those of this code and these"
            " params; after `dvc pull`, see `make pull`",
            file=sys.stderr,
        )


def interrupted(number, frame):
    """What the jobs that Ctrl-C ends say is nobody's concern."""
    logging.disable()
    raise KeyboardInterrupt


wildcard_constraints:
    suite="|".join(t2s.params.SUITES),
    method="|".join(map(re.escape, config["methods"])),
    seed=r"\d+",
    stage=r"\d+",
    task=r"\d+",


def sections(*names, method=None):
    """JSON of exactly these sections of the params: what a rule sees, and what makes it run again.

    Of `methods` only `method`, of the protocols only the one in force.
    """
    chosen = {name: config[name] for name in names}
    if method is not None:
        chosen["methods"] = {method: config["methods"][method]}
    if "evaluate" in chosen:
        protocol = config["evaluate"]["protocol"]
        rules = {protocol: config["evaluate"]["protocols"][protocol]}
        chosen["evaluate"] = config["evaluate"] | {"protocols": rules}
    return json.dumps(chosen, sort_keys=True)


def workers(threads):
    """Options of a rollout that change no record, and so must not make one again.

    A rule's params that depend on its threads do not: Snakemake compares only the others.
    """
    return f"--workers {threads} --engine {shlex.quote(sections('engine'))}"


@functools.cache  # a large study asks for it thousands of times
def code(command, method=None):
    """The files of t2s that a command imports, its own included, as Snakemake tracks none.

    Of the learners only the one of `method`, with what it imports, and not the list of them. Without
    t2s/params.py: it only checks values, and those are in `params:` of every rule.
    """
    learners = {f"t2s.lifelong.{name}" for name in ["methods", *t2s.params.LEARNERS]}
    found = closure(f"t2s.{command}", set(), learners)
    if method is not None:
        learner = config["methods"][method]["learner"]
        found = closure(f"t2s.lifelong.{learner}", found, set())
    found.discard(ROOT / "t2s/params.py")
    return sorted(str(path.relative_to(ROOT)) for path in found)


def closure(module, found, ignored):
    """`found` and the files that `module` imports, directly or not, past modules that are ignored."""
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = source(name)
        if path and path not in found and name not in ignored:
            found.add(path)
            waiting += imports(path)
    return found


@functools.cache
def source(module):
    """The file of a module of t2s, or None."""
    path = ROOT / Path(*module.split("."))
    files = [path.with_suffix(".py"), path / "__init__.py"]
    return next((file for file in files if file.is_file()), None)


@functools.cache
def imports(path):
    """Names that the file imports from t2s, wherever in it, and the packages they lie in."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{a.name}" for a in node.names}
    within = [name.split(".") for name in names if name.split(".")[0] == "t2s"]
    return {".".join(parts[: i + 1]) for parts in within for i in range(len(parts))}


def producing_code():
    """The files of t2s that reach a number of the study: those of every command up to the metrics."""
    source = "download" if PARAMS.demos.source == "download" else "demos"
    found = {*code(source), *code("language"), *code("choose"), *code("metrics")}
    for method in STUDY.methods:
        found |= {*code("learn", method), *code("evaluate", method)}
    return sorted(found)


def producing_sections():
    """JSON of the params that reach a number of the study, and so not of what draws."""
    names = set(config) - {"engine", "figures", "film"}
    chosen = json.loads(sections(*names))
    chosen["methods"] = {name: config["methods"][name] for name in STUDY.methods}
    return json.dumps(chosen, sort_keys=True)


def asset_files():
    """All of LIBERO's scene assets, where a suite of the study is LIBERO's; without them the end, in one line."""
    if not any(map(t2s.data.assets.needed, STUDY.suites)):
        return []
    folder = PARAMS.assets.folder
    try:
        t2s.data.assets.check(folder)
    except ValueError as error:
        sys.exit(f"error: {error}")
    return [str(path) for path in sorted(folder.rglob("*")) if path.is_file()]


def look(wildcards):
    """The sections that say how a suite's images come about."""
    return ["env", "render"] if t2s.data.assets.needed(wildcards.suite) else ["env"]


def scenes(wildcards):
    """What the simulator reads of a suite that is not Python: arena, objects, tasks, states."""
    if t2s.data.assets.needed(wildcards.suite):
        return ["results/assets.json"]
    others = set(t2s.params.SUITES) - {wildcards.suite}
    paths = [path for path in (ROOT / "t2s/sim/blocks").rglob("*") if path.is_file()]
    kept = [
        p
        for p in paths
        if p.suffix not in {".py", ".pyc"} and not others & set(p.parts)
    ]
    return sorted(str(path.relative_to(ROOT)) for path in kept)


def upto(pattern, n):
    """`pattern` for every task before the `n`-th, its other wildcards left open."""
    return [pattern.replace("{task}", str(task)) for task in range(int(n))]


def images_mb(wildcards):
    """Memory [MB] of the images that learning a task reads; twice, while they are joined."""
    learner = config["methods"][wildcards.method]["learner"]
    n_tasks = int(wildcards.task) + 1 if learner in {"er", "multitask"} else 1
    n_frames = 2 * PARAMS.demos.n_demos * 300  # libero_10: about 270 of each
    return 2 * n_tasks * n_frames * PARAMS.env.image_size**2 * 3 // 10**6


def runs(wildcards):
    """The folder of one chain's policies."""
    return f"results/runs/{wildcards.suite}/{wildcards.method}/seed{wildcards.seed}"


def before(wildcards):
    """The records of the same task one stage earlier; none where the task was just learned."""
    stage, task = int(wildcards.stage), int(wildcards.task)
    chain = f"{wildcards.suite}/{wildcards.method}/seed{wildcards.seed}"
    return [f"results/episodes/{chain}/stage{stage - 1}_task{task}.jsonl"] * (
        task < stage
    )


def chains(pattern, **lists):
    """`pattern` for every suite, method and seed of the study."""
    return expand(
        pattern,
        suite=STUDY.suites,
        method=STUDY.methods,
        seed=STUDY.seeds,
        **lists,
    )


def episodes():
    """All episode records of the study."""
    curves = chains(f"{RESULTS}/episodes/{CHAIN}/task{{task}}_curve.jsonl", task=TASKS)
    kept = [
        path
        for stage in TASKS
        for task in range(stage + 1)
        for path in chains(
            f"{RESULTS}/episodes/{CHAIN}/stage{stage}_task{task}.jsonl",
        )
    ]
    return curves + kept


def learned():
    """What learning each task of the study cost."""
    return chains(f"{RESULTS}/runs/{CHAIN}/task{{task}}/learn.json", task=TASKS)


def losses():
    """The training losses of every task of the study."""
    return chains(f"{RESULTS}/runs/{CHAIN}/task{{task}}/losses.csv", task=TASKS)


def benchmarks():
    """Time and memory of every job of the study that learned or rolled out."""
    learn = chains(f"{RESULTS}/benchmarks/learn/{CHAIN}/task{{task}}.tsv", task=TASKS)
    return learn + [
        path.replace("episodes/", "benchmarks/evaluate/").replace(".jsonl", ".tsv")
        for path in episodes()
    ]


def films():
    """What the last policy of every method does, one film a task, for the first seed."""
    return expand(
        "results/films/{suite}/{method}/seed{seed}/films.json",
        suite=STUDY.suites,
        method=STUDY.methods,
        seed=STUDY.seeds[:1],
    )


FIGURES = {
    "success_matrix": "Success after every task",
    "learning_curves": "Learning curves",
    "forgetting": "Forgetting",
    "scores": "FWT, NBT and AUC",
    "tokens": "Tokens in the bank",
    "language": "Language and reuse",
    "losses": "Training losses",
}


def drawn():
    """The figures that have something to show: growth and reuse are those of learners with tokens."""
    learners = [config["methods"][method]["learner"] for method in STUDY.methods]
    hidden = set() if "t2s" in learners else {"tokens", "language"}
    hidden |= {"language", "forgetting"} if STUDY.n_tasks == 1 else set()
    return [figure for figure in FIGURES if figure not in hidden]


def tables():
    """Every table in Markdown, LaTeX and CSV; a mean is one of several suites, differences are of several methods."""
    names = ["headline", "success", "tasks", "cost", "published"]
    names += ["mean"] if len(STUDY.suites) > 1 else []
    names += ["differences"] if len(STUDY.methods) > 1 else []
    return expand(
        f"{RESULTS}/tables/{{table}}.{{ext}}", table=names, ext=["md", "tex", "csv"]
    )


def figures(pattern="figures/{suite}/{figure}.png"):
    """Every figure of every suite, and the scores in the mean over several."""
    of_suites = expand(f"{RESULTS}/{pattern}", suite=STUDY.suites, figure=drawn())
    of_mean = expand(f"{RESULTS}/{pattern}", suite="mean", figure="scores")
    return of_suites + of_mean * (len(STUDY.suites) > 1)
