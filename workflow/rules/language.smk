rule language:
    input:
        code=code("language"),
        scenes=scenes,
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
        sections=sections("language"),
    message:
        "Embed the instructions of {wildcards.suite}"
    shell:
        "python -m t2s.language --suite {wildcards.suite} --params {params.sections:q}"
        " --out {output:q} 2>&1 | tee {log:q}"
