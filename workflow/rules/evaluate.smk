rule evaluate_curve:
    input:
        code=lambda w: PLAN.code("evaluate", w.method),
        scenes=lambda w: PLAN.scenes(w.suite),
        language="results/language/{suite}.safetensors",
        previous=lambda w: PLAN.policies(w.suite, w.method, w.seed, w.task),
        policies=rules.learn.output.policies,
    output:
        f"results/episodes/{CHAIN}/task{{task}}_curve.jsonl",
    log:
        f"results/logs/evaluate/{CHAIN}/task{{task}}_curve.log",
    benchmark:
        f"results/benchmarks/evaluate/{CHAIN}/task{{task}}_curve.tsv"
    conda:
        "../envs/t2s.yaml"
    threads: ROLLOUT_CORES
    resources:
        gpu=N_GPUS,
        mem_mb=lambda w, threads, attempt: attempt * 1500 * (1 + threads),
        runtime=lambda w, attempt: attempt * 720,
    params:
        on_gpu=ON_GPU,
        suite_task=lambda w: ORDER[int(w.task)],
        cache=f"{CACHE}/episodes",
        simulator=SIMULATOR,
        # The engine's values change no record, so they must not cause a job to run again. Snakemake does not compare
        # params that depend on threads or inputs, hence the argument `threads`.
        engine=lambda w, threads: PLAN.given("engine"),
        code=lambda w, input: digest(*input.code, *input.scenes),
        given=lambda w: given_look(w, "policy", "learn", "evaluate", method=w.method),
    message:
        "Roll out every saved policy of task {wildcards.task} of {wildcards.suite}, {wildcards.method}, seed {wildcards.seed}"
    shell:
        "{params.on_gpu} t2s evaluate --kind curve --suite {wildcards.suite}"
        " --method {wildcards.method:q} --seed {wildcards.seed} --stage {wildcards.task}"
        " --task {wildcards.task} --suite-task {params.suite_task} --params {params.given:q}"
        " --checkpoints {input.previous:q} {input.policies:q} --language {input.language:q}"
        " --workers {threads} --engine {params.engine:q} --cache {params.cache:q} --code {params.code}"
        " --out {output:q} 2>&1 | tee {log:q}"


# If nothing that acts on the task has changed since the stage before, the records of that stage are copied.
rule evaluate_kept:
    input:
        code=lambda w: PLAN.code("evaluate", w.method),
        scenes=lambda w: PLAN.scenes(w.suite),
        language="results/language/{suite}.safetensors",
        policies=lambda w: PLAN.policies(w.suite, w.method, w.seed, int(w.stage) + 1),
        chosen=f"results/runs/{CHAIN}/task{{task}}/chosen.json",
        previous=lambda w: PLAN.before(w.suite, w.method, w.seed, w.stage, w.task),
    output:
        f"results/episodes/{CHAIN}/stage{{stage}}_task{{task}}.jsonl",
    log:
        f"results/logs/evaluate/{CHAIN}/stage{{stage}}_task{{task}}.log",
    benchmark:
        f"results/benchmarks/evaluate/{CHAIN}/stage{{stage}}_task{{task}}.tsv"
    conda:
        "../envs/t2s.yaml"
    threads: ROLLOUT_CORES
    resources:
        gpu=N_GPUS,
        mem_mb=lambda w, threads, attempt: attempt * 1500 * (1 + threads),
        runtime=lambda w, attempt: attempt * 720,
    params:
        on_gpu=ON_GPU,
        suite_task=lambda w: ORDER[int(w.task)],
        cache=f"{CACHE}/episodes",
        simulator=SIMULATOR,
        # The engine's values change no record, so they must not cause a job to run again. Snakemake does not compare
        # params that depend on threads or inputs, hence the argument `threads`.
        engine=lambda w, threads: PLAN.given("engine"),
        code=lambda w, input: digest(*input.code, *input.scenes),
        given=lambda w: given_look(w, "policy", "learn", "evaluate", method=w.method),
    message:
        "Roll out the policy kept after task {wildcards.stage} on task {wildcards.task} of {wildcards.suite}, {wildcards.method}, seed {wildcards.seed}"
    shell:
        "{params.on_gpu} t2s evaluate --kind kept --suite {wildcards.suite}"
        " --method {wildcards.method:q} --seed {wildcards.seed} --stage {wildcards.stage}"
        " --task {wildcards.task} --suite-task {params.suite_task} --params {params.given:q} --checkpoints {input.policies:q}"
        " --language {input.language:q} --previous {input.previous:q} --workers {threads} --engine {params.engine:q}"
        " --cache {params.cache:q} --code {params.code}"
        " --out {output:q} 2>&1 | tee {log:q}"
