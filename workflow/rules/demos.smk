# What learning reads stands behind a manifest: beside it, or below `download.folder`, where no rule
# removes anything.
if PARAMS.demos.source == "download":

    rule download:
        input:
            code=code("download"),
        output:
            manifest="results/demos/{suite}/task{task}.json",
        log:
            "results/logs/demos/{suite}/task{task}.log",
        localrule: True  # a cluster's nodes often have no network
        conda:
            "../envs/t2s.yaml"
        params:
            sections=sections("demos", "download"),
        message:
            "Download the demonstrations of task {wildcards.task} of {wildcards.suite}"
        shell:
            "python -m t2s.download demos --suite {wildcards.suite} --task {wildcards.task}"
            " --params {params.sections:q} --manifest {output.manifest:q} 2>&1 | tee {log:q}"

else:

    rule demos:
        input:
            code=code("demos"),
            scenes=scenes,
        output:
            demos="results/demos/{suite}/task{task}_demo.hdf5",
            manifest="results/demos/{suite}/task{task}.json",
        log:
            "results/logs/demos/{suite}/task{task}.log",
        conda:
            "../envs/t2s.yaml"
        resources:
            mem_mb=lambda w, attempt: attempt * 4000,
            runtime=lambda w, attempt: attempt * 240,
        params:
            sections=lambda w: sections(*look(w), "demos"),
        message:
            "Demonstrate task {wildcards.task} of {wildcards.suite}"
        shell:
            "python -m t2s.demos --suite {wildcards.suite} --task {wildcards.task}"
            " --params {params.sections:q} --out {output.demos:q} --manifest {output.manifest:q}"
            " 2>&1 | tee {log:q}"
