"""The journal: what is remembered of runs in this process, in one SQLite file of the user's state folder."""
