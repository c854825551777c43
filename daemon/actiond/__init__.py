"""actiond turns INSERTed Postgres rows into work that gets done, and keeps the record.

These are the words for authors of processors and for producers; the daemon itself is started with
`actiond run`.
"""

from actiond.batch.batch_job import BatchJob, Item, Totals, batch_job
from actiond.contract.action import Action
from actiond.contract.batch import Batch
from actiond.contract.encryption import Encrypted
from actiond.contract.hooks import RunAction, RunResult, around
from actiond.contract.job import JobResult, job
from actiond.contract.policy import Policy
from actiond.contract.processor import Processor, batch_processor, processor
from actiond.contract.resource import Resource, lifespan
from actiond.contract.secret import secret
from actiond.contract.steps import CursorStep, Step, Walk, steps
from actiond.contract.versions import versioned
from actiond.postgres.enqueue import enqueue, enqueue_many
from actiond.postgres.events import publish
from actiond.postgres.feed import OutcomeEntry, outcomes
from actiond.postgres.job_builder import Job, JobBuilder
from actiond.postgres.statements import Statements
from actiond.words.duration import seconds
from actiond.words.errors import PayloadInvalid, ProcessorInvalid, WorkerDied
from actiond.words.outcome import (
    ALLOW_RETRY,
    KEEP_ALIVE,
    SUDDEN_DEATH,
    Canceled,
    Completed,
    Deferred,
    Failed,
    Failure,
    RetryBehavior,
    Waiting,
)

__version__ = "0.1.0"

__all__ = [
    "ALLOW_RETRY",
    "KEEP_ALIVE",
    "SUDDEN_DEATH",
    "Action",
    "Batch",
    "BatchJob",
    "Canceled",
    "Completed",
    "CursorStep",
    "Deferred",
    "Encrypted",
    "Failed",
    "Failure",
    "Item",
    "Job",
    "JobBuilder",
    "JobResult",
    "OutcomeEntry",
    "PayloadInvalid",
    "Policy",
    "Processor",
    "ProcessorInvalid",
    "Resource",
    "RetryBehavior",
    "RunAction",
    "RunResult",
    "Statements",
    "Step",
    "Totals",
    "Waiting",
    "Walk",
    "WorkerDied",
    "around",
    "batch_job",
    "batch_processor",
    "enqueue",
    "enqueue_many",
    "job",
    "lifespan",
    "outcomes",
    "processor",
    "publish",
    "seconds",
    "secret",
    "steps",
    "versioned",
]
