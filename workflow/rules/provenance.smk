# It depends on the metrics, and only the report depends on it. So it is made again when a number changes, and it never
# causes a number to be made again.
rule provenance:
    input:
        code=PLAN.code("provenance"),
        produced_by=PLAN.producing_code(),
        manifests=expand(
            "results/demos/{suite}/task{task}.json", suite=STUDY.suites, task=ORDER
        ),
        language=expand("results/language/{suite}.safetensors", suite=STUDY.suites),
        episodes=PLAN.episodes(),
        metrics="results/metrics.json",
    output:
        "results/provenance.json",
    log:
        "results/logs/provenance.log",
    conda:
        "../envs/t2s.yaml"
    params:
        given=PLAN.given_producing(),
        code=lambda w, input: digest(*input.produced_by),
    message:
        "Record where the numbers come from"
    shell:
        "t2s provenance --params {params.given:q} --code {params.code} --demos {input.manifests:q}"
        " --language {input.language:q} --results results --out {output:q} 2>&1 | tee {log:q}"
