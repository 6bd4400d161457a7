rule language:
    input:
        code=PLAN.code("language"),
        scenes=lambda w: PLAN.scenes(w.suite),
    output:
        "results/language/{suite}.safetensors",
    log:
        "results/logs/language/{suite}.log",
    conda:
        "../envs/t2s.yaml"
    resources:
        mem_mb=lambda w, attempt: attempt * 4000,
        runtime=60,
    params:
        given=PLAN.given("language"),
    message:
        "Embed the instructions of {wildcards.suite}"
    shell:
        "t2s language --suite {wildcards.suite} --params {params.given:q}"
        " --out {output:q} 2>&1 | tee {log:q}"
