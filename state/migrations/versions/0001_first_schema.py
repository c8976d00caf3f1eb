"""The first schema."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def _column(name: str, kind: Any, *parts: Any, nullable: bool = False, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, *parts, nullable=nullable, **options)


def _string(name: str, length: int, references: str | None = None, **options: Any) -> sa.Column[Any]:
    parts = [sa.ForeignKey(references)] if references else []
    return _column(name, sa.String(length), *parts, **options)


def _text(name: str, **options: Any) -> sa.Column[Any]:
    return _column(name, sa.Text(), **options)


def _int(name: str, **options: Any) -> sa.Column[Any]:
    return _column(name, sa.BigInteger(), **options)


def _float(name: str, **options: Any) -> sa.Column[Any]:
    return _column(name, sa.Double(), **options)


def _bool(name: str) -> sa.Column[Any]:
    return _column(name, sa.Boolean())


def _json(name: str, **options: Any) -> sa.Column[Any]:
    return _column(name, JSON, **options)


def _partial_index(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    clause = sa.text(where)
    op.create_index(name, table, columns, unique=unique, sqlite_where=clause, postgresql_where=clause)


def upgrade() -> None:
    _accounts_and_models()
    _services()
    _claimable_work()
    _records()


def downgrade() -> None:
    raise RuntimeError("the first schema cannot be undone; remove the database instead")


def _accounts_and_models() -> None:
    op.create_table("blobs",
        _string("digest", 71, primary_key=True), _int("size_bytes"), _int("touched_at"),
        _int("doomed_at", nullable=True),
    )  # fmt: skip
    op.create_table("models",
        _string("name", 48), _int("last_number"), _text("display_name", nullable=True),
        _text("description", nullable=True), _json("tags"), _int("generation"), _int("edition"),
        _string("status", 20), _string("reason", 80, nullable=True), _text("message", nullable=True), _int("since"),
        _int("sequence"), _int("updated_at"), _int("deleted_at", nullable=True),
        _string("id", 40, primary_key=True), _string("tenant_id", 40), _int("created_at"),
    )  # fmt: skip
    op.create_index("ix_models_list", "models", ["tenant_id", "created_at", "id"])
    _partial_index("uq_models_name", "models", ["tenant_id", "name"], "status <> 'deleted'", unique=True)
    op.create_table("tenants",
        _string("id", 40, primary_key=True), _string("name", 80), _text("webhook_secret_sealed", nullable=True),
        _int("created_at"), sa.UniqueConstraint("name"),
    )  # fmt: skip
    op.create_table("users",
        _string("name", 200), _string("role", 20), _string("id", 40, primary_key=True), _string("tenant_id", 40),
        _int("created_at"), sa.UniqueConstraint("tenant_id", "name"),
    )  # fmt: skip
    op.create_table("tokens",
        _string("user_id", 40, "users.id"), _string("name", 200), _string("hash", 64),
        _int("expires_at", nullable=True), _int("revoked_at", nullable=True), _string("id", 40, primary_key=True),
        _string("tenant_id", 40), _int("created_at"), sa.UniqueConstraint("hash"),
    )  # fmt: skip
    op.create_table("versions",
        _string("model_id", 40, "models.id"), _int("number"), _string("digest", 71), _int("size_bytes"),
        _text("filename", nullable=True), _string("format", 20), _string("task", 40, nullable=True),
        _json("metrics", nullable=True), _json("features", nullable=True), _json("signature", nullable=True),
        _text("display_name", nullable=True), _text("description", nullable=True), _json("tags"),
        _int("generation"), _int("edition"), _string("status", 20), _string("reason", 80, nullable=True),
        _text("message", nullable=True), _int("since"), _int("sequence"), _int("updated_at"),
        _int("deleted_at", nullable=True), _string("id", 40, primary_key=True), _string("tenant_id", 40),
        _int("created_at"), sa.UniqueConstraint("model_id", "number"),
    )  # fmt: skip
    op.create_index("ix_versions_digest", "versions", ["digest"])
    op.create_index("ix_versions_list", "versions", ["tenant_id", "created_at", "id"])
    op.create_table("aliases",
        _string("model_id", 40, "models.id"), _string("name", 48), _string("version_id", 40, "versions.id"),
        _string("id", 40, primary_key=True), _string("tenant_id", 40), _int("created_at"),
        sa.UniqueConstraint("model_id", "name"),
    )  # fmt: skip


def _services() -> None:
    op.create_table("services",
        _string("name", 48), _int("replicas"), _string("revision_id", 40, nullable=True),
        _string("live_revision_id", 40, nullable=True), _int("live_replicas", nullable=True),
        _text("display_name", nullable=True), _text("description", nullable=True), _json("tags"),
        _int("generation"), _int("edition"), _string("status", 20), _string("reason", 80, nullable=True),
        _text("message", nullable=True), _int("since"), _int("sequence"), _int("updated_at"),
        _int("deleted_at", nullable=True), _string("id", 40, primary_key=True), _string("tenant_id", 40),
        _int("created_at"),
    )  # fmt: skip
    op.create_index("ix_services_list", "services", ["tenant_id", "created_at", "id"])
    op.create_index("ix_services_status", "services", ["status"])
    _partial_index("uq_services_name", "services", ["tenant_id", "name"], "status <> 'deleted'", unique=True)
    op.create_table("placements",
        _string("service_id", 40, "services.id", primary_key=True), _string("tenant_id", 40), _int("generation"),
        _string("revision_id", 40), _int("replicas"), _int("fresh_since"), _json("spec"),
    )  # fmt: skip
    op.create_table("replicas",
        _string("service_id", 40, "services.id"), _string("revision_id", 40), _int("generation"),
        _string("status", 20), _string("reason", 80, nullable=True), _text("message", nullable=True), _int("since"),
        _int("sequence"), _text("address", nullable=True), _int("pid", nullable=True),
        _string("process_started", 40, nullable=True), _string("boot_id", 40, nullable=True),
        _text("log_path", nullable=True), _int("ended_at", nullable=True), _string("id", 40, primary_key=True),
        _string("tenant_id", 40), _int("created_at"),
    )  # fmt: skip
    op.create_index("ix_replicas_service", "replicas", ["service_id", "created_at"])
    op.create_index("ix_replicas_status", "replicas", ["status", "service_id"])
    op.create_table("revisions",
        _string("service_id", 40, "services.id"), _int("number"), _string("model_id", 40, "models.id"),
        _string("version_id", 40, "versions.id"), _json("resources"), _text("env_sealed", nullable=True),
        _json("env_names"), _string("id", 40, primary_key=True), _string("tenant_id", 40), _int("created_at"),
        sa.UniqueConstraint("service_id", "number"),
    )  # fmt: skip
    op.create_index("ix_revisions_version", "revisions", ["version_id"])


def _claimable_work() -> None:
    op.create_table("deliveries",
        _string("endpoint_id", 40, nullable=True), _text("url"), _string("event_id", 40), _string("event_type", 60),
        _text("body"), _json("attempts"), _string("lane", 20), _string("status", 20), _int("priority"),
        _int("due_at"), _int("attempt"), _int("rescues"), _int("epoch"), _int("lease_until", nullable=True),
        _string("lease_owner", 80, nullable=True), _int("deadline_at", nullable=True), _bool("cancel_requested"),
        _text("waiting_for", nullable=True), _int("started_at", nullable=True), _int("completed_at", nullable=True),
        _string("reason", 80, nullable=True), _text("message", nullable=True), _int("since"), _int("sequence"),
        _string("id", 40, primary_key=True), _string("tenant_id", 40), _int("created_at"),
    )  # fmt: skip
    _partial_index("ix_deliveries_due", "deliveries", ["lane", "due_at"], "status = 'pending'")
    op.create_index("ix_deliveries_endpoint", "deliveries", ["endpoint_id", "created_at", "id"])
    _partial_index("ix_deliveries_lease", "deliveries", ["lease_until"], "status = 'sending'")
    op.create_table("operations",
        _string("kind", 40), _string("target_type", 20), _string("target_id", 40), _string("target_name", 120),
        _int("generation"), _string("actor", 200), _json("arguments"), _json("progress", nullable=True),
        _json("checkpoint", nullable=True), _json("result", nullable=True), _json("error", nullable=True),
        _string("superseded_by", 40, nullable=True), _string("lane", 20), _string("status", 20), _int("priority"),
        _int("due_at"), _int("attempt"), _int("rescues"), _int("epoch"), _int("lease_until", nullable=True),
        _string("lease_owner", 80, nullable=True), _int("deadline_at", nullable=True), _bool("cancel_requested"),
        _text("waiting_for", nullable=True), _int("started_at", nullable=True), _int("completed_at", nullable=True),
        _string("reason", 80, nullable=True), _text("message", nullable=True), _int("since"), _int("sequence"),
        _string("id", 40, primary_key=True), _string("tenant_id", 40), _int("created_at"),
    )  # fmt: skip
    _partial_index("ix_operations_due", "operations", ["lane", "due_at"], "status = 'queued'")
    _partial_index("ix_operations_lease", "operations", ["lease_until"], "status = 'running'")
    op.create_index("ix_operations_list", "operations", ["tenant_id", "created_at", "id"])
    op.create_index("ix_operations_target", "operations", ["target_id", "created_at"])
    _partial_index("uq_operations_holder", "operations", ["target_id"], "status = 'running'", unique=True)
    op.create_table("predictions",
        _string("service_id", 40), _string("service_name", 48), _string("model_name", 48), _string("version", 20),
        _json("body", nullable=True), _string("body_digest", 71, nullable=True), _json("output", nullable=True),
        _text("error", nullable=True), _json("problem", nullable=True), _float("predict_time_s", nullable=True),
        _text("base_url"), _text("webhook", nullable=True), _json("webhook_events", nullable=True),
        _string("lane", 20), _string("status", 20), _int("priority"), _int("due_at"), _int("attempt"),
        _int("rescues"), _int("epoch"), _int("lease_until", nullable=True),
        _string("lease_owner", 80, nullable=True), _int("deadline_at", nullable=True), _bool("cancel_requested"),
        _text("waiting_for", nullable=True), _int("started_at", nullable=True), _int("completed_at", nullable=True),
        _string("reason", 80, nullable=True), _text("message", nullable=True), _int("since"), _int("sequence"),
        _string("id", 40, primary_key=True), _string("tenant_id", 40), _int("created_at"),
    )  # fmt: skip
    _partial_index("ix_predictions_due", "predictions", ["lane", "due_at"], "status = 'starting'")
    _partial_index("ix_predictions_lease", "predictions", ["lease_until"], "status = 'processing'")
    op.create_index("ix_predictions_list", "predictions", ["tenant_id", "created_at", "id"])
    op.create_index("ix_predictions_service", "predictions", ["service_id", "created_at"])


def _records() -> None:
    op.create_table("audit",
        _string("actor", 200), _string("action", 40), _string("target_type", 20), _string("target_id", 40),
        _string("target_name", 120), _string("operation_id", 40, nullable=True),
        _string("request_id", 80, nullable=True), _string("id", 40, primary_key=True), _string("tenant_id", 40),
        _int("created_at"),
    )  # fmt: skip
    op.create_index("ix_audit_list", "audit", ["tenant_id", "created_at", "id"])
    op.create_table("counters",
        _string("name", 40, primary_key=True), _int("value"),
    )  # fmt: skip
    op.create_table("events",
        _string("type", 60), _string("resource_type", 20), _string("resource_id", 40), _int("sequence"),
        _json("data"), _string("id", 40, primary_key=True), _string("tenant_id", 40), _int("created_at"),
    )  # fmt: skip
    op.create_index("ix_events_list", "events", ["tenant_id", "created_at", "id"])
    op.create_table("history",
        _string("resource_id", 40, primary_key=True), _int("sequence", primary_key=True, autoincrement=False),
        _string("resource_type", 20), _string("from_status", 20, nullable=True), _string("to_status", 20),
        _string("move", 20), _string("actor", 200), _string("reason", 80, nullable=True),
        _text("message", nullable=True), _string("operation_id", 40, nullable=True), _int("at"),
    )  # fmt: skip
    op.create_table("idempotency_keys",
        _string("tenant_id", 40, primary_key=True), _string("method", 8, primary_key=True),
        _string("path", 500, primary_key=True), _string("key", 255, primary_key=True), _string("body_sha256", 64),
        _string("operation_id", 40), _string("resource_id", 40, nullable=True), _int("created_at"),
    )  # fmt: skip
    op.create_index("ix_idempotency_keys_age", "idempotency_keys", ["created_at"])
    op.create_table("leases",
        _string("name", 40, primary_key=True), _string("owner", 80), _int("until"), _int("epoch"),
    )  # fmt: skip
    op.create_table("webhook_endpoints",
        _text("url"), _text("description", nullable=True), _json("events"), _text("secret_sealed"),
        _text("old_secret_sealed", nullable=True), _int("old_secret_until", nullable=True), _bool("enabled"),
        _text("disabled_reason", nullable=True), _int("failing_since", nullable=True), _int("edition"),
        _int("updated_at"), _string("id", 40, primary_key=True), _string("tenant_id", 40), _int("created_at"),
    )  # fmt: skip
    op.create_index("ix_webhook_endpoints_list", "webhook_endpoints", ["tenant_id", "created_at", "id"])
