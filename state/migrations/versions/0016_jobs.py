"""Expand: jobs, their runs and their schedules. Releases of the schemas before run on it unchanged: they have none."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
AFTER = sa.text("after_id IS NOT NULL AND status <> 'deleted'")
GONE = sa.text("deleted_at IS NOT NULL")
LIVE = sa.text("status NOT IN ('succeeded', 'failed', 'stopped')")
NAMED = sa.text("status <> 'deleted'")
SCHEDULED = sa.text("next_at IS NOT NULL AND status <> 'deleted'")
UNFOLLOWED = sa.text("status = 'succeeded' AND followed_at IS NULL")
WAITING = sa.text("outcome = 'waiting'")
WANTED = sa.text("wanted OR pid IS NOT NULL")


def upgrade() -> None:
    _make_jobs()
    _make_runs()
    _make_run_processes()
    _make_run_chunks()
    _make_run_reports()
    _make_run_artifacts()
    _make_ticks()


def downgrade() -> None:
    op.drop_table("ticks")
    op.drop_table("run_artifacts")
    op.drop_table("run_reports")
    op.drop_table("run_chunks")
    op.drop_table("run_processes")
    op.drop_table("runs")
    op.drop_table("jobs")


def _make_jobs() -> None:
    op.create_table(
        "jobs",
        *_resource(),
        sa.Column("name", sa.String(48), nullable=False),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("model_id", sa.String(40)),
        sa.Column("dataset_id", sa.String(40)),
        sa.Column("script_digest", sa.String(71)),
        sa.Column("spec", JSON, nullable=False),
        sa.Column("env_sealed", sa.Text()),
        sa.Column("env_names", JSON, nullable=False),
        sa.Column("last_number", sa.BigInteger(), nullable=False),
        sa.Column("after_id", sa.String(40)),
        sa.Column("schedule", JSON),
        sa.Column("schedule_paused", sa.Boolean(), nullable=False),
        sa.Column("scheduled_since", sa.BigInteger()),
        sa.Column("next_at", sa.BigInteger()),
    )
    op.create_index("ix_jobs_after", "jobs", ["after_id"], sqlite_where=AFTER, postgresql_where=AFTER)
    op.create_index("ix_jobs_dataset", "jobs", ["dataset_id"])
    op.create_index("ix_jobs_list", "jobs", ["tenant_id", "created_at", "id"])
    op.create_index("ix_jobs_model", "jobs", ["model_id"])
    op.create_index("ix_jobs_script", "jobs", ["script_digest"])
    op.create_index("ix_jobs_schedule", "jobs", ["next_at"], sqlite_where=SCHEDULED, postgresql_where=SCHEDULED)
    op.create_index(
        "uq_jobs_name", "jobs", ["tenant_id", "name"], unique=True, sqlite_where=NAMED, postgresql_where=NAMED
    )


def _make_runs() -> None:
    op.create_table(
        "runs",
        *_resource(),
        sa.Column("job_id", sa.String(40), sa.ForeignKey("jobs.id"), nullable=False),
        sa.Column("job_name", sa.String(48), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("trigger", sa.String(20), nullable=False),
        sa.Column("scheduled_for", sa.BigInteger()),
        sa.Column("retries", sa.BigInteger(), nullable=False),
        sa.Column("spec", JSON, nullable=False),
        sa.Column("resolved", JSON),
        sa.Column("version_id", sa.String(40)),
        sa.Column("dataset_id", sa.String(40)),
        sa.Column("script_digest", sa.String(71)),
        sa.Column("env_sealed", sa.Text()),
        sa.Column("env_names", JSON, nullable=False),
        sa.Column("started_at", sa.BigInteger()),
        sa.Column("completed_at", sa.BigInteger()),
        sa.Column("running_micros", sa.BigInteger(), nullable=False),
        sa.Column("resumed_at", sa.BigInteger()),
        sa.Column("error", JSON),
        sa.Column("summary", JSON),
        sa.Column("output_id", sa.String(40)),
        sa.Column("bad_rows_id", sa.String(40)),
        sa.Column("followed_at", sa.BigInteger()),
        sa.UniqueConstraint("job_id", "number"),
    )
    op.create_index("ix_runs_dataset", "runs", ["dataset_id"], sqlite_where=LIVE, postgresql_where=LIVE)
    op.create_index("ix_runs_gone", "runs", ["deleted_at"], sqlite_where=GONE, postgresql_where=GONE)
    op.create_index("ix_runs_job", "runs", ["job_id", "created_at", "id"])
    op.create_index("ix_runs_list", "runs", ["tenant_id", "created_at", "id"])
    op.create_index("ix_runs_live", "runs", ["job_id", "status"], sqlite_where=LIVE, postgresql_where=LIVE)
    op.create_index("ix_runs_script", "runs", ["script_digest"])
    op.create_index(
        "ix_runs_unfollowed", "runs", ["completed_at"], sqlite_where=UNFOLLOWED, postgresql_where=UNFOLLOWED
    )
    op.create_index("ix_runs_version", "runs", ["version_id"], sqlite_where=LIVE, postgresql_where=LIVE)


def _make_run_processes() -> None:
    op.create_table(
        "run_processes",
        sa.Column("run_id", sa.String(40), sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("tenant_id", sa.String(40), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("wanted", sa.Boolean(), nullable=False),
        sa.Column("spec", JSON, nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("pid", sa.BigInteger()),
        sa.Column("process_started", sa.String(40)),
        sa.Column("boot_id", sa.String(40)),
        sa.Column("log_path", sa.Text()),
        sa.Column("began_at", sa.BigInteger()),
        sa.Column("seen_at", sa.BigInteger()),
        sa.Column("progress", JSON),
        sa.Column("token_hash", sa.String(64)),
        sa.Column("ended_at", sa.BigInteger()),
        sa.Column("ending", JSON),
    )
    op.create_index(
        "ix_run_processes_wanted", "run_processes", ["run_id"], sqlite_where=WANTED, postgresql_where=WANTED
    )


def _make_run_chunks() -> None:
    op.create_table(
        "run_chunks",
        sa.Column("run_id", sa.String(40), sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("ordinal", sa.BigInteger(), autoincrement=False, primary_key=True),
        sa.Column("first_row", sa.BigInteger(), nullable=False),
        sa.Column("rows_in", sa.BigInteger(), nullable=False),
        sa.Column("rows_out", sa.BigInteger(), nullable=False),
        sa.Column("bad", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(71), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("bad_digest", sa.String(71)),
        sa.Column("bad_size_bytes", sa.BigInteger()),
        sa.Column("next", JSON, nullable=False),
        sa.Column("committed_at", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_run_chunks_bad", "run_chunks", ["bad_digest"])
    op.create_index("ix_run_chunks_digest", "run_chunks", ["digest"])


def _make_run_reports() -> None:
    op.create_table(
        "run_reports",
        sa.Column("run_id", sa.String(40), sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, primary_key=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.BigInteger()),
        sa.Column("values", JSON, nullable=False),
    )


def _make_run_artifacts() -> None:
    op.create_table(
        "run_artifacts",
        sa.Column("run_id", sa.String(40), sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("role", sa.String(20), primary_key=True),
        sa.Column("path", sa.String(700), primary_key=True),
        sa.Column("digest", sa.String(71), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("made_id", sa.String(40)),
    )
    op.create_index("ix_run_artifacts_digest", "run_artifacts", ["digest"])


def _make_ticks() -> None:
    op.create_table(
        "ticks",
        *_owned(),
        sa.Column("job_id", sa.String(40), sa.ForeignKey("jobs.id"), nullable=False),
        sa.Column("trigger", sa.String(20), nullable=False),
        sa.Column("key", sa.String(60), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.String(20), nullable=False),
        sa.Column("reason", sa.String(80)),
        sa.Column("run_id", sa.String(40)),
        sa.UniqueConstraint("job_id", "trigger", "key"),
    )
    op.create_index("ix_ticks_job", "ticks", ["job_id", "at"])
    op.create_index("ix_ticks_list", "ticks", ["tenant_id", "created_at", "id"])
    op.create_index("ix_ticks_waiting", "ticks", ["job_id", "at"], sqlite_where=WAITING, postgresql_where=WAITING)


def _owned() -> list[sa.Column[object]]:
    return [
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("tenant_id", sa.String(40), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
    ]


def _resource() -> list[sa.Column[object]]:
    return [
        *_owned(),
        sa.Column("display_name", sa.Text()),
        sa.Column("description", sa.Text()),
        sa.Column("tags", JSON, nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("edition", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("reason", sa.String(80)),
        sa.Column("message", sa.Text()),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.BigInteger()),
    ]
