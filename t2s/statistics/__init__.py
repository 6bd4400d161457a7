"""What the numbers of a study mean: the definitions of its metrics, and intervals from what is random."""
