"""Where attempts run: one file for each way."""
