"""The SQL of the moves: each statement that writes, or that a move must read, by its name.

SQLite and PostgreSQL share them. Values are named (:job); statements for many rows at once bind by position (?), which
costs less. database.py translates them for the driver, and runs them on its own connection: compiling them anew at each
call costs several times the statement.
"""

from __future__ import annotations

# The status is a literal everywhere: a bound one keeps the planner from the partial indexes.
# A worker that was declared lost, and a campaign that is not open, get nothing.
_READY = """SELECT id FROM job
      WHERE campaign_id = :campaign AND status = 'pending' AND not_before_ts IS NULL
        AND EXISTS (SELECT 1 FROM campaign WHERE id = :campaign AND state = 'open')
        AND EXISTS (SELECT 1 FROM worker WHERE id = :worker AND state = 'live')
      ORDER BY priority DESC, crashes, id"""
_TAKE = """UPDATE job SET status = 'in_progress', attempt = attempt + 1, worker_id = :worker,
       session_id = :session, grab_ts = :now"""
_TAKEN = "RETURNING priority, id, attempt, key, params, failures, crashes, created_ts"
CLAIM_MANY = f"""
WITH ready AS MATERIALIZED ({_READY} LIMIT :count {{skip_locked}})
{_TAKE} WHERE id IN (SELECT id FROM ready)
{_TAKEN}
"""
# A single job, the most frequent case, costs SQLite a quarter less without the table in between.
CLAIM = f"""
{_TAKE} WHERE id = ({_READY} LIMIT 1 {{skip_locked}})
{_TAKEN}
"""
# The same for one job, given by its id and by how many attempts it has had.
CLAIM_ONE = CLAIM.replace("ORDER BY", "AND id = :job AND attempt = :attempt ORDER BY")
# The same for the first job from an id on, among those that are handed out before all others.
CLAIM_NEAR = CLAIM.replace(
    "ORDER BY",
    """AND crashes = 0 AND id >= :at
        AND priority = (SELECT priority FROM job
                         WHERE campaign_id = :campaign AND status = 'pending' AND not_before_ts IS NULL
                         ORDER BY priority DESC, crashes, id LIMIT 1)
      ORDER BY""",
)

_FENCE = "id = :job AND worker_id = :worker AND attempt = :attempt AND status = 'in_progress'"

COMPLETE = """
UPDATE job SET status = 'done', end_ts = ?, error = NULL
 WHERE id = ? AND worker_id = ? AND attempt = ? AND status = 'in_progress'
"""
ADOPT = f"""
UPDATE job SET status = 'done', grab_ts = :grab_ts, end_ts = :end_ts, session_id = :session, error = NULL
 WHERE {_FENCE}
"""
RELEASE = f"""
UPDATE job SET status = 'pending', worker_id = NULL, end_ts = :now WHERE {_FENCE}
"""
FAIL = f"""
UPDATE job
   SET status = :status, worker_id = NULL, end_ts = :now, not_before_ts = :not_before,
       failures = failures + :failures, crashes = crashes + :crashes, error = :error
 WHERE {_FENCE}
"""
WRITE_ATTEMPT = """
INSERT INTO attempt (job_id, attempt, worker_id, session_id, outcome, error, traceback, grab_ts, end_ts)
VALUES (:job, :attempt, :worker, (SELECT session_id FROM job WHERE id = :job), :outcome, :error, :traceback,
        :grab_ts, :now)
"""
OUTCOME_OF = """
SELECT outcome, job.status FROM attempt JOIN job ON job.id = attempt.job_id
 WHERE job_id = :job AND attempt.attempt = :attempt AND outcome IN ('failed', 'crashed')
"""
TAKEN_FROM = """
SELECT job_id, attempt FROM attempt WHERE worker_id = :worker AND outcome = 'crashed' AND error = :error
"""
UNCHARGE_ATTEMPT = "UPDATE attempt SET outcome = 'released' WHERE job_id = :job AND attempt = :attempt"
UNCHARGE_JOB = """
UPDATE job
   SET failures = failures - :failures, crashes = crashes - :crashes, not_before_ts = NULL,
       status = CASE WHEN status = 'failed' THEN 'pending' ELSE status END
 WHERE id = :job AND status <> 'done' AND failures >= :failures AND crashes >= :crashes
"""
WRITE_EVENT = """
INSERT INTO event (campaign_id, worker_id, ts, kind, message)
VALUES (:campaign, :worker, :ts, :kind, :message)
"""
COUNT_DONE = "UPDATE campaign SET done = done + :count WHERE id = :campaign"
COUNT_FAILED = "UPDATE campaign SET failed = failed + :count WHERE id = :campaign"
COUNT_TOTAL = "UPDATE campaign SET total = total + :count WHERE id = :campaign"
# Results are read in the order of their ids. On PostgreSQL a later id could be committed first, so the lock makes
# completing transactions of one campaign take turns.
LOCK_RESULTS = "SELECT pg_advisory_xact_lock(:campaign)"
WRITE_RESULT = """
INSERT INTO result (campaign_id, job_id, metrics, marks, suspicion, phases)
VALUES (:campaign, :job, :metrics, :marks, :suspicion, :phases)
"""
WRITE_ARTIFACT = """
INSERT INTO artifact (job_id, name, path, size, sha256, kind, start)
VALUES (:job, :name, :path, :size, :sha256, :kind, :start)
ON CONFLICT (job_id, name) DO UPDATE
   SET path = excluded.path, size = excluded.size, sha256 = excluded.sha256, kind = excluded.kind,
       start = excluded.start
"""
WRITE_SHARD = """
INSERT INTO shard (campaign_id, path, size, jobs) VALUES (:campaign, :path, :size, :jobs)
ON CONFLICT (campaign_id, path) DO UPDATE SET size = excluded.size, jobs = excluded.jobs
 WHERE shard.address IS NULL
"""
# Only if the object holds the whole shard: a row that was extended meanwhile stays as it is.
MOVE_SHARD = """
UPDATE shard SET address = :address
 WHERE campaign_id = :campaign AND path = :path AND size = :size AND address IS NULL
"""
HOLD = f"UPDATE job SET worker_id = worker_id WHERE {_FENCE}"
WRITE_CHECKPOINT = """
INSERT INTO checkpoint (job_id, step, metrics, marks, scene) VALUES (:job, :step, :metrics, :marks, :scene)
ON CONFLICT (job_id) DO UPDATE
   SET step = excluded.step, metrics = excluded.metrics, marks = excluded.marks, scene = excluded.scene
"""
FORGET_CHECKPOINT = "DELETE FROM checkpoint WHERE job_id = :job"
FORGET_STEP_ARTIFACTS = "DELETE FROM artifact WHERE job_id = :job"
SET_STATE = "UPDATE campaign SET state = :state WHERE id = :campaign"
PROMOTE = """
UPDATE job SET not_before_ts = NULL
 WHERE campaign_id = :campaign AND not_before_ts IS NOT NULL
   AND (not_before_ts <= :now OR not_before_ts > :latest)
"""
ADD_JOB = """
INSERT INTO job (campaign_id, key, params, priority, created_ts)
VALUES (?, ?, ?, ?, ?)
ON CONFLICT (campaign_id, key) DO NOTHING
"""
PRUNE = "DELETE FROM job WHERE id = :job AND campaign_id = :campaign AND status = 'pending'"
# SQLite may use the id again, so nothing of the job may stay.
FORGET_JOB = (
    "DELETE FROM attempt WHERE job_id = :job",
    "DELETE FROM checkpoint WHERE job_id = :job",
    "DELETE FROM artifact WHERE job_id = :job",
    "DELETE FROM result WHERE job_id = :job",
)
KNOWN_JOB = "SELECT id, params, status FROM job WHERE campaign_id = :campaign AND key = :key"
UPDATE_PARAMS = """
UPDATE job SET params = :params, failures = 0, crashes = 0, error = NULL, not_before_ts = NULL
 WHERE id = :job AND status = 'pending'
"""
ADD_CAMPAIGN = """
INSERT INTO campaign
       (name, max_failures, max_crashes, backoff_s, backoff_max_s, file, results, remote, created_ts)
VALUES (:name, :max_failures, :max_crashes, :backoff_s, :backoff_max_s, :file, :results, :remote, :now)
ON CONFLICT (name) DO UPDATE
   SET max_failures = excluded.max_failures, max_crashes = excluded.max_crashes,
       backoff_s = excluded.backoff_s, backoff_max_s = excluded.backoff_max_s,
       file = COALESCE(excluded.file, campaign.file),
       results = COALESCE(excluded.results, campaign.results),
       remote = CASE WHEN excluded.results IS NULL THEN campaign.remote ELSE excluded.remote END
RETURNING id
"""
ADD_FOLDER = """
INSERT INTO folder (campaign_id, id, place) VALUES (:campaign, :folder, :place)
ON CONFLICT (campaign_id, id) DO UPDATE SET place = excluded.place
"""
START_WORKER = """
INSERT INTO worker (id, campaign_id, host, boot, pid, pid_start, started_ts, beat_ts, folder)
VALUES (:worker, :campaign, :host, :boot, :pid, :pid_start, :now, :now, :folder)
"""
START_SESSION = """
INSERT INTO session (id, campaign_id, worker_id, name, browser, renderer, client, runner, vuer,
                     file_sha256, settings, started_ts)
VALUES (:session, :campaign, :worker, :name, :browser, :renderer, :client, :runner, :vuer,
        :file_sha256, :settings, :now)
"""
BEAT = """
UPDATE worker SET beat = beat + 1, beat_ts = :now WHERE id = :worker AND state = 'live'
"""
END_WORKER = """
UPDATE worker SET state = 'ended', beat_ts = :now WHERE id = :worker AND state = 'live'
"""
LOSE_WORKER = """
UPDATE worker SET state = 'lost' WHERE id = :worker AND state = 'live' AND beat = :beat
"""
HELD_BY = """
SELECT id, campaign_id, attempt, key, failures, crashes, created_ts, grab_ts FROM job
 WHERE worker_id = :worker AND status = 'in_progress'
"""
POLICY_OF = """
SELECT max_failures, max_crashes, backoff_s, backoff_max_s FROM campaign WHERE id = :campaign
"""
RETRY = """
UPDATE job SET status = 'pending', failures = 0, crashes = 0, error = NULL
 WHERE campaign_id = :campaign AND status = 'failed'
"""
RETRY_ONE = RETRY + " AND key = :key"
WRITE_REQUEUED = """
INSERT INTO attempt (job_id, attempt, worker_id, session_id, outcome, error, grab_ts, end_ts)
SELECT id, attempt, worker_id, session_id, 'requeued', :reason, grab_ts, end_ts FROM job
 WHERE campaign_id = :campaign AND key = :key AND status = 'done'
"""
REQUEUE = """
UPDATE job SET status = 'pending', worker_id = NULL, failures = 0, crashes = 0
 WHERE campaign_id = :campaign AND key = :key AND status = 'done'
"""
FORGET_RESULT = """
DELETE FROM result WHERE job_id = (SELECT id FROM job WHERE campaign_id = :campaign AND key = :key)
"""
FORGET_ARTIFACTS = """
DELETE FROM artifact WHERE job_id = (SELECT id FROM job WHERE campaign_id = :campaign AND key = :key)
"""
WRITE_PARAMETERS = "UPDATE campaign SET parameters = :parameters WHERE id = :campaign"
RESET_LOGS = "UPDATE folder SET logged_id = 0, logged_bytes = 0 WHERE campaign_id = :campaign"
WRITE_LOG_CURSOR = """
UPDATE folder SET logged_id = :logged_id, logged_bytes = :logged_bytes
 WHERE campaign_id = :campaign AND id = :folder
"""
