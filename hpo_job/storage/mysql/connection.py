"""A process' one connection: opened when needed, given back when idle, retried to a deadline.

Guaranteed:
- A process has one connection at most, however many threads it has; they take turns.
- A statement is sent until it is answered, or for the patience. Whoever sends one must therefore
  make it safe to send twice: the server may have executed it although its answer was lost.
- A transaction is executed whole or not at all; it is begun again from the start.
- The lock belongs to the connection. While `locked` is entered, either the lock is held, or the
  next statement of that thread raises `LockLost`.

Not guaranteed:
- Two statements outside of a transaction may travel on two connections, with others in between.
- Temporary tables and session variables do not survive a pause: the connection may be another.
"""

import logging
import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn, TypeVar

from optuna.exceptions import OptunaError

from hpo_job.storage import timeouts, urls, waiting
from hpo_job.storage.defaults import IDLE
from hpo_job.storage.locks import LockLost
from hpo_job.storage.mysql import faults, lifetime
from hpo_job.storage.mysql.turns import Turns
from hpo_job.storage.mysql.url import Server, read_url
from hpo_job.storage.outage import Outage

logger = logging.getLogger(__name__)

T = TypeVar("T")
Cursor = Any  # DB-API 2.0; neither driver has types
Work = Callable[[Cursor, int], T]


class Connection:
    """At most one connection to one server, shared by the threads of a process.

    Args:
        server: where to connect to.
        patience: seconds for which a statement is retried when the server is away or busy.
        on_idle: called in a separate thread before the idle connection is given back.
        idle: seconds without a statement after which the connection is given back.
    """

    def __init__(
        self,
        server: Server,
        patience: float,
        on_idle: Callable[[], None],
        idle: float = IDLE,
    ) -> None:
        self.server = server
        self.mutex = threading.RLock()
        self.patience = patience
        self._on_idle = on_idle
        self.idle = idle
        self._raw: Any = None
        self._generation = 0  # counts connections: a lock of an earlier one is lost
        self._used = 0.0
        self._turns = Turns(idle)
        self._in_transaction = False
        self._watched = False
        self._ever_away = False
        self._ever_connected = False
        self._refused: float | None = None  # when this process was, which was never let in
        self._outage = Outage(server.label)
        self._lock: _Lock | None = None
        lifetime.forget_after_fork(self)

    # -- statements ---------------------------------------------------------------------

    def run(
        self,
        work: Work[T],
        *,
        transaction: bool = False,
        checks_lock: bool = False,
        also_retried: frozenset[int] = frozenset(),
    ) -> T:
        """Call ``work(cursor, attempt)`` until it gets through; it must be safe to repeat.

        Args:
            work: sends statements. ``attempt`` counts from 0; above 0, what an earlier call sent
                may have been executed.
            transaction: put BEGIN and COMMIT around the work.
            checks_lock: the work finds out itself what a lost lock means for it.
            also_retried: further errors of this work that may be gone at the next try; they are
                retried a few times.

        Raises:
            StorageError: waiting does not help.
            UnreachableError: the server was away or busy for all of the patience.
            LockLost: the calling thread holds a lock, and its connection was lost.
        """
        started = time.monotonic()
        attempt = 0
        while True:
            try:
                with self.mutex:
                    if not (checks_lock and attempt):
                        self.check_lock()
                    result = self._try(work, attempt, transaction)
                self._outage.answered(time.monotonic() - started if attempt else 0.0)
                self._give_others_a_turn()
                return result
            except self.server.driver.Error as error:
                worth = self._worth(error)
                if faults.code_of(error) in also_retried and attempt < waiting.RACES:
                    worth = math.inf
                waited = time.monotonic() - started
                left = self.patience - waited  # the patience may have become shorter meanwhile
                if min(left, worth) <= 0:
                    self._give_up(error, passes_by_itself=worth == math.inf)
                self._say_why(error, waited, min(left, worth))
            attempt += 1
            waiting.pause(attempt)

    def _try(self, work: Work[T], attempt: int, transaction: bool) -> T:
        try:
            cursor = self._cursor()
            if transaction:
                cursor.execute("BEGIN")
                self._in_transaction = True
            result = work(cursor, attempt)
            if transaction:
                cursor.execute("COMMIT")
                self._in_transaction = False
            self._used = time.monotonic()
            return result
        except self.server.driver.Error as error:
            self._after_error(error)
            raise
        except (KeyError, OptunaError):
            # The work's own refusal (an unknown trial, say): its statements were answered.
            self._roll_back()
            raise
        except BaseException:
            # A signal may have come in the middle of an answer: the pipe cannot be trusted.
            self.drop()
            raise

    def _after_error(self, error: Exception) -> None:
        if faults.code_of(error) in faults.LOST | faults.SETTLED:
            self.drop()
        else:
            self._roll_back()

    def _roll_back(self) -> None:
        if not self._in_transaction:
            return
        self._in_transaction = False
        try:
            self._raw.rollback()
        except self.server.driver.Error:
            self.drop()

    def _give_up(self, error: Exception, *, passes_by_itself: bool) -> NoReturn:
        label, source = self.server.label, urls.source(self.server.url)
        if passes_by_itself:
            raise faults.unreachable(error, label, source) from error
        if isinstance(error, self.server.driver.IntegrityError):
            raise error
        raise faults.storage_error(error, label, source) from error

    def _say_why(self, error: Exception, waited: float, left: float) -> None:
        # a server that restarts breaks TLS off, too, and says nothing of certificates
        renewed = faults.code_of(error) == faults.LOGIN_REFUSED or "certificate" in str(error)
        rotated = renewed and urls.reread(self.server.url)
        awaited = f"{urls.source(self.server.url)} to be renewed" if rotated else "the server"
        self._outage.waiting(faults.reason(error), waited, left, awaited)

    def _worth(self, error: Exception) -> float:
        """Seconds for which sending a statement again may help; 0 where it does not."""
        code = faults.code_of(error)
        self._ever_away = self._ever_away or code in faults.LOST
        if code in faults.ROTATED and (renewal := self._renewal()):
            return renewal
        settled = code in faults.SETTLED and self._ever_connected
        return math.inf if settled or code in faults.LOST | faults.BUSY else 0.0

    def _renewal(self) -> float:
        """Seconds until the file with the URL has another password or authority, at most.

        Kubernetes renews the file of a mounted Secret a minute or two after the Secret. So who was
        let in before, or has seen the server go away, waits for it; who starts in these minutes
        waits for as long as that takes. Elsewhere the password is wrong: 0.
        """
        url = urls.reread(self.server.url)
        if url is None:
            return 0.0
        if url != urls.canonical(self.server.url):
            self.server = read_url(url)
            return math.inf
        if self._ever_connected or self._ever_away:
            return math.inf
        if not urls.is_mounted(url):
            return 0.0
        self._refused = self._refused or time.monotonic()
        return max(0.0, timeouts.RENEWAL - (time.monotonic() - self._refused))

    def was_away(self, seconds: float) -> bool:
        """Whether the server, or the way to it, was away at some time in the last ``seconds``.

        Missing heartbeats say nothing then: their workers could not write them.
        """
        if self._outage.was_within(seconds):
            return True

        def uptime(cursor: Cursor, _: int) -> int:
            cursor.execute("SHOW GLOBAL STATUS LIKE 'Uptime'")
            return int(cursor.fetchone()[1])

        return self.run(uptime) < seconds

    # -- opening and giving back ----------------------------------------------------------

    def _cursor(self) -> Cursor:
        if self._raw is None:
            self._raw = self.server.driver.connect(**self.server.arguments)
            self._generation += 1
            self._ever_connected = True
            self._used = time.monotonic()
            self._turns.begin()
            self.touch()
        return self._raw.cursor()

    def drop(self) -> None:
        """Close the connection, whatever state it is in; the next statement opens another."""
        with self.mutex:
            raw, self._raw = self._raw, None
            self._in_transaction = False
            if raw is not None:
                with suppress(self.server.driver.Error):  # closed already, by the other side
                    raw.close()

    def touch(self) -> None:
        """Note that something is in use or buffered: it is seen to when it has been idle."""
        with self.mutex:
            self._used = time.monotonic()
            if not self._watched:
                self._watched = True
                lifetime.watch(self)

    def give_back_when_idle(self) -> bool:
        """Have the owner write what it buffered and close the connection, if it is idle.

        Returns:
            whether the connection was closed, so that nobody has to look after it any more.
        """
        if not self._is_idle():
            return False
        try:
            self._on_idle()
        except Exception as error:  # the owner's next write meets it again
            logger.debug("%s: buffered writes are kept: %s", self.server.label, error)
        with self.mutex:
            if not self._is_idle():
                return False
            self.drop()
            self._watched = False
            return True

    def _is_idle(self) -> bool:
        with self.mutex:
            return self._lock is None and time.monotonic() - self._used >= self.idle

    def _give_others_a_turn(self) -> None:
        """Close the connection for a moment where the server has none left; see `turns`."""
        with self.mutex:
            if self._lock is not None or self._raw is None or self._in_transaction:
                return
            if not self._turns.is_over():
                return
            crowded = self._turns.is_crowded(self._raw, self.server.driver.Error)
            if crowded:
                self.drop()
        if crowded:
            time.sleep(random.uniform(0.1, 0.4))

    # -- one lock -----------------------------------------------------------------------------

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold a server-wide named lock; the server frees it when the connection is lost.

        Raises:
            LockLost: the connection, and with it the lock, was lost inside the block, and
                the block had not yet done what it needed the lock for (`lock_is_spent`).
                Others may have been inside meanwhile: what was read under the lock is void.
            UnreachableError: another worker held it for all of the patience.
        """
        self._acquire(name)
        try:
            yield
            self.check_lock()
        finally:
            self._release()

    def lock_is_spent(self) -> None:
        """Note that the calling block has done what it needs the lock for.

        From here on, losing the lock does no harm, and is not reported.
        """
        if self._lock is not None and self._lock.thread == threading.get_ident():
            self._lock.spent = True

    def check_lock(self) -> None:
        """Raise LockLost where the calling thread's lock went with its connection."""
        lock = self._lock
        if lock is None or lock.spent or lock.thread != threading.get_ident():
            return
        if self._raw is None or lock.generation != self._generation:
            raise LockLost(f"{self.server.label}: the connection that held {lock.name} was lost")

    def holds_lock(self) -> bool:
        """Whether the calling thread is inside `locked`."""
        return self._lock is not None and self._lock.thread == threading.get_ident()

    def _acquire(self, name: str) -> None:
        started = time.monotonic()

        def get_lock(cursor: Cursor, _: int) -> bool:
            # Waits of one second: signal handlers run between them, and other threads get
            # their statements through.
            cursor.execute("SELECT GET_LOCK(%s, 1)", (name,))
            held = bool(cursor.fetchone()[0])
            if held:
                self._lock = _Lock(name, threading.get_ident(), self._generation)
            return held

        while not self.run(get_lock):
            if time.monotonic() - started > self.patience:
                raise faults.unreachable(
                    TimeoutError(1205, f"{name} is held by another worker"), self.server.label
                )

    def _release(self) -> None:
        with self.mutex:
            lock, self._lock = self._lock, None
            if lock is None or self._raw is None or lock.generation != self._generation:
                return
            try:
                self._raw.cursor().execute("DO RELEASE_LOCK(%s)", (lock.name,))
                self._used = time.monotonic()
            except self.server.driver.Error:
                self.drop()  # and so the server frees it

    # -- fork -----------------------------------------------------------------------------------

    def after_fork(self) -> None:
        """Forget the connection in a forked child, such as a data loader's worker.

        It is the parent's: two processes on one connection read each other's answers.
        """
        self._parents = self._raw  # kept, because closing it would end the parent's session
        self._raw = self._lock = None
        self._in_transaction = self._watched = False
        self._generation += 1
        self.mutex = threading.RLock()


class _Lock:
    """A named lock that a connection of a given generation holds for a thread."""

    def __init__(self, name: str, thread: int, generation: int) -> None:
        self.name = name
        self.thread = thread
        self.generation = generation
        self.spent = False
