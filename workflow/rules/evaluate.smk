rule evaluate_curve:
    input:
        code=lambda w: code("evaluate", w.method),
        scenes=scenes,
        language="results/language/{suite}.safetensors",
        previous=lambda w: upto(f"{runs(w)}/task{{task}}/policy.safetensors", w.task),
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
        workers=lambda w, threads: workers(threads),
        sections=lambda w: sections(
            *look(w), "policy", "learn", "evaluate", method=w.method
        ),
    message:
        "Roll out every saved policy of task {wildcards.task} of {wildcards.suite} by {wildcards.method}, seed {wildcards.seed}"
    shell:
        "{params.on_gpu} python -m t2s.evaluate --kind curve --suite {wildcards.suite}"
        " --method {wildcards.method:q} --seed {wildcards.seed} --stage {wildcards.task}"
        " --task {wildcards.task} --suite-task {params.suite_task} --params {params.sections:q}"
        " --checkpoints {input.previous:q} {input.policies:q} --language {input.language:q}"
        " {params.workers} --cache {params.cache} --code {input.code} {input.scenes}"
        " --out {output:q} 2>&1 | tee {log:q}"


# What acts on a task may be unchanged since the stage before: then its records still stand.
rule evaluate_kept:
    input:
        code=lambda w: code("evaluate", w.method),
        scenes=scenes,
        language="results/language/{suite}.safetensors",
        policies=lambda w: upto(
            f"{runs(w)}/task{{task}}/policy.safetensors", int(w.stage) + 1
        ),
        chosen=lambda w: f"{runs(w)}/task{w.task}/chosen.json",
        previous=lambda w: before(w),
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
        workers=lambda w, threads: workers(threads),
        sections=lambda w: sections(
            *look(w), "policy", "learn", "evaluate", method=w.method
        ),
        previous=lambda w, input: (
            f"--previous {input.previous}" if input.previous else ""
        ),
    message:
        "Roll out the policy kept after task {wildcards.stage} on task {wildcards.task} of {wildcards.suite}, {wildcards.method}, seed {wildcards.seed}"
    shell:
        "{params.on_gpu} python -m t2s.evaluate --kind kept --suite {wildcards.suite}"
        " --method {wildcards.method:q} --seed {wildcards.seed} --stage {wildcards.stage}"
        " --task {wildcards.task} --suite-task {params.suite_task} --params {params.sections:q} --checkpoints {input.policies:q}"
        " --language {input.language:q} {params.previous} {params.workers}"
        " --cache {params.cache} --code {input.code} {input.scenes}"
        " --out {output:q} 2>&1 | tee {log:q}"
