-- The tables as runner 0.1.0 made them in PostgreSQL.
CREATE TABLE artifact (
    job_id BIGINT NOT NULL,
    name TEXT NOT NULL,
    path TEXT NOT NULL,
    size BIGINT NOT NULL,
    sha256 TEXT NOT NULL,
    kind TEXT NOT NULL,
    PRIMARY KEY (job_id, name)
);
CREATE TABLE attempt (
    job_id BIGINT NOT NULL,
    attempt INTEGER NOT NULL,
    worker_id BIGINT NOT NULL,
    session_id BIGINT,
    outcome TEXT NOT NULL,
    error TEXT,
    traceback TEXT,
    grab_ts DOUBLE PRECISION NOT NULL,
    end_ts DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (job_id, attempt),
    CONSTRAINT attempt_outcome CHECK (outcome IN ('failed', 'crashed', 'released', 'requeued'))
);
CREATE TABLE campaign (
    id BIGSERIAL NOT NULL,
    name TEXT NOT NULL,
    state TEXT DEFAULT 'open' NOT NULL,
    max_failures INTEGER NOT NULL,
    max_crashes INTEGER NOT NULL,
    backoff_s DOUBLE PRECISION NOT NULL,
    backoff_max_s DOUBLE PRECISION NOT NULL,
    total BIGINT DEFAULT 0 NOT NULL,
    done BIGINT DEFAULT 0 NOT NULL,
    failed BIGINT DEFAULT 0 NOT NULL,
    file TEXT,
    results TEXT,
    parameters TEXT,
    logged_id BIGINT DEFAULT 0 NOT NULL,
    logged_bytes BIGINT DEFAULT 0 NOT NULL,
    created_ts DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT campaign_state CHECK (state IN ('open', 'paused', 'cancelled')),
    UNIQUE (name)
);
CREATE TABLE checkpoint (
    job_id BIGINT NOT NULL,
    step INTEGER NOT NULL,
    metrics TEXT NOT NULL,
    PRIMARY KEY (job_id)
);
CREATE TABLE event (
    id BIGSERIAL NOT NULL,
    campaign_id BIGINT NOT NULL,
    worker_id BIGINT NOT NULL,
    ts DOUBLE PRECISION NOT NULL,
    kind TEXT NOT NULL,
    message TEXT NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX event_campaign ON event (campaign_id, id);
CREATE TABLE job (
    id BIGSERIAL NOT NULL,
    campaign_id BIGINT NOT NULL,
    key TEXT NOT NULL,
    params TEXT NOT NULL,
    status TEXT DEFAULT 'pending' NOT NULL,
    priority INTEGER DEFAULT 0 NOT NULL,
    attempt INTEGER DEFAULT 0 NOT NULL,
    failures INTEGER DEFAULT 0 NOT NULL,
    crashes INTEGER DEFAULT 0 NOT NULL,
    worker_id BIGINT,
    session_id BIGINT,
    created_ts DOUBLE PRECISION NOT NULL,
    not_before_ts DOUBLE PRECISION,
    grab_ts DOUBLE PRECISION,
    end_ts DOUBLE PRECISION,
    error TEXT,
    PRIMARY KEY (id),
    CONSTRAINT job_status CHECK (status = 'pending' OR status = 'in_progress' OR status = 'done' OR status = 'failed'),
    CONSTRAINT job_lease CHECK (status <> 'in_progress' OR (worker_id IS NOT NULL AND grab_ts IS NOT NULL)),
    CONSTRAINT job_wait CHECK (status = 'pending' OR not_before_ts IS NULL)
);
CREATE INDEX job_failed ON job (campaign_id, id) WHERE status = 'failed';
CREATE UNIQUE INDEX job_key ON job (campaign_id, key);
CREATE INDEX job_ready ON job (campaign_id, priority DESC, crashes, id) WHERE status = 'pending' AND not_before_ts IS NULL;
CREATE INDEX job_running ON job (worker_id) WHERE status = 'in_progress';
CREATE INDEX job_waiting ON job (campaign_id, not_before_ts) WHERE not_before_ts IS NOT NULL;
CREATE TABLE result (
    id BIGSERIAL NOT NULL,
    campaign_id BIGINT NOT NULL,
    job_id BIGINT NOT NULL,
    metrics TEXT NOT NULL,
    suspicion TEXT,
    PRIMARY KEY (id),
    UNIQUE (job_id)
);
CREATE INDEX result_suspicion ON result (campaign_id, job_id) WHERE suspicion IS NOT NULL;
CREATE TABLE schema_version (
    version INTEGER NOT NULL,
    PRIMARY KEY (version)
);
CREATE TABLE session (
    id BIGINT NOT NULL,
    campaign_id BIGINT NOT NULL,
    worker_id BIGINT NOT NULL,
    name TEXT NOT NULL,
    browser TEXT NOT NULL,
    renderer TEXT NOT NULL,
    client TEXT NOT NULL,
    runner TEXT NOT NULL,
    vuer TEXT NOT NULL,
    file_sha256 TEXT,
    settings TEXT NOT NULL,
    started_ts DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (id)
);
CREATE TABLE worker (
    id BIGINT NOT NULL,
    campaign_id BIGINT NOT NULL,
    host TEXT NOT NULL,
    boot TEXT NOT NULL,
    pid INTEGER NOT NULL,
    pid_start TEXT NOT NULL,
    beat BIGINT DEFAULT 0 NOT NULL,
    state TEXT DEFAULT 'live' NOT NULL,
    started_ts DOUBLE PRECISION NOT NULL,
    beat_ts DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT worker_state CHECK (state IN ('live', 'ended', 'lost'))
);
CREATE INDEX worker_live ON worker (campaign_id) WHERE state = 'live';
