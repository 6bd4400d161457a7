"""What the Snakefile computes: the plan of a study, the code a job depends on, the shell a job runs in."""
