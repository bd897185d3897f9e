-- The tables of a campaign database, as SQLite has them; runner makes them itself. To look into one:
--
--     sqlite3 runner.db "SELECT key, status, attempt, error FROM job WHERE status = 'failed'"
--
-- Times end in _ts and are Unix seconds, UTC; spans end in _s and are seconds. Ids are internal:
-- people and files know a job by its key. runner/store/schema.py tells the same for SQLite and
-- PostgreSQL, and a test holds the two equal.

-- Which layout this is. A runner that knows another one leaves the database alone.
CREATE TABLE schema_version (
    version INTEGER NOT NULL,
    PRIMARY KEY (version)
);

-- A named set of jobs with one scene, one render function and one policy.
CREATE TABLE campaign (
    id INTEGER NOT NULL,
    name TEXT NOT NULL,
    state TEXT DEFAULT 'open' NOT NULL,         -- only an open campaign hands out jobs
    max_failures INTEGER NOT NULL,              -- the render raised so often: set aside
    max_crashes INTEGER NOT NULL,               -- browser or process died so often under it: set aside
    backoff_s REAL NOT NULL,                    -- wait before the second attempt; doubles each time
    backoff_max_s REAL NOT NULL,
    total BIGINT DEFAULT 0 NOT NULL,            -- counters, changed with the rows they count, so that
    done BIGINT DEFAULT 0 NOT NULL,             --   progress is quick to read at any size
    failed BIGINT DEFAULT 0 NOT NULL,
    file TEXT,                                  -- the campaign file, for people; a relative path starts from
    results TEXT,                               --   this file's own folder. The last run's folder for results
    parameters TEXT,                            -- JSON object: what parameters.pkl tells
    created_ts REAL NOT NULL,
    remote TEXT,                                -- URL of the object store to which shards go; NULL: they stay
    PRIMARY KEY (id),
    CONSTRAINT campaign_state CHECK (state IN ('open', 'paused', 'cancelled')),
    UNIQUE (name)
);

-- A results folder of the campaign: where runners on several machines have each its own, these are several.
CREATE TABLE folder (
    campaign_id BIGINT NOT NULL,
    id TEXT NOT NULL,                           -- as the folder's own file .folder has it, wherever it is moved
    place TEXT NOT NULL,                        -- host:path, as it was last used; for people
    logged_id BIGINT DEFAULT 0 NOT NULL,        -- its metrics.pkl holds all results up to this id …
    logged_bytes BIGINT DEFAULT 0 NOT NULL,     -- … in its first so many bytes
    PRIMARY KEY (campaign_id, id)
);

-- One unit of rendering. (worker_id, attempt) is the fence: only who holds both may settle the job.
CREATE TABLE job (
    id INTEGER NOT NULL,
    campaign_id BIGINT NOT NULL,
    "key" TEXT NOT NULL,                        -- given, or the blake2b-128 of params
    params TEXT NOT NULL,                       -- JSON with sorted keys
    status TEXT DEFAULT 'pending' NOT NULL,
    priority INTEGER DEFAULT 0 NOT NULL,        -- higher goes first
    attempt INTEGER DEFAULT 0 NOT NULL,         -- claims so far; only grows
    failures INTEGER DEFAULT 0 NOT NULL,        -- attempts whose render raised or took too long
    crashes INTEGER DEFAULT 0 NOT NULL,         -- attempts whose browser or process died
    worker_id BIGINT,                           -- who holds it, or who did it
    session_id BIGINT,                          -- the browser tab of the last attempt
    created_ts REAL NOT NULL,
    not_before_ts REAL,                         -- waits for a retry until then
    grab_ts REAL,                               -- the last claim
    end_ts REAL,                                -- the end of the last attempt
    error TEXT,                                 -- why the last attempt did not end well, in one line
    PRIMARY KEY (id),
    CONSTRAINT job_status CHECK (
        -- not IN, for which SQLite would build a temporary table at each change of a row
        status = 'pending' OR status = 'in_progress' OR status = 'done' OR status = 'failed'
    ),
    CONSTRAINT job_lease CHECK (status <> 'in_progress' OR (worker_id IS NOT NULL AND grab_ts IS NOT NULL)),
    CONSTRAINT job_wait CHECK (status = 'pending' OR not_before_ts IS NULL)
);
-- Adding a job twice adds it once.
CREATE UNIQUE INDEX job_key ON job (campaign_id, "key");
-- The claim reads its first entries, at any size. Jobs that wait are kept out of its way, and jobs
-- that crashed something come last, so that they cannot stop the others.
CREATE INDEX job_ready ON job (campaign_id, priority DESC, crashes, id)
    WHERE status = 'pending' AND not_before_ts IS NULL;
CREATE INDEX job_waiting ON job (campaign_id, not_before_ts) WHERE not_before_ts IS NOT NULL;
CREATE INDEX job_running ON job (worker_id) WHERE status = 'in_progress';
CREATE INDEX job_failed ON job (campaign_id, id) WHERE status = 'failed';

-- One runner process at work on a campaign. Its id is random: never issued twice, even where a
-- power cut took the last commits back.
CREATE TABLE worker (
    id INTEGER NOT NULL,
    campaign_id BIGINT NOT NULL,
    host TEXT NOT NULL,
    boot TEXT NOT NULL,                         -- this boot of the host
    pid INTEGER NOT NULL,
    pid_start TEXT NOT NULL,                    -- tells a process from a later one with its pid
    beat BIGINT DEFAULT 0 NOT NULL,             -- grows while it lives; a beat that stands still is death
    state TEXT DEFAULT 'live' NOT NULL,         -- lost: declared dead, and its jobs taken back
    started_ts REAL NOT NULL,
    beat_ts REAL NOT NULL,                      -- for people; no decision compares two hosts' clocks
    folder TEXT,                                -- folder.id: where the files are of the jobs that it has done
    PRIMARY KEY (id),
    CONSTRAINT worker_state CHECK (state IN ('live', 'ended', 'lost'))
);
CREATE INDEX worker_live ON worker (campaign_id) WHERE state = 'live';

-- One browser tab at work: what drew the pictures of its jobs. Its id is random, as a worker's is.
CREATE TABLE session (
    id INTEGER NOT NULL,
    campaign_id BIGINT NOT NULL,
    worker_id BIGINT NOT NULL,
    name TEXT NOT NULL,
    browser TEXT NOT NULL,                      -- its user agent
    renderer TEXT NOT NULL,                     -- as WebGL names it
    client TEXT NOT NULL,                       -- JSON object: versions of the web client's parts
    runner TEXT NOT NULL,                       -- versions of the packages
    vuer TEXT NOT NULL,
    file_sha256 TEXT,                           -- of the campaign file, hex
    settings TEXT NOT NULL,                     -- JSON object: what --set filled in
    started_ts REAL NOT NULL,
    PRIMARY KEY (id)
);

-- The attempts that ended otherwise than well; a job that is done at once writes none.
CREATE TABLE attempt (
    job_id BIGINT NOT NULL,
    attempt INTEGER NOT NULL,
    worker_id BIGINT NOT NULL,
    session_id BIGINT,
    outcome TEXT NOT NULL,                      -- released: handed back; requeued: was done, and undone
    error TEXT,
    traceback TEXT,                             -- before it the page's last console lines, and its last frame's file
    grab_ts REAL NOT NULL,
    end_ts REAL NOT NULL,
    PRIMARY KEY (job_id, attempt),
    CONSTRAINT attempt_outcome CHECK (outcome IN ('failed', 'crashed', 'released', 'requeued'))
);

-- What befell the runs rather than a job: pause and resume (the machine failed, and was well again),
-- browser (one ended and was replaced), clock (the machine slept, or its clock was set), halt, renderer,
-- hidden and seen (a tab went out of sight, and came back, by its name),
-- source (a file that pictures are made of was used first, or is another than before: its hash and its name).
CREATE TABLE event (
    id INTEGER NOT NULL,
    campaign_id BIGINT NOT NULL,
    worker_id BIGINT NOT NULL,
    ts REAL NOT NULL,
    kind TEXT NOT NULL,
    message TEXT NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX event_campaign ON event (campaign_id, id);

-- What a done job logged, in the order in which jobs were done.
CREATE TABLE result (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    campaign_id BIGINT NOT NULL,
    job_id BIGINT NOT NULL,
    metrics TEXT NOT NULL,                      -- JSON object of numbers, strings, booleans and nulls
    suspicion TEXT,                             -- why a picture of it may be wrong though it is whole
    marks TEXT,                                 -- JSON object: metrics that JSON has no number for, which are
                                                --   null above: "NaN", "Infinity" or "-Infinity" by name
    phases TEXT,                                -- seconds: its pictures waited for assets, were drawn, the render took
    UNIQUE (job_id)
);
CREATE INDEX result_suspicion ON result (campaign_id, job_id) WHERE suspicion IS NOT NULL;

-- A file of a done job, or of a finished step. On disk for good before its row is written.
CREATE TABLE artifact (
    job_id BIGINT NOT NULL,
    name TEXT NOT NULL,                         -- as the render function named it
    path TEXT NOT NULL,                         -- below the folder of its job's worker, with forward slashes: the file, or its shard
    size BIGINT NOT NULL,                       -- bytes
    sha256 TEXT NOT NULL,                       -- hex
    kind TEXT NOT NULL,                         -- media type
    start BIGINT,                               -- the byte of a shard at which it begins; NULL: path is the file
    PRIMARY KEY (job_id, name)
);

-- A tar file with the files of many jobs, which one process has written. What lies behind its first `size` bytes
-- is in no row.
CREATE TABLE shard (
    campaign_id BIGINT NOT NULL,
    path TEXT NOT NULL,                         -- as artifact.path
    size BIGINT NOT NULL,                       -- bytes that are in rows …
    jobs BIGINT NOT NULL,                       -- … and how many jobs they hold, with those that were requeued since
    address TEXT,                               -- of the object that has it now; NULL: it lies in campaign.results
    PRIMARY KEY (campaign_id, path)
);

-- How far a job of many steps has come. Its files so far are in artifact; done removes the row.
CREATE TABLE checkpoint (
    job_id INTEGER NOT NULL,
    step INTEGER NOT NULL,                      -- finished steps
    metrics TEXT NOT NULL,                      -- JSON object, logged so far
    marks TEXT,                                 -- as result.marks
    scene TEXT,                                 -- JSON: what differs then from what scene() gave
    PRIMARY KEY (job_id)
);
