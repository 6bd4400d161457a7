"""The stages of the pipeline, one command each; Snakemake runs them in this order.

label or download (what LIBERO provides), demos, language, learn, evaluate, choose, film.
"""
