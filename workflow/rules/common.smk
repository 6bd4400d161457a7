# What the rules share. t2s/workflow does the computing.

import re
import sys
from pathlib import Path

from snakemake.utils import update_config

ROOT = Path(workflow.current_basedir).parents[1].resolve()
sys.path.insert(0, str(ROOT))

from t2s import params
from t2s.data import origin
from t2s.workflow import plan, shell as job_shell


def or_exit(function, *arguments):
    """Return what the function returns. On a ValueError, print it in one line and exit."""
    try:
        return function(*arguments)
    except ValueError as error:
        sys.exit(f"error: {error}")


given = workflow.config_settings.config or {}
update_config(config, {k: plan.typed(v) for k, v in given.items() if k in config})
PLAN = or_exit(plan.Plan, config, RESULTS, RESULTS != "results")
STUDY = PLAN.study
TASKS = range(STUDY.n_tasks)  # task numbers in the order of learning
ORDER = STUDY.suite_tasks  # the same tasks by their numbers in the suite
EPOCHS = PLAN.params.learn.eval_epochs
N_GPUS = int(PLAN.params.learn.device == "cuda")  # of a job that learns or rolls out
ON_GPU = "workflow/scripts/gpu_slot.sh" if N_GPUS else ""
ROLLOUT_CORES = STUDY.rollout_cores(
    workflow.resource_settings.cores if workflow.is_main_process else None
)
CACHE = "results/cache"  # what was learned or rolled out, keyed by what it depends on
CHAIN = "{suite}/{method}/seed{seed}"

shell.prefix(
    or_exit(
        job_shell.prefix,
        ROOT,
        PLAN.params.assets.folder,
        (
            None
            if workflow.deployment_settings.deployment_method
            else Path(sys.executable)
        ),
    )
)
ALIVE = or_exit(job_shell.alive) if workflow.is_main_process else None  # None on a node
if ALIVE and "--touch" not in sys.argv and job_shell.untracked():
    print(
        "note: results/ has files that Snakemake did not make here: it takes them for those of this code and these"
        " params; after `dvc pull`, see `make pull`",
        file=sys.stderr,
    )


wildcard_constraints:
    suite="|".join(params.SUITES),
    method="|".join(map(re.escape, config["methods"])),
    seed=r"\d+",
    stage=r"\d+",
    task=r"\d+",


def given_look(wildcards, *names, method=None):
    """The params file of a job that renders or reads images of a suite."""
    return PLAN.given(*PLAN.look(wildcards.suite), *names, method=method)


def digest(*files):
    """One digest of these files. It is part of the key of the cache."""
    return origin.digest([Path(path) for path in files])
