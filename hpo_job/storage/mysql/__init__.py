"""A study that many workers share on a MySQL or MariaDB server."""

from hpo_job.storage.locks import LockLost
from hpo_job.storage.mysql.capacity import Capacity, capacity
from hpo_job.storage.mysql.rights import require_can_create, try_rights
from hpo_job.storage.mysql.storage import MySQLStorage
from hpo_job.storage.mysql.url import plain_text_warning, redacted_url

__all__ = [
    "Capacity",
    "LockLost",
    "MySQLStorage",
    "capacity",
    "plain_text_warning",
    "redacted_url",
    "require_can_create",
    "try_rights",
]
