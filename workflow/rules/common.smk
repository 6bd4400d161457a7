# What the rules share. t2s/workflow does the computing.

import re

from snakemake.utils import update_config

from t2s import packages
from t2s.data import origin
from t2s.workflow import plan, shell as job_shell

LIMITS = workflow.resource_settings
CORES = LIMITS.cores if workflow.is_main_process else None
given = [limit for limit in (CORES, LIMITS.nodes) if limit is not None]
if min(given, default=1) < 1:  # Snakemake would wait for ever
    sys.exit(
        "error: expected --cores and --jobs of at least 1; run `snakemake --cores all`"
    )
given = workflow.config_settings.config or {}
update_config(
    config, {k: or_exit(plan.typed, v, k) for k, v in given.items() if k in config}
)
PLAN = or_exit(plan.Plan, config, RESULTS, RESULTS != "results")
STUDY = PLAN.study
DEPLOYED = bool(workflow.deployment_settings.deployment_method)
if not DEPLOYED:  # otherwise, Snakemake's own Python need not have the packages
    or_exit(packages.check)
# The rollouts run again if somebody edits the files of these packages, tasks and initial states among them.
SIMULATOR = None if DEPLOYED else or_exit(packages.simulator)
TASKS = range(STUDY.n_tasks)  # task numbers in the order of learning
ORDER = STUDY.suite_tasks  # the same tasks by their numbers in the suite
EPOCHS = PLAN.params.learn.eval_epochs
N_GPUS = int(PLAN.params.learn.device == "cuda")  # of a job that learns or rolls out
ON_GPU = "workflow/scripts/gpu_slot.sh" if N_GPUS else ""
ROLLOUT_CORES = STUDY.rollout_cores(CORES)
CACHE = "results/cache"  # what was learned or rolled out, keyed by what it depends on
CHAIN = "{suite}/{method}/seed{seed}"

shell.prefix(
    or_exit(
        job_shell.prefix,
        ROOT,
        or_exit(lambda: PLAN.params.assets.folder),
        None if DEPLOYED else Path(sys.executable),
    )
)
job_shell.name_user()
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


def try_jobs(due):
    """Run commands that fail if the jobs of these rules would; note if a long study starts without a GPU."""
    where = "" if workflow.local_exec else "--cluster"
    on_gpu = {"evaluate_curve", "evaluate_kept", "film"} if N_GPUS else set()
    if due & ({"learn"} | on_gpu):
        shell(
            f"t2s estimate --notice {where} --params {PLAN.given_all()} --cores {CORES or 0}"
        )
    if "language" in due and PLAN.params.language.encoder not in params.ENCODERS:
        shell(
            f"t2s language --suite {STUDY.suites[0]} --params {PLAN.given('language')}"
            " --out .snakemake/t2s/tried.safetensors"
        )


def digest(*files):
    """One digest of these files. It is part of the key of the cache."""
    return origin.digest([Path(path) for path in files])
