"""Context-correct background work for Flask."""

from __future__ import annotations

from .__about__ import __version__
from .context import current_job
from .errors import (
    Abort,
    ArgumentError,
    BgTaskError,
    ConfigError,
    DuplicateJob,
    JobCancelled,
    JobFailed,
    JobLost,
    JobNotFound,
    JobStateError,
    JobTimeout,
    QueueFull,
    Retry,
    StoreError,
)
from .extension import BackgroundTasks
from .handle import Handle
from .job import Job, JobError, JobState, LogLine, Page, Progress
from .mail import MailDeferred, MailReceipt, MailRefused
from .task import Submitter, Task, TaskSubmitter

__all__ = [
    "Abort",
    "ArgumentError",
    "BackgroundTasks",
    "BgTaskError",
    "ConfigError",
    "DuplicateJob",
    "Handle",
    "Job",
    "JobCancelled",
    "JobError",
    "JobFailed",
    "JobLost",
    "JobNotFound",
    "JobState",
    "JobStateError",
    "JobTimeout",
    "LogLine",
    "MailDeferred",
    "MailReceipt",
    "MailRefused",
    "Page",
    "Progress",
    "QueueFull",
    "Retry",
    "StoreError",
    "Submitter",
    "Task",
    "TaskSubmitter",
    "__version__",
    "current_job",
]
