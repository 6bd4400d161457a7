"""What the Snakefile computes: the plan of a study, the code that a job depends on, the shell that a job runs in."""
