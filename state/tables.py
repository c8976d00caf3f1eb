"""The tables. Instants are integer microseconds (ADR 0004); every row belongs to a tenant; statuses are written by
`state.advance` and `state.claims` only.

A *claimable* row (operation, prediction, delivery) is a unit of work: the database decides who holds it.
"""

from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from state.instants import db_now

JsonColumn = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
HELD_PORT = text("port IS NOT NULL AND status <> 'deleted'")
MORTAL = text("expires_at IS NOT NULL AND status <> 'deleted'")
FOLLOWING = text("version_ref IS NOT NULL AND status <> 'deleted'")
NAMED = text("status <> 'deleted'")


class Base(DeclarativeBase):
    """All tables share one metadata."""

    type_annotation_map = {int: BigInteger, dict[str, Any]: JsonColumn, list[Any]: JsonColumn}  # noqa: RUF012 (SQLAlchemy reads it so)


class Owned:
    """A row with an id of its own that belongs to a tenant."""

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(40))
    created_at: Mapped[int]


class Resource(Owned):
    """What the API shows as a resource: described, versioned by `generation` (wish) and `edition` (any change)."""

    display_name: Mapped[str | None] = mapped_column(Text)
    description: Mapped[str | None] = mapped_column(Text)
    tags: Mapped[list[Any]]
    generation: Mapped[int] = mapped_column(default=1)
    edition: Mapped[int] = mapped_column(default=1)
    status: Mapped[str] = mapped_column(String(20))
    reason: Mapped[str | None] = mapped_column(String(80))
    message: Mapped[str | None] = mapped_column(Text)
    since: Mapped[int]
    sequence: Mapped[int] = mapped_column(default=0)
    updated_at: Mapped[int]
    deleted_at: Mapped[int | None]


class Claimable(Owned):
    """The columns of a unit of work; `due_at`, `lease_until` and `deadline_at` are instants of the database's clock.

    A new row is due at once, unless it is told otherwise: hosts whose clock is ahead would make it wait for others.
    """

    lane: Mapped[str] = mapped_column(String(20))
    status: Mapped[str] = mapped_column(String(20))
    priority: Mapped[int] = mapped_column(default=100)
    due_at: Mapped[int] = mapped_column(default=db_now())
    attempt: Mapped[int] = mapped_column(default=0)
    rescues: Mapped[int] = mapped_column(default=0)
    epoch: Mapped[int] = mapped_column(default=0)
    lease_until: Mapped[int | None]
    lease_owner: Mapped[str | None] = mapped_column(String(80))
    deadline_at: Mapped[int | None]
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    waiting_for: Mapped[str | None] = mapped_column(Text)
    request_id: Mapped[str | None] = mapped_column(String(80))  # of the call that caused it, for the logs
    started_at: Mapped[int | None]
    completed_at: Mapped[int | None]
    reason: Mapped[str | None] = mapped_column(String(80))
    message: Mapped[str | None] = mapped_column(Text)
    since: Mapped[int]
    sequence: Mapped[int] = mapped_column(default=0)


class Tenant(Base):
    __tablename__ = "tenants"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(80), unique=True)
    webhook_secret_sealed: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[int]


class User(Base, Owned):
    __tablename__ = "users"
    name: Mapped[str] = mapped_column(String(200))
    role: Mapped[str] = mapped_column(String(20))
    __table_args__ = (UniqueConstraint("tenant_id", "name"),)


class Token(Base, Owned):
    __tablename__ = "tokens"
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    name: Mapped[str] = mapped_column(String(200))
    hash: Mapped[str] = mapped_column(String(64), unique=True)
    expires_at: Mapped[int | None]
    revoked_at: Mapped[int | None]


class Model(Base, Resource):
    __tablename__ = "models"
    name: Mapped[str] = mapped_column(String(48))
    last_number: Mapped[int] = mapped_column(default=0)
    __table_args__ = (
        Index("uq_models_name", "tenant_id", "name", unique=True, sqlite_where=NAMED, postgresql_where=NAMED),
        Index("ix_models_list", "tenant_id", "created_at", "id"),
        Index("ix_models_changed", "tenant_id", "updated_at", "id"),
    )


class Version(Base, Resource):
    __tablename__ = "versions"
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id"))
    number: Mapped[int]
    source_uri: Mapped[str | None] = mapped_column(Text)
    digest: Mapped[str] = mapped_column(String(71))  # "" until the source is fetched, as is `format`
    size_bytes: Mapped[int]
    filename: Mapped[str | None] = mapped_column(Text)
    format: Mapped[str] = mapped_column(String(20))
    task: Mapped[str | None] = mapped_column(String(40))
    metrics: Mapped[dict[str, Any] | None]
    features: Mapped[dict[str, Any] | None]
    signature: Mapped[dict[str, Any] | None]
    __table_args__ = (
        UniqueConstraint("model_id", "number"),
        Index("ix_versions_digest", "digest"),
        Index("ix_versions_list", "tenant_id", "created_at", "id"),
    )


class Alias(Base, Owned):
    __tablename__ = "aliases"
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id"))
    name: Mapped[str] = mapped_column(String(48))
    version_id: Mapped[str] = mapped_column(ForeignKey("versions.id"))
    __table_args__ = (UniqueConstraint("model_id", "name"),)


class Blob(Base):
    """A stored artifact. A put touches the row before the bytes are used; the sweeper dooms it before deleting."""

    __tablename__ = "blobs"
    digest: Mapped[str] = mapped_column(String(71), primary_key=True)
    size_bytes: Mapped[int]
    touched_at: Mapped[int]
    doomed_at: Mapped[int | None]


class File(Base, Owned):
    """A client's file for its inputs, kept for a while under an id; the bytes are a blob."""

    __tablename__ = "files"
    name: Mapped[str] = mapped_column(Text)
    content_type: Mapped[str] = mapped_column(String(120))
    size_bytes: Mapped[int]
    digest: Mapped[str] = mapped_column(String(71))
    about: Mapped[dict[str, Any]]  # its `metadata`, a name that SQLAlchemy keeps for itself
    __table_args__ = (
        Index("ix_files_digest", "digest"),
        Index("ix_files_list", "tenant_id", "created_at", "id"),
    )


class Service(Base, Resource):
    __tablename__ = "services"
    name: Mapped[str] = mapped_column(String(48))
    replicas: Mapped[int]
    revision_id: Mapped[str | None] = mapped_column(String(40))  # the wish
    live_revision_id: Mapped[str | None] = mapped_column(String(40))  # what was last ready
    live_replicas: Mapped[int | None]
    expires_at: Mapped[int | None]  # then the watcher deletes it
    version_ref: Mapped[str | None] = mapped_column(String(80))  # what it follows: `latest` or `@alias`
    followed_id: Mapped[str | None] = mapped_column(String(40))  # the version that this meant when it was last given
    port: Mapped[int | None]  # of its own, in the whole installation
    __table_args__ = (
        Index("uq_services_name", "tenant_id", "name", unique=True, sqlite_where=NAMED, postgresql_where=NAMED),
        Index("ix_services_list", "tenant_id", "created_at", "id"),
        Index("ix_services_status", "status"),
        Index("ix_services_expiry", "expires_at", sqlite_where=MORTAL, postgresql_where=MORTAL),
        Index("ix_services_following", "version_ref", sqlite_where=FOLLOWING, postgresql_where=FOLLOWING),
        Index("uq_services_port", "port", unique=True, sqlite_where=HELD_PORT, postgresql_where=HELD_PORT),
    )


class Revision(Base, Owned):
    """One immutable deployment spec of a service: what a replica runs."""

    __tablename__ = "revisions"
    service_id: Mapped[str] = mapped_column(ForeignKey("services.id"))
    number: Mapped[int]
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id"))
    version_id: Mapped[str] = mapped_column(ForeignKey("versions.id"))
    resources: Mapped[dict[str, Any]]
    env_sealed: Mapped[str | None] = mapped_column(Text)
    env_names: Mapped[list[Any]]
    config_sealed: Mapped[str | None] = mapped_column(Text)
    config_names: Mapped[dict[str, Any] | None]  # each file's size in bytes
    runtime: Mapped[dict[str, Any] | None]  # what is pinned: some of engine, engine_version, python
    __table_args__ = (UniqueConstraint("service_id", "number"), Index("ix_revisions_version", "version_id"))


class Placement(Base):
    """What the node is asked to run for a service; `generation` fences an older wish out."""

    __tablename__ = "placements"
    service_id: Mapped[str] = mapped_column(ForeignKey("services.id"), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(40))
    generation: Mapped[int]
    revision_id: Mapped[str] = mapped_column(String(40))
    replicas: Mapped[int]
    fresh_since: Mapped[int]  # replicas made before are replaced (a restart); created_at of the oldest allowed one
    replacing: Mapped[str | None] = mapped_column(String(40))  # and this one, whenever it was made
    spec: Mapped[dict[str, Any]]


class Replica(Base, Owned):
    __tablename__ = "replicas"
    service_id: Mapped[str] = mapped_column(ForeignKey("services.id"))
    revision_id: Mapped[str] = mapped_column(String(40))
    generation: Mapped[int]
    status: Mapped[str] = mapped_column(String(20))
    reason: Mapped[str | None] = mapped_column(String(80))
    message: Mapped[str | None] = mapped_column(Text)
    since: Mapped[int]
    sequence: Mapped[int] = mapped_column(default=0)
    address: Mapped[str | None] = mapped_column(Text)  # unix:///run/…/x.sock or http://host:port
    pid: Mapped[int | None]
    process_started: Mapped[str | None] = mapped_column(String(40))
    boot_id: Mapped[str | None] = mapped_column(String(40))
    log_path: Mapped[str | None] = mapped_column(Text)
    ended_at: Mapped[int | None]
    __table_args__ = (
        Index("ix_replicas_service", "service_id", "created_at"),
        Index("ix_replicas_status", "status", "service_id"),
    )


def _work_indexes(table: str, waiting: str, working: str, *share: str) -> tuple[Index, ...]:
    """Partial indexes for the hot queries: when a lane is due, its best due row, the best of each tenant (and of its
    `share`: what must not hold up its neighbours), and the claims whose lease ran out."""
    queued, held = text(f"status = '{waiting}'"), text(f"status = '{working}'")
    order = ("lane", "tenant_id", *(share or ("priority",)), "due_at", "id")
    return (
        Index(f"ix_{table}_due", "lane", "due_at", sqlite_where=queued, postgresql_where=queued),
        Index(f"ix_{table}_next", "lane", "priority", "due_at", "id", sqlite_where=queued, postgresql_where=queued),
        Index(f"ix_{table}_share", *order, sqlite_where=queued, postgresql_where=queued),
        Index(f"ix_{table}_lease", "lease_until", sqlite_where=held, postgresql_where=held),
    )


HELD = text("status = 'running'")
QUEUED = text("status = 'queued'")
PENDING = text("status = 'pending'")


class Operation(Base, Claimable):
    __tablename__ = "operations"
    kind: Mapped[str] = mapped_column(String(40))
    target_type: Mapped[str] = mapped_column(String(20))
    target_id: Mapped[str] = mapped_column(String(40))
    target_name: Mapped[str] = mapped_column(String(120))
    generation: Mapped[int]
    actor: Mapped[str] = mapped_column(String(200))
    arguments: Mapped[dict[str, Any]]
    progress: Mapped[dict[str, Any] | None]
    checkpoint: Mapped[dict[str, Any] | None]
    result: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]
    superseded_by: Mapped[str | None] = mapped_column(String(40))
    __table_args__ = (
        *_work_indexes("operations", "queued", "running"),
        Index("uq_operations_holder", "target_id", unique=True, sqlite_where=HELD, postgresql_where=HELD),
        Index("ix_operations_target", "target_id", "created_at"),
        Index("ix_operations_wishes", "target_id", "created_at", "id", sqlite_where=QUEUED, postgresql_where=QUEUED),
        Index("ix_operations_list", "tenant_id", "created_at", "id"),
    )


class Prediction(Base, Claimable):
    __tablename__ = "predictions"
    service_id: Mapped[str] = mapped_column(String(40))
    service_name: Mapped[str] = mapped_column(String(48))
    model_name: Mapped[str] = mapped_column(String(48))
    version: Mapped[str] = mapped_column(String(20))
    part: Mapped[str | None] = mapped_column(String(48))  # the one that is asked, where it is not the default
    body: Mapped[dict[str, Any] | None]  # as submitted; large ones lie in the store
    body_digest: Mapped[str | None] = mapped_column(String(71))
    options: Mapped[dict[str, Any] | None]  # `content_type` of a body that is no JSON, `on_error`
    request_sha256: Mapped[str | None] = mapped_column(String(64))  # where the client chose the id
    output: Mapped[Any | None] = mapped_column(JsonColumn)
    error: Mapped[str | None] = mapped_column(Text)
    problem: Mapped[dict[str, Any] | None]
    predict_time_s: Mapped[float | None]
    base_url: Mapped[str] = mapped_column(Text)  # what the submitter called us; for the object's own links
    webhook: Mapped[str | None] = mapped_column(Text)
    webhook_events: Mapped[list[Any] | None]
    __table_args__ = (
        *_work_indexes("predictions", "starting", "processing", "service_id"),
        Index("ix_predictions_list", "tenant_id", "created_at", "id"),
        Index("ix_predictions_service", "service_id", "created_at"),
    )


class WebhookEndpoint(Base, Owned):
    __tablename__ = "webhook_endpoints"
    url: Mapped[str] = mapped_column(Text)
    description: Mapped[str | None] = mapped_column(Text)
    events: Mapped[list[Any]]  # event types; ["*"] is all of them
    secret_sealed: Mapped[str] = mapped_column(Text)
    old_secret_sealed: Mapped[str | None] = mapped_column(Text)
    old_secret_until: Mapped[int | None]
    enabled: Mapped[bool] = mapped_column(default=True)
    disabled_reason: Mapped[str | None] = mapped_column(Text)
    failing_since: Mapped[int | None]
    edition: Mapped[int] = mapped_column(default=1)
    updated_at: Mapped[int]
    __table_args__ = (Index("ix_webhook_endpoints_list", "tenant_id", "created_at", "id"),)


class Delivery(Base, Claimable):
    __tablename__ = "deliveries"
    endpoint_id: Mapped[str | None] = mapped_column(String(40))  # None: a prediction's own webhook
    receiver: Mapped[str | None] = mapped_column(String(320))  # whose trouble holds this up, see `state.circuits`
    url: Mapped[str] = mapped_column(Text)
    event_id: Mapped[str] = mapped_column(String(40))
    event_type: Mapped[str] = mapped_column(String(60))
    body: Mapped[str] = mapped_column(Text)  # the very bytes that are signed, constant across attempts
    attempts: Mapped[list[Any]]  # [{at, status, head, error, duration_ms}], the newest last
    __table_args__ = (
        *_work_indexes("deliveries", "pending", "sending", "receiver"),
        Index("ix_deliveries_endpoint", "endpoint_id", "created_at", "id"),
        Index("ix_deliveries_receiver", "receiver", "due_at", sqlite_where=PENDING, postgresql_where=PENDING),
    )


class Circuit(Base):
    """A receiver of webhooks that failed the last time: how often in a row, and until when it is left alone."""

    __tablename__ = "circuits"
    receiver: Mapped[str] = mapped_column(String(320), primary_key=True)
    failures: Mapped[int]
    open_until: Mapped[int | None]
    updated_at: Mapped[int]


class Event(Base, Owned):
    __tablename__ = "events"
    type: Mapped[str] = mapped_column(String(60))
    resource_type: Mapped[str] = mapped_column(String(20))
    resource_id: Mapped[str] = mapped_column(String(40))
    sequence: Mapped[int]
    data: Mapped[dict[str, Any]]
    __table_args__ = (Index("ix_events_list", "tenant_id", "created_at", "id"),)


class History(Base):
    """Each change of status: from, to, move, who, why, operation, when; `sequence` counts under the row's lock."""

    __tablename__ = "history"
    resource_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    resource_type: Mapped[str] = mapped_column(String(20))
    from_status: Mapped[str | None] = mapped_column(String(20))
    to_status: Mapped[str] = mapped_column(String(20))
    move: Mapped[str] = mapped_column(String(20))
    actor: Mapped[str] = mapped_column(String(200))
    reason: Mapped[str | None] = mapped_column(String(80))
    message: Mapped[str | None] = mapped_column(Text)
    operation_id: Mapped[str | None] = mapped_column(String(40))
    at: Mapped[int]


class IdempotencyKey(Base):
    __tablename__ = "idempotency_keys"
    tenant_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    method: Mapped[str] = mapped_column(String(8), primary_key=True)
    path: Mapped[str] = mapped_column(String(500), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    body_sha256: Mapped[str] = mapped_column(String(64))
    operation_id: Mapped[str] = mapped_column(String(40))
    resource_id: Mapped[str | None] = mapped_column(String(40))
    created_at: Mapped[int]
    __table_args__ = (Index("ix_idempotency_keys_age", "created_at"),)


class Audit(Base, Owned):
    __tablename__ = "audit"
    actor: Mapped[str] = mapped_column(String(200))
    action: Mapped[str] = mapped_column(String(40))
    target_type: Mapped[str] = mapped_column(String(20))
    target_id: Mapped[str] = mapped_column(String(40))
    target_name: Mapped[str] = mapped_column(String(120))
    operation_id: Mapped[str | None] = mapped_column(String(40))
    request_id: Mapped[str | None] = mapped_column(String(80))
    __table_args__ = (Index("ix_audit_list", "tenant_id", "created_at", "id"),)
