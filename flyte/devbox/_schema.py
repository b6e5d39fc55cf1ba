"""The tables of the devbox's database, and the steps that bring an older one up to date."""

import sqlite3

MIGRATIONS = [
    """
    CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

    CREATE TABLE project (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, description TEXT NOT NULL, labels BLOB NOT NULL,
        state INTEGER NOT NULL, created_at REAL NOT NULL
    ) WITHOUT ROWID;

    -- Task specs by the digest of their bytes: a thousand children of one parent share one.
    CREATE TABLE spec (digest BLOB PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;

    CREATE TABLE run (
        id INTEGER PRIMARY KEY, org TEXT NOT NULL, project TEXT NOT NULL, domain TEXT NOT NULL, name TEXT NOT NULL,
        run_spec BLOB NOT NULL, source INTEGER NOT NULL, created_at REAL NOT NULL,
        trigger_name TEXT NOT NULL DEFAULT '', trigger_revision INTEGER NOT NULL DEFAULT 0,
        UNIQUE (project, domain, name)
    );

    CREATE TABLE action (
        id INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES run, name TEXT NOT NULL, parent TEXT NOT NULL,
        call_group TEXT NOT NULL, kind INTEGER NOT NULL, spec BLOB, detail BLOB,
        task_project TEXT NOT NULL DEFAULT '', task_domain TEXT NOT NULL DEFAULT '', task_name TEXT NOT NULL DEFAULT '',
        task_version TEXT NOT NULL DEFAULT '', task_type TEXT NOT NULL DEFAULT '', short_name TEXT NOT NULL DEFAULT '',
        environment TEXT NOT NULL DEFAULT '',
        input_uri TEXT NOT NULL, run_output_base TEXT NOT NULL, cache_key TEXT,
        phase INTEGER NOT NULL, attempt INTEGER NOT NULL, user_failures INTEGER NOT NULL,
        system_failures INTEGER NOT NULL, not_before REAL NOT NULL,
        created_at REAL NOT NULL, started_at REAL, ended_at REAL, updated_at REAL NOT NULL,
        error BLOB, output_uri TEXT NOT NULL, reason TEXT NOT NULL, value BLOB,
        cache_status INTEGER NOT NULL DEFAULT 0, recovered_from BLOB,
        UNIQUE (run, name)
    );
    CREATE INDEX action_parent ON action (run, parent);
    CREATE INDEX action_live ON action (phase) WHERE phase IN (0, 1, 2, 3, 4, 9);

    CREATE TABLE attempt (
        action INTEGER NOT NULL REFERENCES action, number INTEGER NOT NULL, phase INTEGER NOT NULL,
        queued_at REAL NOT NULL, started_at REAL NOT NULL, ended_at REAL, error BLOB, output_prefix TEXT NOT NULL,
        process TEXT NOT NULL, folder TEXT NOT NULL,
        PRIMARY KEY (action, number)
    ) WITHOUT ROWID;

    CREATE TABLE task (
        project TEXT NOT NULL, domain TEXT NOT NULL, name TEXT NOT NULL, version TEXT NOT NULL, org TEXT NOT NULL,
        spec BLOB NOT NULL, deployed_at REAL NOT NULL, short_name TEXT NOT NULL, environment TEXT NOT NULL,
        is_entrypoint INTEGER NOT NULL, short_description TEXT NOT NULL,
        PRIMARY KEY (project, domain, name, version)
    ) WITHOUT ROWID;

    CREATE TABLE trigger_ (
        project TEXT NOT NULL, domain TEXT NOT NULL, task_name TEXT NOT NULL, name TEXT NOT NULL, org TEXT NOT NULL,
        revision INTEGER NOT NULL, task_version TEXT NOT NULL, spec BLOB NOT NULL, automation BLOB NOT NULL,
        active INTEGER NOT NULL, deployed_at REAL NOT NULL, updated_at REAL NOT NULL, triggered_at REAL,
        PRIMARY KEY (project, domain, task_name, name)
    ) WITHOUT ROWID;

    CREATE TABLE cached (
        project TEXT NOT NULL, domain TEXT NOT NULL, key TEXT NOT NULL, output_uri TEXT NOT NULL,
        created_at REAL NOT NULL, run TEXT NOT NULL, action TEXT NOT NULL, attempt INTEGER NOT NULL,
        PRIMARY KEY (project, domain, key)
    ) WITHOUT ROWID;

    CREATE TABLE secret (
        project TEXT NOT NULL, domain TEXT NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL, is_text INTEGER NOT NULL,
        type INTEGER NOT NULL, created_at REAL NOT NULL,
        PRIMARY KEY (project, domain, name)
    ) WITHOUT ROWID;
    """,
    # A client that asks again, because it did not hear the answer, is given the run that it has created.
    """
    ALTER TABLE run ADD COLUMN request_id TEXT NOT NULL DEFAULT '';
    CREATE UNIQUE INDEX run_request ON run (request_id) WHERE request_id != '';
    """,
]


def migrate(connection: sqlite3.Connection, path: str) -> None:
    """Bring the database up to date; all of it, or nothing.

    :raises RuntimeError: a newer release wrote it.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise RuntimeError(
            f"{path} was written by a newer release of flyte (its tables are version {version}, this release knows "
            f"{len(MIGRATIONS)}); upgrade flyte, or remove it with flyte delete devbox"
        )
    for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
        connection.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {number}; COMMIT;")
