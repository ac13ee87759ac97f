"""Every error this library raises, in one tree.

    EventStateError
    ├── InvalidInputError                 the caller's input; nothing was sent
    │   ├── InvalidIdError
    │   ├── EncodingError
    │   ├── DocumentTooLargeError
    │   ├── ConfigurationError
    │   ├── UnknownEventError
    │   ├── NestedTransactionError
    │   ├── TransactionEndedError
    │   ├── ScanNotSerializableError
    │   ├── ExportFileError
    │   ├── ProjectionVersionError
    │   ├── JobFileError
    │   ├── DependencyCycleError
    │   ├── TaskIndexError
    │   ├── TaskMismatchError
    │   └── UnhandledEventError
    ├── IllegalTransitionError            the machine's declaration forbids it
    ├── NotFoundError
    │   ├── StateNotFoundError
    │   ├── VersionNotFoundError
    │   ├── StateDeletedError
    │   ├── ProjectionNotFoundError
    │   ├── SubjectNotFoundError
    │   ├── RunNotFoundError
    │   ├── WorkstreamNotFoundError
    │   ├── JobNotFoundError
    │   └── TaskStatusNotFoundError
    ├── ConflictError                     someone else was faster; nothing was written
    │   ├── VersionConflictError
    │   ├── TransactionConflictError
    │   ├── DeadlockDetectedError
    │   ├── IdempotencyMismatchError
    │   ├── HistoryConflictError
    │   ├── AlreadyExistsError
    │   ├── JobClosedError
    │   └── JobFinishedError
    ├── LockError                         a lock that is not had, or not had any more
    │   ├── LockTimeoutError
    │   ├── LockAlreadyHeldError
    │   └── LeaseLostError
    ├── NotRepeatableError                a transaction's operation is not the same when run again
    ├── OutcomeError                      a commit whose fate needs words
    │   ├── CommitUnknownError
    │   └── TokenExpiredError
    ├── StoreError
    │   ├── StoreUnavailableError
    │   ├── StorageFullError
    │   ├── StoreReadOnlyError
    │   ├── StorePermissionError
    │   ├── StoreClosedError
    │   ├── StoreForkedError
    │   ├── NotADatabaseError
    │   ├── FormatError
    │   └── NotSupportedError
    ├── CorruptionError                   stored bytes are not what was written
    │   └── DecryptionError
    ├── KeyringError                      for want of a subject's key
    │   ├── KeyLostError
    │   └── SubjectErasedError
    ├── SchemaError                       stored bytes are good, but this code can't read them
    │   ├── UpcastError
    │   └── SchemaNewerError
    └── ProgramError                      another program, which a command needs, did not do its part
        ├── ProgramMissingError
        └── ProgramFailedError

Each class says when it happens and what to do. Attributes are typed and keyword-only, errors
can be pickled, and errors of drivers never leave a store unmapped. An exception raised by the
caller's own code (evolve, decide, upcasters) passes unchanged unless a class here says otherwise.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "AlreadyExistsError",
    "CommitUnknownError",
    "ConfigurationError",
    "ConflictError",
    "CorruptionError",
    "DeadlockDetectedError",
    "DecryptionError",
    "DependencyCycleError",
    "DocumentTooLargeError",
    "EncodingError",
    "EventStateError",
    "ExportFileError",
    "FormatError",
    "HistoryConflictError",
    "IdempotencyMismatchError",
    "IllegalTransitionError",
    "InvalidIdError",
    "InvalidInputError",
    "JobClosedError",
    "JobFileError",
    "JobFinishedError",
    "JobNotFoundError",
    "KeyLostError",
    "KeyringError",
    "LeaseLostError",
    "LockAlreadyHeldError",
    "LockError",
    "LockTimeoutError",
    "NestedTransactionError",
    "NotADatabaseError",
    "NotFoundError",
    "NotRepeatableError",
    "NotSupportedError",
    "OutcomeError",
    "ProgramError",
    "ProgramFailedError",
    "ProgramMissingError",
    "ProjectionNotFoundError",
    "ProjectionVersionError",
    "RunNotFoundError",
    "ScanNotSerializableError",
    "SchemaError",
    "SchemaNewerError",
    "StateDeletedError",
    "StateNotFoundError",
    "StorageFullError",
    "StoreClosedError",
    "StoreError",
    "StoreForkedError",
    "StorePermissionError",
    "StoreReadOnlyError",
    "StoreUnavailableError",
    "SubjectErasedError",
    "SubjectNotFoundError",
    "TaskIndexError",
    "TaskMismatchError",
    "TaskStatusNotFoundError",
    "TokenExpiredError",
    "TransactionConflictError",
    "TransactionEndedError",
    "UnhandledEventError",
    "UnknownEventError",
    "UpcastError",
    "VersionConflictError",
    "VersionNotFoundError",
    "WorkstreamNotFoundError",
]


def _restore(cls: type[EventStateError], args: tuple[Any, ...], fields: dict[str, Any]) -> EventStateError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(fields)
    return error


class EventStateError(Exception):
    """The root: catch it to catch everything this library raises itself.

    Attributes:
        is_transient: True where trying the same call again may succeed without a change.
        suggested_backoff: seconds to wait before the first retry; 0 where none is needed.
    """

    is_transient: bool = False
    suggested_backoff: float = 0.0

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, self.__dict__)


class InvalidInputError(EventStateError, ValueError):
    """The arguments can't be used. Nothing was sent or written; correct the call."""


class InvalidIdError(InvalidInputError):
    """A governor, machine or state id breaks the rules for ids. The message names the rule."""

    def __init__(self, *, what: str, value: object, rule: str) -> None:
        self.what = what
        self.value = value
        self.rule = rule
        shown = repr(value)
        super().__init__(f"{what} {shown[:80] + '…' if len(shown) > 80 else shown} can't be used: {rule}")


class EncodingError(InvalidInputError):
    """A value has no exact JSON form (NaN, lone surrogate, huge int, too deep, unknown type).

    ``path`` says where in the value, as in ``$.lines[2].price``. Convert it before the call.
    """

    def __init__(self, *, path: str, problem: str) -> None:
        self.path = path
        self.problem = problem
        super().__init__(f"value at {path} can't be stored: {problem}")


class DocumentTooLargeError(InvalidInputError):
    """A document or a batch is above the store's limit. Split the batch or store less."""

    def __init__(self, *, what: str, size: int, limit: int) -> None:
        self.what = what
        self.size = size
        self.limit = limit
        super().__init__(
            f"{what} has {size:,} bytes, the limit is {limit:,}: split it, or keep large values"
            " elsewhere and store a reference"
        )


class ConfigurationError(InvalidInputError):
    """An option, URL or declaration contradicts itself or another. The message names it."""


class UnknownEventError(InvalidInputError):
    """An event of a type that the machine does not declare. Add the type, or an upcaster for it."""

    def __init__(self, *, machine: str, event_type: str, known: tuple[str, ...], where: str = "") -> None:
        self.machine = machine
        self.event_type = event_type
        self.known = known
        self.where = where
        place = f" at {where}" if where else ""
        super().__init__(
            f"machine {machine!r} knows no event {event_type!r}{place}; it declares {', '.join(known) or 'none'}."
            " Add the type to evolve's annotation or to Machine(events=...)"
        )


class UnhandledEventError(InvalidInputError):
    """An event that a strict view of an orchestration can't use. Correct the event, or leave ``strict`` out."""

    def __init__(self, *, event_type: str, unit: str | None, reason: str) -> None:
        self.event_type = event_type
        self.unit = unit
        self.reason = reason
        about = "" if unit is None else f" of unit {unit!r}"
        super().__init__(f"event {event_type!r}{about} can't be used: {reason}. Without strict=True it is counted only")


class NestedTransactionError(InvalidInputError):
    """A transaction was begun inside another's operation. Do all of it in the outer one, or after it."""

    def __init__(self, *, outer: str) -> None:
        self.outer = outer
        super().__init__(
            f"a transaction can't run inside the operation of transaction {outer}: its commit would not be undone"
            " with the outer one's; pass the outer transaction on instead"
        )


class TransactionEndedError(InvalidInputError):
    """A transaction was used after its operation had returned. What it would have done is not done."""

    def __init__(self, *, transaction: str) -> None:
        self.transaction = transaction
        super().__init__(f"transaction {transaction} has ended: use it only inside the operation it was given to")


class ScanNotSerializableError(InvalidInputError):
    """A transaction asked for a list that others may add to unseen. Read by key, or declare the collection guarded."""

    def __init__(self, *, what: str) -> None:
        self.what = what
        super().__init__(
            f"a transaction can't list {what}: what others add to it meanwhile would go unnoticed. Read by key, or"
            " name the collection in TransactionManager(guarded=[...])"
        )


class ExportFileError(InvalidInputError):
    """A file is no export of streams, is cut, was changed, or was exported decrypted. Nothing of it was written.

    ``line`` counts from 1. Export again, or fetch the file again.
    """

    def __init__(self, *, file: str, line: int, problem: str) -> None:
        self.file = file
        self.line = line
        self.problem = problem
        super().__init__(f"{file}, line {line}: {problem}")


class ProjectionVersionError(InvalidInputError):
    """The projection that is read was built by another version of its code. Nothing was written.

    Newer code rebuilds it; older code is to be stopped.
    """

    def __init__(self, *, name: str, running: int, current: int) -> None:
        self.name = name
        self.running = running
        self.current = current
        what = "rebuild it, then run it" if running > current else "this process runs old code: stop it"
        super().__init__(f"projection {name!r} is built by version {current}, this code is version {running}: {what}")


class JobFileError(InvalidInputError):
    """A file is no job file, or one that can't be used. Nothing was done; ``field`` names the member to correct."""

    def __init__(self, *, path: str, field: str, problem: str) -> None:
        self.path = path
        self.field = field
        self.problem = problem
        super().__init__(f"job file {path}: {f'{field}: ' if field else ''}{problem}")


class DependencyCycleError(InvalidInputError):
    """Jobs depend on each other in a circle, so that none of them could ever begin. Nothing was queued."""

    def __init__(self, *, cycle: tuple[str, ...]) -> None:
        self.cycle = cycle
        super().__init__(f"these jobs depend on each other in a circle: {' -> '.join((*cycle, cycle[0]))}")


class TaskIndexError(InvalidInputError):
    """The job has no task of this index: they count from 0, and the job was created with their number."""

    def __init__(self, *, job: str, task: object, tasks: int) -> None:
        self.job = job
        self.task = task
        self.tasks = tasks
        super().__init__(f"job {job!r} has no task {task!r}: its tasks are 0 to {tasks - 1}, fixed when it was created")


class TaskMismatchError(InvalidInputError):
    """A reporter was to write for another task than its own. Nothing was written; take that task's own reporter."""

    def __init__(self, *, job: str, task: object, own: int) -> None:
        self.job = job
        self.task = task
        self.own = own
        super().__init__(
            f"the reporter of task {own} of job {job!r} can't write for task {task!r}: take reporter({task!r}) instead"
        )


class IllegalTransitionError(EventStateError):
    """The machine's declared transitions forbid this action in this state. Nothing was written."""

    def __init__(
        self, *, machine: str, state: str, action: str, legal: tuple[str, ...], target: str | None = None
    ) -> None:
        self.machine = machine
        self.state = state
        self.action = action
        self.legal = legal
        self.target = target
        if target is None:
            text = (
                f"{machine} in state {state!r} does not allow {action!r}; legal here: {', '.join(legal) or 'nothing'}"
            )
        else:
            text = (
                f"{machine}: {action!r} in state {state!r} led to {target!r}, which the declared"
                f" transitions do not allow; correct evolve or the declaration"
            )
        super().__init__(text)


class NotFoundError(EventStateError, LookupError):
    """What was asked for does not exist."""


class StateNotFoundError(NotFoundError):
    """The stream has no event. Check the id and the governor, or create it with ``expected=0``."""

    def __init__(self, *, governor: str, state_id: str, detail: str = "") -> None:
        self.governor = governor
        self.state_id = state_id
        super().__init__(f"governor {governor!r} has no state {state_id!r}{': ' + detail if detail else ''}")


class VersionNotFoundError(NotFoundError):
    """The stream exists, but not at this version or time (beyond the tip, or pruned away)."""

    def __init__(self, *, state_id: str, asked: str, first: int, last: int) -> None:
        self.state_id = state_id
        self.asked = asked
        self.first = first
        self.last = last
        pruned = "; earlier ones were pruned, and are read where archive= names what holds them" if first > 1 else ""
        super().__init__(f"{state_id!r} has no {asked}: versions {first} to {last} can be rebuilt{pruned}")


class StateDeletedError(NotFoundError):
    """The stream was deleted. Start it again by name with ``reopen=True``; its versions go on."""

    def __init__(self, *, state_id: str, version: int) -> None:
        self.state_id = state_id
        self.version = version
        super().__init__(f"{state_id!r} was deleted at version {version}; pass reopen=True to begin a new incarnation")


class SubjectNotFoundError(NotFoundError):
    """The keyring has no key for this subject, and never had one. Check the name and the governor."""

    def __init__(self, *, governor: str) -> None:
        self.governor = governor
        super().__init__(
            f"the keyring has no such subject in governor {governor!r}: check its name ('eventstate keys' lists them)"
        )


class ProjectionNotFoundError(NotFoundError):
    """There is no projection of this name. It is made when it is first run."""

    def __init__(self, *, governor: str, name: str) -> None:
        self.governor = governor
        self.name = name
        super().__init__(f"governor {governor!r} has no projection {name!r}: it is made when it is first run")


class RunNotFoundError(NotFoundError):
    """There is no such run. Create it first with ``create_run``."""

    def __init__(self, *, governor: str, run_id: str) -> None:
        self.governor = governor
        self.run_id = run_id
        super().__init__(f"governor {governor!r} has no run {run_id!r}: create it with create_run")


class WorkstreamNotFoundError(NotFoundError):
    """There is no such workstream. Create it first with ``create_workstream``."""

    def __init__(self, *, governor: str, workstream_id: str) -> None:
        self.governor = governor
        self.workstream_id = workstream_id
        super().__init__(f"governor {governor!r} has no workstream {workstream_id!r}: create it with create_workstream")


class JobNotFoundError(NotFoundError):
    """There is no such job: it was never queued, started or reported."""

    def __init__(self, *, governor: str, job_id: str, detail: str = "") -> None:
        self.governor = governor
        self.job_id = job_id
        super().__init__(f"governor {governor!r} has no job {job_id!r}{': ' + detail if detail else ''}")


class TaskStatusNotFoundError(NotFoundError):
    """The task has not reported under this tag, or its status was deleted; ``get_or_default`` gives status 0 then."""

    def __init__(self, *, job: str, task: int, tag: str) -> None:
        self.job = job
        self.task = task
        self.tag = tag
        super().__init__(
            f"task {task} of job {job!r} has no status under tag {tag!r}: it has not reported, or it was deleted"
        )


class ConflictError(EventStateError):
    """Somebody else's commit came first. Nothing of this call was written: read again and decide."""

    is_transient = True
    suggested_backoff = 0.01


class VersionConflictError(ConflictError):
    """The stream is not at the expected version. ``actual`` is where it is."""

    def __init__(self, *, stream: str, expected: int, actual: int) -> None:
        self.stream = stream
        self.expected = expected
        self.actual = actual
        super().__init__(
            f"{stream!r} is at version {actual}, not {expected}: load it again, or use execute(), which does"
        )


class TransactionConflictError(ConflictError):
    """A document read or checked by this commit has changed."""

    def __init__(self, *, keys: tuple[str, ...] = (), detail: str = "") -> None:
        self.keys = keys
        named = ", ".join(keys) or "a document"
        super().__init__(f"{named} changed before the commit{': ' + detail if detail else ''}; read again and retry")


class DeadlockDetectedError(ConflictError):
    """Clients wait for each other's locks in a circle, and this one was chosen to give way.

    Its wait is over and it holds what it held before. Release that, then begin anew: a transaction and
    ``acquire_locks`` do so by themselves. ``cycle`` names the clients, each waiting for the next, the last for the
    first.
    """

    suggested_backoff = 0.1

    def __init__(self, *, resource: str, client_id: str, cycle: tuple[str, ...]) -> None:
        self.resource = resource
        self.client_id = client_id
        self.cycle = cycle
        circle = " -> ".join((*cycle, *cycle[:1]))
        super().__init__(
            f"{client_id!r} gives way in a deadlock while waiting for {resource!r} ({circle}): release what it holds"
            " and begin anew, or take the locks in one fixed order with acquire_locks"
        )


class IdempotencyMismatchError(ConflictError):
    """The idempotency key was already used for another command. Use a new key for a new command."""

    is_transient = False
    suggested_backoff = 0.0

    def __init__(self, *, key: str) -> None:
        self.key = key
        super().__init__(f"idempotency key {key!r} was used before with other arguments; nothing was written")


class HistoryConflictError(ConflictError):
    """A stream that is to be copied exists in the target with another history. Nothing of it was overwritten.

    Copy into an empty store, or look at both histories and decide which one is to stay.
    """

    is_transient = False
    suggested_backoff = 0.0

    def __init__(self, *, store: str, stream: str, problem: str) -> None:
        self.store = store
        self.stream = stream
        self.problem = problem
        super().__init__(
            f"{stream!r} in {store} has another history than its source: {problem}; nothing of it was overwritten."
            " Copy into a store that does not have it"
        )


class AlreadyExistsError(ConflictError):
    """There is one of this id already, and it is not the same. Choose another id, or leave it to the library."""

    is_transient = False
    suggested_backoff = 0.0

    def __init__(self, *, what: str, id: str) -> None:
        self.what = what
        self.id = id
        super().__init__(f"there is a {what} {id!r} already, which is not the same: choose another id")


class JobClosedError(ConflictError):
    """The job takes no more reports: it was closed, or deleted. Nothing was written.

    To run it again, mark it as deleted and open it anew with its number of tasks.
    """

    is_transient = False
    suggested_backoff = 0.0

    def __init__(self, *, job: str, is_deleted: bool = False) -> None:
        self.job = job
        self.is_deleted = is_deleted
        super().__init__(
            f"job {job!r} {'was deleted' if is_deleted else 'is closed'} and takes no more reports; to run it again,"
            " mark it as deleted and open it anew with tasks="
        )


class JobFinishedError(ConflictError):
    """The job has ended, and what was asked of it comes too late. A new attempt is a new job."""

    is_transient = False
    suggested_backoff = 0.0

    def __init__(self, *, job_id: str, status: str, action: str) -> None:
        self.job_id = job_id
        self.status = status
        self.action = action
        super().__init__(f"job {job_id!r} is {status}: {action} comes too late; queue a new job")


class LockError(EventStateError):
    """A distributed lock is not had, or not had any more."""


class LockTimeoutError(LockError):
    """The lock could not be had in the time given. ``holder`` is who has it, as far as known."""

    is_transient = True
    suggested_backoff = 1.0

    def __init__(self, *, resource: str, client_id: str, waited: float, holder: str | None = None) -> None:
        self.resource = resource
        self.client_id = client_id
        self.waited = waited
        self.holder = holder
        by = f", held by {holder!r}" if holder is not None else ""
        super().__init__(
            f"{client_id!r} did not get the lock on {resource!r} within {waited:.1f} s{by}: try again, or pass a"
            " longer wait="
        )


class LockAlreadyHeldError(LockError):
    """This client holds the lock already. Pass ``reentrant=True``, or give each unit of work its own client id."""

    def __init__(self, *, resource: str, client_id: str) -> None:
        self.resource = resource
        self.client_id = client_id
        super().__init__(
            f"{client_id!r} holds the lock on {resource!r} already and would wait for itself: pass reentrant=True,"
            " or another client_id for another unit of work"
        )


class LeaseLostError(LockError):
    """The lock has passed to others, or was released or broken. Nothing was written under it.

    Stop the work that it protected, or acquire the lock anew and look at the state first.
    """

    def __init__(self, *, resource: str, token: str) -> None:
        self.resource = resource
        self.token = token
        super().__init__(
            f"the lock on {resource!r} with token {token} is not held any more: stop this work, or acquire the lock"
            " anew and begin from the state as it is then"
        )


class NotRepeatableError(EventStateError):
    """A transaction's operation did something else when run a second time on the same data; nothing was written.

    It changes or looks at something besides its transaction (a global, a clock, a random number), and a retry
    would do that again. Pass such values in, and leave effects to ``on_commit``.
    """

    def __init__(self, *, difference: str) -> None:
        self.difference = difference
        super().__init__(
            f"the operation is not repeatable: {difference}; it must depend on its arguments and its transaction alone,"
            " with effects left to on_commit"
        )


class OutcomeError(EventStateError):
    """A commit about which success or failure can't simply be said."""


class CommitUnknownError(OutcomeError):
    """The store did not answer and the outcome could not be settled in time.

    The commit may be applied or not, now or in a moment. Do not repeat it as a new one: call
    again with the same ``idempotency_key``, or settle it with ``token``.
    """

    is_transient = True
    suggested_backoff = 1.0

    def __init__(self, *, token: str, detail: str = "") -> None:
        self.token = token
        super().__init__(
            f"the outcome of commit {token} is unknown{': ' + detail if detail else ''}; settle it with this"
            " token or repeat the call with the same idempotency key"
        )


class TokenExpiredError(OutcomeError):
    """What would prove this commit's outcome has been pruned. Nothing was written by this call."""

    def __init__(self, *, token: str, detail: str = "") -> None:
        self.token = token
        super().__init__(
            f"commit {token} can't be settled any more{': ' + detail if detail else ''}; look at the state itself"
        )


class StoreError(EventStateError):
    """The store can't do its work. Nothing of the failed call was written."""


class StoreUnavailableError(StoreError):
    """The store did not answer in time, or refused for now. Nothing was written; try again later."""

    is_transient = True
    suggested_backoff = 0.5

    def __init__(self, *, store: str, detail: str) -> None:
        self.store = store
        self.detail = detail
        super().__init__(f"{store} is unavailable: {detail}")


class StorageFullError(StoreError):
    """No space is left. Reads still work; free space, then try again."""

    def __init__(self, *, store: str, detail: str) -> None:
        self.store = store
        super().__init__(f"{store} has no space left ({detail}): nothing was written; free space and try again")


class StoreReadOnlyError(StoreError):
    """The store was opened read-only, or its file or file system can't be written."""

    def __init__(self, *, store: str, detail: str) -> None:
        self.store = store
        super().__init__(f"{store} is read-only: {detail}")


class StorePermissionError(StoreError):
    """The operating system or the service refuses access. Correct the rights or the credentials."""

    def __init__(self, *, store: str, detail: str) -> None:
        self.store = store
        super().__init__(f"no permission for {store}: {detail}")


class StoreClosedError(StoreError):
    """The store was closed before this call. Open a new one."""

    def __init__(self, *, store: str) -> None:
        self.store = store
        super().__init__(f"{store} is closed; open it again with open_store")


class StoreForkedError(StoreError):
    """The process forked after the store was opened. Open a new store in the child."""

    def __init__(self, *, store: str) -> None:
        self.store = store
        super().__init__(f"{store} was opened before a fork and can't be used in the child; open it again here")


class NotADatabaseError(StoreError):
    """The file exists but is not an eventstate store. Check the path; nothing was changed."""

    def __init__(self, *, store: str, detail: str) -> None:
        self.store = store
        super().__init__(f"{store} is not an eventstate store: {detail}")


class FormatError(StoreError):
    """The store was written in a format this version does not read. Upgrade the library."""

    def __init__(self, *, store: str, found: int, supported: int) -> None:
        self.store = store
        self.found = found
        self.supported = supported
        super().__init__(f"{store} has format {found}, this version reads up to {supported}: upgrade eventstate")


class NotSupportedError(StoreError):
    """This backend does not have the capability. ``store.capabilities`` tells beforehand."""

    def __init__(self, *, store: str, capability: str, detail: str = "") -> None:
        self.store = store
        self.capability = capability
        super().__init__(f"{store} does not support {capability}{': ' + detail if detail else ''}")


class CorruptionError(EventStateError):
    """Stored bytes are not what was written. ``where`` names the document.

    Nothing was served from it. Run ``eventstate verify``, then rebuild or restore a backup.
    """

    def __init__(self, *, where: str, problem: str) -> None:
        self.where = where
        self.problem = problem
        super().__init__(f"{where} is corrupt: {problem}; run 'eventstate verify'")


class DecryptionError(CorruptionError):
    """An encrypted value does not open with its key: another key, or the value was changed or moved.

    Nothing was served from it. Use the keyring that it was written with.
    """


class KeyringError(EventStateError):
    """Something about a subject's data can't be done, for want of its key."""


class KeyLostError(KeyringError):
    """The keyring has neither this key nor a record that it was erased. Open the right keyring, or restore its backup.

    Erased data raises nothing: it is read as `Erased`.
    """

    def __init__(self, *, where: str, key_id: str) -> None:
        self.where = where
        self.key_id = key_id
        self.problem = f"it is encrypted under key {key_id}, which the keyring does not have"
        super().__init__(
            f"{where}: {self.problem}, and no record of its erasure either: open the keyring it was written with, or"
            " restore a backup of that"
        )


class SubjectErasedError(KeyringError):
    """The event is about a subject that was erased, so it can't be kept. Nothing was written.

    Leave it out; a person who comes back needs a subject of another name.
    """

    def __init__(self, *, governor: str, erased_at: str) -> None:
        self.governor = governor
        self.erased_at = erased_at
        super().__init__(
            f"its subject in governor {governor!r} was erased at {erased_at}, so nothing about it can be written: leave"
            " the event out, or name a new subject"
        )


class SchemaError(EventStateError):
    """A stored event or state is intact, but not readable by this code. ``where`` names it. Nothing was changed."""

    def __init__(self, *, where: str, problem: str) -> None:
        self.where = where
        self.problem = problem
        super().__init__(f"{where} can't be read by this code: {problem}")


class UpcastError(SchemaError):
    """An upcaster failed on a stored event or state. The stored bytes are untouched; fix the upcaster."""


class SchemaNewerError(SchemaError):
    """A stored event or state has a newer schema than this code declares. Upgrade the code."""

    def __init__(self, *, where: str, found: int, supported: int) -> None:
        super().__init__(where=where, problem=f"schema {found} is newer than {supported}, the newest this code knows")
        self.found = found
        self.supported = supported


class ProgramError(EventStateError):
    """Another program, which a command needs, did not do its part."""


class ProgramMissingError(ProgramError):
    """The program is not installed, or not on PATH. Nothing was run; the message says what to install."""

    def __init__(self, *, program: str, advice: str) -> None:
        self.program = program
        self.advice = advice
        super().__init__(f"there is no {program} on PATH: {advice}")


class ProgramFailedError(ProgramError):
    """The program ended with an error. Correct what it says, and run the command again: what is done stays done."""

    def __init__(self, *, command: str, code: int, output: str) -> None:
        self.command = command
        self.code = code
        self.output = output
        super().__init__(f"{command!r} ended with exit code {code}: {output}")
