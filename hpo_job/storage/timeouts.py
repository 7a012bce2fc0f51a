"""The times of a storage that are no option, in seconds; those that are one are in `defaults`."""

from __future__ import annotations

LONGEST_HEARTBEAT = 8  # between heartbeats, however long the grace

# -- waiting for a database ------------------------------------------------------------------
# Above the server's usual innodb_lock_wait_timeout of 50 s, so that its error 1205 arrives first.
ANSWER_TIMEOUT = 90  # for an answer to a statement
BUSY_TIMEOUT = 60  # that one SQLite writer waits for the others
LOCK_TIMEOUT = 120  # for a study's lock on a SQLite file, which is held for milliseconds
# Until the file of a mounted Secret is renewed: the kubelet looks each minute, at what it has
# remembered for a minute; and some more
RENEWAL = 150
# That a worker that was asked to stop still waits for a server: Kubernetes kills after 30.
STOPPING_PATIENCE = 15

# -- sharing a server ------------------------------------------------------------------------
# A worker that is idle for longer is frozen, or its machine is gone: the server ends its
# connection, and with it its lock.
FROZEN_TIMEOUT = 30
