# LIBERO's scene assets are hundreds of files, outside the repository: what draws with them depends on their label.
rule label:
    input:
        code=code("label"),
        assets=asset_files(),
    output:
        "results/assets.json",
    log:
        "results/logs/assets.log",
    conda:
        "../envs/t2s.yaml"
    params:
        sections=sections("assets"),
    message:
        "Label LIBERO's scene assets"
    shell:
        "python -m t2s.label --params {params.sections:q} --out {output:q} 2>&1 | tee {log:q}"
