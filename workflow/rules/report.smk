# RESULTS is `results`, or the folder of a finished study when studies/Snakefile includes this file.
rule metrics:
    input:
        code=PLAN.code("metrics"),
        episodes=PLAN.episodes(),
        learned=PLAN.learned(),
    output:
        metrics=f"{RESULTS}/metrics.json",
        headline=f"{RESULTS}/headline.json",
        success=f"{RESULTS}/success.csv",
        tasks=f"{RESULTS}/tasks.csv",
    log:
        f"{RESULTS}/logs/metrics.log",
    conda:
        "../envs/t2s.yaml"
    params:
        given=PLAN.given("study", "metrics", "evaluate", "env", "methods"),
        results=lambda w, output: Path(output.metrics).parent,
    message:
        "Compute FWT, NBT and AUC"
    shell:
        "t2s metrics --params {params.given:q} --results {params.results:q}"
        " 2>&1 | tee {log:q}"


rule tables:
    input:
        code=PLAN.code("tables"),
        published="t2s/report/reference_results.csv",
        metrics=rules.metrics.output.metrics,
        success=rules.metrics.output.success,
        tasks=rules.metrics.output.tasks,
        benchmarks=PLAN.benchmarks(),
    output:
        PLAN.tables(),
    log:
        f"{RESULTS}/logs/tables.log",
    conda:
        "../envs/t2s.yaml"
    params:
        given=PLAN.given("study", "metrics", "evaluate"),
        results=lambda w, input: Path(input.metrics).parent,
    message:
        "Write the tables"
    shell:
        "t2s tables --params {params.given:q} --results {params.results:q} 2>&1 | tee {log:q}"


rule figures:
    input:
        code=PLAN.code("figures"),
        metrics=rules.metrics.output.metrics,
        success=rules.metrics.output.success,
        tasks=rules.metrics.output.tasks,
        losses=PLAN.losses(),
    output:
        [
            report(
                f"{RESULTS}/figures/{{suite}}/{figure}.png",
                caption=f"../report/{figure}.rst",
                category="{suite}",
                labels={"figure": plan.FIGURES[figure]},
            )
            for figure in PLAN.drawn()
        ],
        [f"{RESULTS}/pdf/{{suite}}/{figure}.pdf" for figure in PLAN.drawn()],
    log:
        f"{RESULTS}/logs/figures/{{suite}}.log",
    conda:
        "../envs/t2s.yaml"
    params:
        suite="{suite}",
        given=PLAN.given("study", "figures"),
        results=lambda w, input: Path(input.metrics).parent,
    message:
        "Draw the figures of {wildcards.suite}"
    shell:
        "t2s figures --suite {params.suite} --params {params.given:q}"
        " --results {params.results:q} 2>&1 | tee {log:q}"


use rule figures as figure_of_mean with:
    input:
        code=PLAN.code("figures"),
        metrics=rules.metrics.output.metrics,
        success=rules.metrics.output.success,
        tasks=rules.metrics.output.tasks,
    output:
        report(
            f"{RESULTS}/figures/mean/scores.png",
            caption="../report/scores.rst",
            category="mean",
            labels={"figure": plan.FIGURES["scores"]},
        ),
        f"{RESULTS}/pdf/mean/scores.pdf",
    log:
        f"{RESULTS}/logs/figures/mean.log",
    params:
        suite="mean",
    message:
        "Draw the scores averaged over the suites"


rule film:
    input:
        code=lambda w: PLAN.code("film", w.method),
        scenes=lambda w: PLAN.scenes(w.suite),
        language="results/language/{suite}.safetensors",
        policies=lambda w: PLAN.policies(w.suite, w.method, w.seed, STUDY.n_tasks),
    output:
        films=expand(
            f"results/films/{CHAIN}/task{{task}}.gif", task=TASKS, allow_missing=True
        ),
        index=f"results/films/{CHAIN}/films.json",
    log:
        f"results/logs/film/{CHAIN}.log",
    conda:
        "../envs/t2s.yaml"
    resources:
        gpu=N_GPUS,
        mem_mb=lambda w, attempt: attempt * 4000,
        runtime=lambda w, attempt: attempt * 60,
    params:
        on_gpu=ON_GPU,
        given=lambda w: given_look(
            w, "policy", "learn", "evaluate", "film", method=w.method
        ),
        order=ORDER,
        simulator=SIMULATOR,
        out=lambda w, output: Path(output.index).parent,
    message:
        "Film the last policy of {wildcards.method} on {wildcards.suite}, seed {wildcards.seed}"
    shell:
        "{params.on_gpu} t2s film --suite {wildcards.suite} --method {wildcards.method:q}"
        " --seed {wildcards.seed} --params {params.given:q} --checkpoints {input.policies:q}"
        " --suite-tasks {params.order} --language {input.language:q} --out {params.out:q} 2>&1 | tee {log:q}"


rule report:
    input:
        code=PLAN.code("report"),
        page="t2s/report/report.html.j2",
        metrics=rules.metrics.output.metrics,
        tasks=rules.metrics.output.tasks,
        provenance="results/provenance.json",
        episodes=PLAN.episodes(),
        tables=PLAN.tables(),
        figures=PLAN.figures(),
        films=PLAN.films(),
    output:
        report(
            "results/report.html", caption="../report/report.rst", category="Overview"
        ),
    log:
        "results/logs/report.log",
    conda:
        "../envs/t2s.yaml"
    params:
        given=PLAN.given_all(),
        results=lambda w, input: Path(input.metrics).parent,
    message:
        "Write the report"
    shell:
        "t2s report --params {params.given:q} --results {params.results:q} --out {output:q}"
        " 2>&1 | tee {log:q}"
