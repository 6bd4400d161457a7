"""The stages of the pipeline, one command each, in the order in which Snakemake runs them:

label (LIBERO's scene assets), demos or download (demonstrations), language, learn, evaluate, choose, film.
"""
