"""Commands that read the records of a run: metrics, then tables and figures, then the page that shows them."""
