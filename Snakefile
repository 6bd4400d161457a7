# The whole study: demonstrations, language embeddings, policies learned one task after another, rollouts, report.
#
#   snakemake --cores all                          the study of params.yaml, ending in results/report.html
#   snakemake --cores all --configfile FILE        values of FILE replace those of params.yaml
#   snakemake --cores all --config 'learn={lr: 1.0e-3}'
#   snakemake --cores 1 -n                         what would run, and why

import signal

from snakemake.utils import min_version

min_version("9.18")


include: "workflow/rules/start.smk"


configfile: "params.yaml"


report: "workflow/report/workflow.rst"


RESULTS = "results"


include: "workflow/rules/common.smk"
include: "workflow/rules/label.smk"
include: "workflow/rules/demos.smk"
include: "workflow/rules/language.smk"
include: "workflow/rules/learn.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/provenance.smk"
include: "workflow/rules/report.smk"


onstart:
    or_exit(job_shell.check_results, Path(RESULTS))
    # What cannot succeed ends here, before Snakemake removes the outputs of its jobs.
    due = {job.rule.name for job in workflow.dag.needrun_jobs()}
    if not workflow.touch:
        or_exit(try_jobs, due)
    signal.signal(signal.SIGINT, job_shell.interrupted)


onerror:
    print(
        "To continue, run the same command again. Finished files stay, and a task that was being learned resumes"
        " after its last epoch.",
        file=sys.stderr,
    )


# On a cluster, these run on the login node: they are too short for the queue.
localrules:
    all,
    all_demos,
    all_episodes,
    choose,
    figure_of_mean,
    figures,
    label,
    metrics,
    provenance,
    report,
    tables,


rule all:
    default_target: True
    input:
        "results/metrics.json",
        PLAN.tables(),
        PLAN.figures(),
        PLAN.figures("pdf"),
        "results/report.html",
    message:
        "The study is finished: open results/report.html"


rule all_demos:
    input:
        expand("results/demos/{suite}/task{task}.json", suite=STUDY.suites, task=ORDER),


rule all_episodes:
    input:
        PLAN.episodes(),
        PLAN.learned(),
