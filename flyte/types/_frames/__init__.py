"""Data frames as values: what they hold crosses inside the process, and is a parquet file everywhere else."""
