# Learning reads demonstrations through a manifest. Scripted ones lie beside it; downloaded ones lie in `download.folder`,
# where no rule removes anything.
if PLAN.params.demos.source == "download":

    rule download:
        input:
            code=PLAN.code("download"),
        output:
            manifest="results/demos/{suite}/task{task}.json",
        log:
            "results/logs/demos/{suite}/task{task}.log",
        localrule: True  # the nodes of a cluster often have no network
        conda:
            "../envs/t2s.yaml"
        params:
            given=PLAN.given("demos", "download"),
        message:
            "Download the demonstrations of task {wildcards.task} of {wildcards.suite}"
        shell:
            "t2s download demos --suite {wildcards.suite} --task {wildcards.task}"
            " --params {params.given:q} --manifest {output.manifest:q} 2>&1 | tee {log:q}"

else:

    rule demos:
        input:
            code=PLAN.code("demos"),
            scenes=lambda w: PLAN.scenes(w.suite),
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
            given=lambda w: given_look(w, "demos"),
            starts=lambda w: PLAN.starts(w.suite),
            simulator=SIMULATOR,
        message:
            "Script the demonstrations of task {wildcards.task} of {wildcards.suite}"
        shell:
            "t2s demos --suite {wildcards.suite} --task {wildcards.task}"
            " --params {params.given:q} --init-states {params.starts} --out {output.demos:q}"
            " --manifest {output.manifest:q}"
            " 2>&1 | tee {log:q}"
