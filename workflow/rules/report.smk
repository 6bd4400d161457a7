# RESULTS is `results`, or the folder of a finished study (studies/Snakefile).
rule metrics:
    input:
        code=code("metrics"),
        episodes=episodes(),
        learned=learned(),
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
        sections=sections("study", "metrics"),
        results=lambda w, output: Path(output.metrics).parent,
    message:
        "Compute FWT, NBT and AUC"
    shell:
        "python -m t2s.metrics --params {params.sections:q} --results {params.results:q}"
        " 2>&1 | tee {log:q}"


rule tables:
    input:
        code=code("tables"),
        published="t2s/data/reference_results.csv",
        metrics=rules.metrics.output.metrics,
        success=rules.metrics.output.success,
        tasks=rules.metrics.output.tasks,
        benchmarks=benchmarks(),
    output:
        tables(),
    log:
        f"{RESULTS}/logs/tables.log",
    conda:
        "../envs/t2s.yaml"
    params:
        sections=sections("study", "metrics", "evaluate"),
        results=lambda w, input: Path(input.metrics).parent,
    message:
        "Write the tables"
    shell:
        "python -m t2s.tables --params {params.sections:q} --results {params.results:q} 2>&1 | tee {log:q}"


rule figures:
    input:
        code=code("figures"),
        metrics=rules.metrics.output.metrics,
        success=rules.metrics.output.success,
        tasks=rules.metrics.output.tasks,
        losses=losses(),
    output:
        [
            report(
                f"{RESULTS}/figures/{{suite}}/{figure}.png",
                caption=f"../report/{figure}.rst",
                category="{suite}",
                labels={"figure": FIGURES[figure]},
            )
            for figure in drawn()
        ],
        [f"{RESULTS}/pdf/{{suite}}/{figure}.pdf" for figure in drawn()],
    log:
        f"{RESULTS}/logs/figures/{{suite}}.log",
    conda:
        "../envs/t2s.yaml"
    params:
        suite="{suite}",
        sections=sections("study", "figures"),
        results=lambda w, input: Path(input.metrics).parent,
    message:
        "Draw the figures of {wildcards.suite}"
    shell:
        "python -m t2s.figures --suite {params.suite} --params {params.sections:q}"
        " --results {params.results:q} 2>&1 | tee {log:q}"


use rule figures as figure_of_mean with:
    input:
        code=code("figures"),
        metrics=rules.metrics.output.metrics,
        success=rules.metrics.output.success,
        tasks=rules.metrics.output.tasks,
    output:
        report(
            f"{RESULTS}/figures/mean/scores.png",
            caption="../report/scores.rst",
            category="mean",
            labels={"figure": FIGURES["scores"]},
        ),
        f"{RESULTS}/pdf/mean/scores.pdf",
    log:
        f"{RESULTS}/logs/figures/mean.log",
    params:
        suite="mean",
    message:
        "Draw the scores in the mean over the suites"


rule film:
    input:
        code=lambda w: code("film", w.method),
        scenes=scenes,
        language="results/language/{suite}.safetensors",
        policies=lambda w: upto(
            f"{runs(w)}/task{{task}}/policy.safetensors", STUDY.n_tasks
        ),
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
        sections=lambda w: sections(
            *look(w), "policy", "learn", "evaluate", "film", method=w.method
        ),
        order=ORDER,
        out=lambda w, output: Path(output.index).parent,
    message:
        "Film the last policy of {wildcards.method} on {wildcards.suite}, seed {wildcards.seed}"
    shell:
        "{params.on_gpu} python -m t2s.film --suite {wildcards.suite} --method {wildcards.method:q}"
        " --seed {wildcards.seed} --params {params.sections:q} --checkpoints {input.policies:q}"
        " --suite-tasks {params.order} --language {input.language:q} --out {params.out:q} 2>&1 | tee {log:q}"


rule report:
    input:
        code=code("report"),
        page="t2s/report.html.j2",
        metrics=rules.metrics.output.metrics,
        tasks=rules.metrics.output.tasks,
        provenance="results/provenance.json",
        episodes=episodes(),
        tables=tables(),
        figures=figures(),
        films=films(),
    output:
        report(
            "results/report.html", caption="../report/report.rst", category="Overview"
        ),
    log:
        "results/logs/report.log",
    conda:
        "../envs/t2s.yaml"
    params:
        sections=json.dumps(config),
        results=lambda w, input: Path(input.metrics).parent,
    message:
        "Write the report"
    shell:
        "python -m t2s.report --params {params.sections:q} --results {params.results:q} --out {output:q}"
        " 2>&1 | tee {log:q}"
