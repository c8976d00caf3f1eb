"""The tables of jobs, their runs and their schedules. A run's ledger says what of its work is done for good."""

from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from state.tables import NAMED, Base, JsonColumn, Owned, Resource

SCHEDULED = text("next_at IS NOT NULL AND status <> 'deleted'")
AFTER = text("after_id IS NOT NULL AND status <> 'deleted'")
LIVE = text("status NOT IN ('succeeded', 'failed', 'stopped')")
UNFOLLOWED = text("status = 'succeeded' AND followed_at IS NULL")
GONE = text("deleted_at IS NOT NULL")
WANTED = text("wanted OR pid IS NOT NULL")


class Job(Base, Resource):
    """What is to be run, by hand, by a schedule or after another job; `spec` is what its owner wrote, checked."""

    __tablename__ = "jobs"
    name: Mapped[str] = mapped_column(String(48))
    kind: Mapped[str] = mapped_column(String(10))  # batch | script
    model_id: Mapped[str | None] = mapped_column(String(40))  # of a batch
    dataset_id: Mapped[str | None] = mapped_column(String(40))  # that a batch reads, where it is one of ours
    script_digest: Mapped[str | None] = mapped_column(String(71))  # of a script: its text, or the archive
    spec: Mapped[dict[str, Any]]
    env_sealed: Mapped[str | None] = mapped_column(Text)
    env_names: Mapped[list[Any]]
    last_number: Mapped[int] = mapped_column(default=0)
    after_id: Mapped[str | None] = mapped_column(String(40))  # the job whose success starts a run
    schedule: Mapped[dict[str, Any] | None]
    schedule_paused: Mapped[bool] = mapped_column(default=False)
    scheduled_since: Mapped[int | None]  # ticks before were another schedule's, or fell into a pause
    next_at: Mapped[int | None]  # the next tick, jitter included; nothing while there is none to come
    __table_args__ = (
        Index("uq_jobs_name", "tenant_id", "name", unique=True, sqlite_where=NAMED, postgresql_where=NAMED),
        Index("ix_jobs_list", "tenant_id", "created_at", "id"),
        Index("ix_jobs_schedule", "next_at", sqlite_where=SCHEDULED, postgresql_where=SCHEDULED),
        Index("ix_jobs_after", "after_id", sqlite_where=AFTER, postgresql_where=AFTER),
        Index("ix_jobs_model", "model_id"),
        Index("ix_jobs_dataset", "dataset_id"),
        Index("ix_jobs_script", "script_digest"),
    )


class Run(Base, Resource):
    """One execution of a job. `spec` is the job's with what this run overrides; `resolved` is what it became."""

    __tablename__ = "runs"
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    job_name: Mapped[str] = mapped_column(String(48))
    number: Mapped[int]
    name: Mapped[str] = mapped_column(String(120))
    kind: Mapped[str] = mapped_column(String(10))
    trigger: Mapped[str] = mapped_column(String(20))  # manual | schedule | backfill | after
    scheduled_for: Mapped[int | None]
    retries: Mapped[int] = mapped_column(default=0)  # failed attempts that its policy let pass
    spec: Mapped[dict[str, Any]]
    resolved: Mapped[dict[str, Any] | None]  # version, digests, parts: fixed when it first starts
    version_id: Mapped[str | None] = mapped_column(String(40))
    dataset_id: Mapped[str | None] = mapped_column(String(40))
    script_digest: Mapped[str | None] = mapped_column(String(71))
    env_sealed: Mapped[str | None] = mapped_column(Text)
    env_names: Mapped[list[Any]]
    started_at: Mapped[int | None]
    completed_at: Mapped[int | None]
    running_micros: Mapped[int] = mapped_column(default=0)  # of its processes, as summed up when it rested last
    resumed_at: Mapped[int | None]  # since when a process is wanted for it
    error: Mapped[dict[str, Any] | None]
    summary: Mapped[dict[str, Any] | None]  # rows_in, rows_out, bad …, at its end
    output_id: Mapped[str | None] = mapped_column(String(40))  # datasets
    bad_rows_id: Mapped[str | None] = mapped_column(String(40))
    followed_at: Mapped[int | None]  # when the jobs that come after a success were begun, if there are any
    __table_args__ = (
        UniqueConstraint("job_id", "number"),
        Index("ix_runs_list", "tenant_id", "created_at", "id"),
        Index("ix_runs_job", "job_id", "created_at", "id"),
        Index("ix_runs_live", "job_id", "status", sqlite_where=LIVE, postgresql_where=LIVE),
        Index("ix_runs_dataset", "dataset_id", sqlite_where=LIVE, postgresql_where=LIVE),
        Index("ix_runs_version", "version_id", sqlite_where=LIVE, postgresql_where=LIVE),
        Index("ix_runs_unfollowed", "completed_at", sqlite_where=UNFOLLOWED, postgresql_where=UNFOLLOWED),
        Index("ix_runs_script", "script_digest"),
        Index("ix_runs_gone", "deleted_at", sqlite_where=GONE, postgresql_where=GONE),
    )

    @property
    def is_for(self) -> int:
        """The instant whose data it is about: that of its tick, or its beginning."""
        return self.scheduled_for or self.created_at


class RunProcess(Base):
    """What the node is asked to run, and the process that it made of it: a run has at most one.

    `generation` fences an older wish out, `epoch` an older process: it counts the starts.
    """

    __tablename__ = "run_processes"
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(40))
    generation: Mapped[int]
    wanted: Mapped[bool]
    spec: Mapped[dict[str, Any]]
    epoch: Mapped[int] = mapped_column(default=0)
    pid: Mapped[int | None]  # while there is a process
    process_started: Mapped[str | None] = mapped_column(String(40))
    boot_id: Mapped[str | None] = mapped_column(String(40))
    log_path: Mapped[str | None] = mapped_column(Text)
    began_at: Mapped[int | None]
    seen_at: Mapped[int | None]  # its last sign of life
    progress: Mapped[dict[str, Any] | None]  # rows, rows_total, rows_per_s, percent, detail; worked_s of former ones
    token_hash: Mapped[str | None] = mapped_column(String(64))  # of what a script calls us with, while it lives
    ended_at: Mapped[int | None]
    ending: Mapped[dict[str, Any] | None]  # {"outcome": finished | failed | left | lost, …} of this generation
    __table_args__ = (
        Index("ix_run_processes_wanted", "run_id", sqlite_where=WANTED, postgresql_where=WANTED),
        Index("ix_run_processes_turn", "tenant_id", "run_id", sqlite_where=WANTED, postgresql_where=WANTED),
    )


class RunChunk(Base):
    """The ledger of a batch run: a chunk whose output is stored. What is not here is done again."""

    __tablename__ = "run_chunks"
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    ordinal: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    first_row: Mapped[int]
    rows_in: Mapped[int]
    rows_out: Mapped[int]
    bad: Mapped[int]
    digest: Mapped[str] = mapped_column(String(71))
    size_bytes: Mapped[int]
    bad_digest: Mapped[str | None] = mapped_column(String(71))
    bad_size_bytes: Mapped[int | None]
    next: Mapped[dict[str, Any]]  # where the input goes on: serving.data's Position
    committed_at: Mapped[int]
    __table_args__ = (Index("ix_run_chunks_digest", "digest"), Index("ix_run_chunks_bad", "bad_digest"))


class RunReport(Base):
    """The metrics that a script reported at once, in the order in which they came."""

    __tablename__ = "run_reports"
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[int]
    step: Mapped[int | None]
    values: Mapped[Any] = mapped_column(JsonColumn)


class RunArtifact(Base):
    """A file of a script's run: one that it reads, one that it left, or its checkpoint folder's newest archive."""

    __tablename__ = "run_artifacts"
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    role: Mapped[str] = mapped_column(String(20), primary_key=True)  # input | output | checkpoint
    path: Mapped[str] = mapped_column(String(700), primary_key=True)
    digest: Mapped[str] = mapped_column(String(71))
    size_bytes: Mapped[int]
    created_at: Mapped[int]
    made_id: Mapped[str | None] = mapped_column(String(40))  # the version or the dataset that was made of it
    __table_args__ = (Index("ix_run_artifacts_digest", "digest"),)


class Tick(Base, Owned):
    """One instant of a schedule, of a backfill, or one success that starts a run: it fires once, whoever looks.

    `key` is the instant in RFC 3339, or the id of the run that succeeded.
    """

    __tablename__ = "ticks"
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    trigger: Mapped[str] = mapped_column(String(20))  # schedule | backfill | after
    key: Mapped[str] = mapped_column(String(60))
    at: Mapped[int]
    outcome: Mapped[str] = mapped_column(String(20))  # waiting | fired | skipped
    reason: Mapped[str | None] = mapped_column(String(80))  # overlap, catch_up, paused
    run_id: Mapped[str | None] = mapped_column(String(40))
    __table_args__ = (
        UniqueConstraint("job_id", "trigger", "key"),
        Index("ix_ticks_list", "tenant_id", "created_at", "id"),
        Index("ix_ticks_job", "job_id", "at"),
        Index("ix_ticks_waiting", "job_id", "at", sqlite_where=text("outcome = 'waiting'"),
              postgresql_where=text("outcome = 'waiting'")),
    )  # fmt: skip
