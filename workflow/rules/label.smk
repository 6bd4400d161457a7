# LIBERO's scene assets are hundreds of files outside the repository. Rules that render them depend on this label instead.
rule label:
    input:
        code=PLAN.code("label"),
        assets=or_exit(PLAN.asset_files),
    output:
        "results/assets.json",
    log:
        "results/logs/assets.log",
    conda:
        "../envs/t2s.yaml"
    params:
        given=PLAN.given("assets"),
    message:
        "Label LIBERO's scene assets"
    shell:
        "t2s label --params {params.given:q} --out {output:q} 2>&1 | tee {log:q}"
