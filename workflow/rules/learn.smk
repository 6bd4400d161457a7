# The inputs are the manifests of the demonstrations, not the HDF5 files. Snakemake compares small files by content, so
# making an HDF5 file again with the same episodes does not cause learning to run again.
rule learn:
    input:
        code=lambda w: PLAN.code("learn", w.method),
        manifests=lambda w: expand(
            "results/demos/{suite}/task{task}.json",
            suite=w.suite,
            task=ORDER[: int(w.task) + 1],
        ),
        language="results/language/{suite}.safetensors",
        previous=lambda w: PLAN.policies(w.suite, w.method, w.seed, w.task),
    output:
        policies=expand(
            f"results/runs/{CHAIN}/task{{task}}/epoch{{epoch}}.safetensors",
            epoch=EPOCHS,
            allow_missing=True,
        ),
        learn=f"results/runs/{CHAIN}/task{{task}}/learn.json",
        losses=f"results/runs/{CHAIN}/task{{task}}/losses.csv",
    log:
        f"results/logs/learn/{CHAIN}/task{{task}}.log",
    benchmark:
        f"results/benchmarks/learn/{CHAIN}/task{{task}}.tsv"
    conda:
        "../envs/t2s.yaml"
    threads: PLAN.params.learn.n_threads
    resources:
        gpu=N_GPUS,
        mem_mb=lambda w, attempt: attempt
        * (4000 + PLAN.images_mb(w.method, w.task) + PLAN.activations_mb(w.method)),
        runtime=lambda w, attempt: attempt * 720,
    params:
        on_gpu=ON_GPU,
        given=lambda w: PLAN.given("env", "policy", "learn", method=w.method),
        code=lambda w, input: digest(*input.code),
        out=lambda w, output: Path(output.learn).parent,
        cache=f"{CACHE}/learn",
    message:
        "Learn task {wildcards.task} of {wildcards.suite} with {wildcards.method}, seed {wildcards.seed}"
    shell:
        "{params.on_gpu} t2s learn --suite {wildcards.suite} --method {wildcards.method:q}"
        " --seed {wildcards.seed} --task {wildcards.task} --params {params.given:q}"
        " --demos {input.manifests:q} --language {input.language:q}"
        " --previous {input.previous:q} --out {params.out:q} --cache {params.cache:q} --code {params.code}"
        " 2>&1 | tee {log:q}"


rule choose:
    input:
        code=PLAN.code("choose"),
        curve=f"results/episodes/{CHAIN}/task{{task}}_curve.jsonl",
        policies=rules.learn.output.policies,
    output:
        policy=f"results/runs/{CHAIN}/task{{task}}/policy.safetensors",
        chosen=f"results/runs/{CHAIN}/task{{task}}/chosen.json",
    log:
        f"results/logs/choose/{CHAIN}/task{{task}}.log",
    conda:
        "../envs/t2s.yaml"
    params:
        out=lambda w, output: Path(output.policy).parent,
    message:
        "Choose the best policy of task {wildcards.task} of {wildcards.suite}, {wildcards.method}, seed {wildcards.seed}"
    shell:
        "t2s choose --curve {input.curve:q} --checkpoints {input.policies:q}"
        " --out {params.out:q} 2>&1 | tee {log:q}"
