CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
CREATE TABLE blobs (
	digest VARCHAR(71) NOT NULL, 
	size_bytes BIGINT NOT NULL, 
	touched_at BIGINT NOT NULL, 
	doomed_at BIGINT, 
	PRIMARY KEY (digest)
);
CREATE TABLE models (
	name VARCHAR(48) NOT NULL, 
	last_number BIGINT NOT NULL, 
	display_name TEXT, 
	description TEXT, 
	tags JSON NOT NULL, 
	generation BIGINT NOT NULL, 
	edition BIGINT NOT NULL, 
	status VARCHAR(20) NOT NULL, 
	reason VARCHAR(80), 
	message TEXT, 
	since BIGINT NOT NULL, 
	sequence BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	deleted_at BIGINT, 
	id VARCHAR(40) NOT NULL, 
	tenant_id VARCHAR(40) NOT NULL, 
	created_at BIGINT NOT NULL, 
	PRIMARY KEY (id)
);
CREATE INDEX ix_models_list ON models (tenant_id, created_at, id);
CREATE UNIQUE INDEX uq_models_name ON models (tenant_id, name) WHERE status <> 'deleted';
CREATE TABLE tenants (
	id VARCHAR(40) NOT NULL, 
	name VARCHAR(80) NOT NULL, 
	webhook_secret_sealed TEXT, 
	created_at BIGINT NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (name)
);
CREATE TABLE users (
	name VARCHAR(200) NOT NULL, 
	role VARCHAR(20) NOT NULL, 
	id VARCHAR(40) NOT NULL, 
	tenant_id VARCHAR(40) NOT NULL, 
	created_at BIGINT NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (tenant_id, name)
);
CREATE TABLE tokens (
	user_id VARCHAR(40) NOT NULL, 
	name VARCHAR(200) NOT NULL, 
	hash VARCHAR(64) NOT NULL, 
	expires_at BIGINT, 
	revoked_at BIGINT, 
	id VARCHAR(40) NOT NULL, 
	tenant_id VARCHAR(40) NOT NULL, 
	created_at BIGINT NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (hash), 
	FOREIGN KEY(user_id) REFERENCES users (id)
);
CREATE TABLE versions (
	model_id VARCHAR(40) NOT NULL, 
	number BIGINT NOT NULL, 
	digest VARCHAR(71) NOT NULL, 
	size_bytes BIGINT NOT NULL, 
	filename TEXT, 
	format VARCHAR(20) NOT NULL, 
	task VARCHAR(40), 
	metrics JSON, 
	features JSON, 
	signature JSON, 
	display_name TEXT, 
	description TEXT, 
	tags JSON NOT NULL, 
	generation BIGINT NOT NULL, 
	edition BIGINT NOT NULL, 
	status VARCHAR(20) NOT NULL, 
	reason VARCHAR(80), 
	message TEXT, 
	since BIGINT NOT NULL, 
	sequence BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	deleted_at BIGINT, 
	id VARCHAR(40) NOT NULL, 
	tenant_id VARCHAR(40) NOT NULL, 
	created_at BIGINT NOT NULL, source_uri TEXT, 
	PRIMARY KEY (id), 
	UNIQUE (model_id, number), 
	FOREIGN KEY(model_id) REFERENCES models (id)
);
CREATE INDEX ix_versions_digest ON versions (digest);
CREATE INDEX ix_versions_list ON versions (tenant_id, created_at, id);
CREATE TABLE aliases (
	model_id VARCHAR(40) NOT NULL, 
	name VARCHAR(48) NOT NULL, 
	version_id VARCHAR(40) NOT NULL, 
	id VARCHAR(40) NOT NULL, 
	tenant_id VARCHAR(40) NOT NULL, 
	created_at BIGINT NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (model_id, name), 
	FOREIGN KEY(model_id) REFERENCES models (id), 
	FOREIGN KEY(version_id) REFERENCES versions (id)
);
CREATE TABLE services (
	name VARCHAR(48) NOT NULL, 
	replicas BIGINT NOT NULL, 
	revision_id VARCHAR(40), 
	live_revision_id VARCHAR(40), 
	live_replicas BIGINT, 
	display_name TEXT, 
	description TEXT, 
	tags JSON NOT NULL, 
	generation BIGINT NOT NULL, 
	edition BIGINT NOT NULL, 
	status VARCHAR(20) NOT NULL, 
	reason VARCHAR(80), 
	message TEXT, 
	since BIGINT NOT NULL, 
	sequence BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	deleted_at BIGINT, 
	id VARCHAR(40) NOT NULL, 
	tenant_id VARCHAR(40) NOT NULL, 
	created_at BIGINT NOT NULL, expires_at BIGINT, version_ref VARCHAR(80), followed_id VARCHAR(40), port BIGINT, 
	PRIMARY KEY (id)
);
CREATE INDEX ix_services_list ON services (tenant_id, created_at, id);
CREATE INDEX ix_services_status ON services (status);
CREATE UNIQUE INDEX uq_services_name ON services (tenant_id, name) WHERE status <> 'deleted';
CREATE TABLE placements (
	service_id VARCHAR(40) NOT NULL, 
	tenant_id VARCHAR(40) NOT NULL, 
	generation BIGINT NOT NULL, 
	revision_id VARCHAR(40) NOT NULL, 
	replicas BIGINT NOT NULL, 
	fresh_since BIGINT NOT NULL, 
	spec JSON NOT NULL, replacing VARCHAR(40), 
	PRIMARY KEY (service_id), 
	FOREIGN KEY(service_id) REFERENCES services (id)
);
CREATE TABLE replicas (
	service_id VARCHAR(40) NOT NULL, 
	revision_id VARCHAR(40) NOT NULL, 
	generation BIGINT NOT NULL, 
	status VARCHAR(20) NOT NULL, 
	reason VARCHAR(80), 
	message TEXT, 
	since BIGINT NOT NULL, 
	sequence BIGINT NOT NULL, 
	address TEXT, 
	pid BIGINT, 
	process_started VARCHAR(40), 
	boot_id VARCHAR(40), 
	log_path TEXT, 
	ended_at BIGINT, 
	id VARCHAR(40) NOT NULL, 
	tenant_id VARCHAR(40) NOT NULL, 
	created_at BIGINT NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(service_id) REFERENCES services (id)
);
CREATE INDEX ix_replicas_service ON replicas (service_id, created_at);
CREATE INDEX ix_replicas_status ON replicas (status, service_id);
CREATE TABLE revisions (
	service_id VARCHAR(40) NOT NULL, 
	number BIGINT NOT NULL, 
	model_id VARCHAR(40) NOT NULL, 
	version_id VARCHAR(40) NOT NULL, 
	resources JSON NOT NULL, 
	env_sealed TEXT, 
	env_names JSON NOT NULL, 
	id VARCHAR(40) NOT NULL, 
	tenant_id VARCHAR(40) NOT NULL, 
	created_at BIGINT NOT NULL, config_sealed TEXT, config_names JSON, runtime JSON, 
	PRIMARY KEY (id), 
	UNIQUE (service_id, number), 
	FOREIGN KEY(service_id) REFERENCES services (id), 
	FOREIGN KEY(model_id) REFERENCES models (id), 
	FOREIGN KEY(version_id) REFERENCES versions (id)
);
CREATE INDEX ix_revisions_version ON revisions (version_id);
CREATE TABLE deliveries (
	endpoint_id VARCHAR(40), 
	url TEXT NOT NULL, 
	event_id VARCHAR(40) NOT NULL, 
	event_type VARCHAR(60) NOT NULL, 
	body TEXT NOT NULL, 
	attempts JSON NOT NULL, 
	lane VARCHAR(20) NOT NULL, 
	status VARCHAR(20) NOT NULL, 
	priority BIGINT NOT NULL, 
	due_at BIGINT NOT NULL, 
	attempt BIGINT NOT NULL, 
	rescues BIGINT NOT NULL, 
	epoch BIGINT NOT NULL, 
	lease_until BIGINT, 
	lease_owner VARCHAR(80), 
	deadline_at BIGINT, 
	cancel_requested BOOLEAN NOT NULL, 
	waiting_for TEXT, 
	started_at BIGINT, 
	completed_at BIGINT, 
	reason VARCHAR(80), 
	message TEXT, 
	since BIGINT NOT NULL, 
	sequence BIGINT NOT NULL, 
	id VARCHAR(40) NOT NULL, 
	tenant_id VARCHAR(40) NOT NULL, 
	created_at BIGINT NOT NULL, receiver VARCHAR(320), request_id VARCHAR(80), 
	PRIMARY KEY (id)
);
CREATE INDEX ix_deliveries_due ON deliveries (lane, due_at) WHERE status = 'pending';
CREATE INDEX ix_deliveries_endpoint ON deliveries (endpoint_id, created_at, id);
CREATE INDEX ix_deliveries_lease ON deliveries (lease_until) WHERE status = 'sending';
CREATE TABLE operations (
	kind VARCHAR(40) NOT NULL, 
	target_type VARCHAR(20) NOT NULL, 
	target_id VARCHAR(40) NOT NULL, 
	target_name VARCHAR(120) NOT NULL, 
	generation BIGINT NOT NULL, 
	actor VARCHAR(200) NOT NULL, 
	arguments JSON NOT NULL, 
	progress JSON, 
	checkpoint JSON, 
	result JSON, 
	error JSON, 
	superseded_by VARCHAR(40), 
	lane VARCHAR(20) NOT NULL, 
	status VARCHAR(20) NOT NULL, 
	priority BIGINT NOT NULL, 
	due_at BIGINT NOT NULL, 
	attempt BIGINT NOT NULL, 
	rescues BIGINT NOT NULL, 
	epoch BIGINT NOT NULL, 
	lease_until BIGINT, 
	lease_owner VARCHAR(80), 
	deadline_at BIGINT, 
	cancel_requested BOOLEAN NOT NULL, 
	waiting_for TEXT, 
	started_at BIGINT, 
	completed_at BIGINT, 
	reason VARCHAR(80), 
	message TEXT, 
	since BIGINT NOT NULL, 
	sequence BIGINT NOT NULL, 
	id VARCHAR(40) NOT NULL, 
	tenant_id VARCHAR(40) NOT NULL, 
	created_at BIGINT NOT NULL, request_id VARCHAR(80), 
	PRIMARY KEY (id)
);
CREATE INDEX ix_operations_due ON operations (lane, due_at) WHERE status = 'queued';
CREATE INDEX ix_operations_lease ON operations (lease_until) WHERE status = 'running';
CREATE INDEX ix_operations_list ON operations (tenant_id, created_at, id);
CREATE INDEX ix_operations_target ON operations (target_id, created_at);
CREATE UNIQUE INDEX uq_operations_holder ON operations (target_id) WHERE status = 'running';
CREATE TABLE predictions (
	service_id VARCHAR(40) NOT NULL, 
	service_name VARCHAR(48) NOT NULL, 
	model_name VARCHAR(48) NOT NULL, 
	version VARCHAR(20) NOT NULL, 
	body JSON, 
	body_digest VARCHAR(71), 
	output JSON, 
	error TEXT, 
	problem JSON, 
	predict_time_s DOUBLE, 
	base_url TEXT NOT NULL, 
	webhook TEXT, 
	webhook_events JSON, 
	lane VARCHAR(20) NOT NULL, 
	status VARCHAR(20) NOT NULL, 
	priority BIGINT NOT NULL, 
	due_at BIGINT NOT NULL, 
	attempt BIGINT NOT NULL, 
	rescues BIGINT NOT NULL, 
	epoch BIGINT NOT NULL, 
	lease_until BIGINT, 
	lease_owner VARCHAR(80), 
	deadline_at BIGINT, 
	cancel_requested BOOLEAN NOT NULL, 
	waiting_for TEXT, 
	started_at BIGINT, 
	completed_at BIGINT, 
	reason VARCHAR(80), 
	message TEXT, 
	since BIGINT NOT NULL, 
	sequence BIGINT NOT NULL, 
	id VARCHAR(40) NOT NULL, 
	tenant_id VARCHAR(40) NOT NULL, 
	created_at BIGINT NOT NULL, request_id VARCHAR(80), part VARCHAR(48), options JSON, request_sha256 VARCHAR(64), 
	PRIMARY KEY (id)
);
CREATE INDEX ix_predictions_due ON predictions (lane, due_at) WHERE status = 'starting';
CREATE INDEX ix_predictions_lease ON predictions (lease_until) WHERE status = 'processing';
CREATE INDEX ix_predictions_list ON predictions (tenant_id, created_at, id);
CREATE INDEX ix_predictions_service ON predictions (service_id, created_at);
CREATE TABLE audit (
	actor VARCHAR(200) NOT NULL, 
	action VARCHAR(40) NOT NULL, 
	target_type VARCHAR(20) NOT NULL, 
	target_id VARCHAR(40) NOT NULL, 
	target_name VARCHAR(120) NOT NULL, 
	operation_id VARCHAR(40), 
	request_id VARCHAR(80), 
	id VARCHAR(40) NOT NULL, 
	tenant_id VARCHAR(40) NOT NULL, 
	created_at BIGINT NOT NULL, 
	PRIMARY KEY (id)
);
CREATE INDEX ix_audit_list ON audit (tenant_id, created_at, id);
CREATE TABLE counters (
	name VARCHAR(40) NOT NULL, 
	value BIGINT NOT NULL, 
	PRIMARY KEY (name)
);
CREATE TABLE events (
	type VARCHAR(60) NOT NULL, 
	resource_type VARCHAR(20) NOT NULL, 
	resource_id VARCHAR(40) NOT NULL, 
	sequence BIGINT NOT NULL, 
	data JSON NOT NULL, 
	id VARCHAR(40) NOT NULL, 
	tenant_id VARCHAR(40) NOT NULL, 
	created_at BIGINT NOT NULL, 
	PRIMARY KEY (id)
);
CREATE INDEX ix_events_list ON events (tenant_id, created_at, id);
CREATE TABLE history (
	resource_id VARCHAR(40) NOT NULL, 
	sequence BIGINT NOT NULL, 
	resource_type VARCHAR(20) NOT NULL, 
	from_status VARCHAR(20), 
	to_status VARCHAR(20) NOT NULL, 
	move VARCHAR(20) NOT NULL, 
	actor VARCHAR(200) NOT NULL, 
	reason VARCHAR(80), 
	message TEXT, 
	operation_id VARCHAR(40), 
	at BIGINT NOT NULL, 
	PRIMARY KEY (resource_id, sequence)
);
CREATE TABLE idempotency_keys (
	tenant_id VARCHAR(40) NOT NULL, 
	method VARCHAR(8) NOT NULL, 
	path VARCHAR(500) NOT NULL, 
	"key" VARCHAR(255) NOT NULL, 
	body_sha256 VARCHAR(64) NOT NULL, 
	operation_id VARCHAR(40) NOT NULL, 
	resource_id VARCHAR(40), 
	created_at BIGINT NOT NULL, 
	PRIMARY KEY (tenant_id, method, path, "key")
);
CREATE INDEX ix_idempotency_keys_age ON idempotency_keys (created_at);
CREATE TABLE leases (
	name VARCHAR(40) NOT NULL, 
	owner VARCHAR(80) NOT NULL, 
	until BIGINT NOT NULL, 
	epoch BIGINT NOT NULL, 
	PRIMARY KEY (name)
);
CREATE TABLE webhook_endpoints (
	url TEXT NOT NULL, 
	description TEXT, 
	events JSON NOT NULL, 
	secret_sealed TEXT NOT NULL, 
	old_secret_sealed TEXT, 
	old_secret_until BIGINT, 
	enabled BOOLEAN NOT NULL, 
	disabled_reason TEXT, 
	failing_since BIGINT, 
	edition BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	id VARCHAR(40) NOT NULL, 
	tenant_id VARCHAR(40) NOT NULL, 
	created_at BIGINT NOT NULL, 
	PRIMARY KEY (id)
);
CREATE INDEX ix_webhook_endpoints_list ON webhook_endpoints (tenant_id, created_at, id);
CREATE TABLE processes (
	id VARCHAR(80) NOT NULL, 
	role VARCHAR(20) NOT NULL, 
	host VARCHAR(200) NOT NULL, 
	pid BIGINT NOT NULL, 
	version VARCHAR(40) NOT NULL, 
	schema VARCHAR(20) NOT NULL, 
	address TEXT, 
	details JSON NOT NULL, 
	started_at BIGINT NOT NULL, 
	seen_at BIGINT NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE switches (
	name VARCHAR(40) NOT NULL, 
	actor VARCHAR(200) NOT NULL, 
	reason TEXT NOT NULL, 
	since BIGINT NOT NULL, 
	expires_at BIGINT, 
	PRIMARY KEY (name)
);
CREATE TABLE circuits (
	receiver VARCHAR(320) NOT NULL, 
	failures BIGINT NOT NULL, 
	open_until BIGINT, 
	updated_at BIGINT NOT NULL, 
	PRIMARY KEY (receiver)
);
CREATE INDEX ix_deliveries_receiver ON deliveries (receiver, due_at) WHERE status = 'pending';
CREATE INDEX ix_operations_next ON operations (lane, priority, due_at, id) WHERE status = 'queued';
CREATE INDEX ix_operations_share ON operations (lane, tenant_id, priority, due_at, id) WHERE status = 'queued';
CREATE INDEX ix_predictions_next ON predictions (lane, priority, due_at, id) WHERE status = 'starting';
CREATE INDEX ix_predictions_share ON predictions (lane, tenant_id, service_id, due_at, id) WHERE status = 'starting';
CREATE INDEX ix_deliveries_next ON deliveries (lane, priority, due_at, id) WHERE status = 'pending';
CREATE INDEX ix_deliveries_share ON deliveries (lane, tenant_id, receiver, due_at, id) WHERE status = 'pending';
CREATE INDEX ix_operations_wishes ON operations (target_id, created_at, id) WHERE status = 'queued';
CREATE TABLE files (
	id VARCHAR(40) NOT NULL, 
	tenant_id VARCHAR(40) NOT NULL, 
	created_at BIGINT NOT NULL, 
	name TEXT NOT NULL, 
	content_type VARCHAR(120) NOT NULL, 
	size_bytes BIGINT NOT NULL, 
	digest VARCHAR(71) NOT NULL, 
	about JSON NOT NULL, 
	PRIMARY KEY (id)
);
CREATE INDEX ix_files_digest ON files (digest);
CREATE INDEX ix_files_list ON files (tenant_id, created_at, id);
CREATE INDEX ix_services_expiry ON services (expires_at) WHERE expires_at IS NOT NULL AND status <> 'deleted';
CREATE TABLE samples (
	id VARCHAR(40) NOT NULL, 
	tenant_id VARCHAR(40) NOT NULL, 
	created_at BIGINT NOT NULL, 
	service_id VARCHAR(40) NOT NULL, 
	replica_id VARCHAR(40), 
	requests BIGINT NOT NULL, 
	errors BIGINT NOT NULL, 
	refused BIGINT NOT NULL, 
	latency JSON, 
	cpu_micros BIGINT, 
	over_micros BIGINT, 
	memory_bytes BIGINT, 
	PRIMARY KEY (id)
);
CREATE INDEX ix_samples_service ON samples (service_id, created_at);
CREATE INDEX ix_services_following ON services (version_ref) WHERE version_ref IS NOT NULL AND status <> 'deleted';
CREATE UNIQUE INDEX uq_services_port ON services (port) WHERE port IS NOT NULL AND status <> 'deleted';
CREATE INDEX ix_models_changed ON models (tenant_id, updated_at, id);
CREATE TABLE datasets (
	id VARCHAR(40) NOT NULL, 
	tenant_id VARCHAR(40) NOT NULL, 
	created_at BIGINT NOT NULL, 
	display_name TEXT, 
	description TEXT, 
	tags JSON NOT NULL, 
	generation BIGINT NOT NULL, 
	edition BIGINT NOT NULL, 
	status VARCHAR(20) NOT NULL, 
	reason VARCHAR(80), 
	message TEXT, 
	since BIGINT NOT NULL, 
	sequence BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	deleted_at BIGINT, 
	name VARCHAR(48) NOT NULL, 
	kind VARCHAR(10) NOT NULL, 
	source_uri TEXT, 
	is_reference BOOLEAN NOT NULL, 
	source_etag TEXT, 
	credential_sealed TEXT, 
	upload_id VARCHAR(40), 
	run_id VARCHAR(40), 
	role VARCHAR(20), 
	filename TEXT, 
	digest VARCHAR(71), 
	size_bytes BIGINT, 
	hints JSON NOT NULL, 
	format VARCHAR(20), 
	layout JSON, 
	rows BIGINT, 
	rows_are_estimated BOOLEAN NOT NULL, 
	warnings JSON, 
	preview_digest VARCHAR(71), 
	files BIGINT, column_count BIGINT, columns JSON, 
	PRIMARY KEY (id)
);
CREATE INDEX ix_datasets_digest ON datasets (digest);
CREATE INDEX ix_datasets_list ON datasets (tenant_id, created_at, id);
CREATE INDEX ix_datasets_preview ON datasets (preview_digest);
CREATE INDEX ix_datasets_run ON datasets (run_id, role);
CREATE UNIQUE INDEX uq_datasets_name ON datasets (tenant_id, name) WHERE status <> 'deleted';
CREATE TABLE dataset_parts (
	dataset_id VARCHAR(40) NOT NULL, 
	ordinal BIGINT NOT NULL, 
	digest VARCHAR(71) NOT NULL, 
	size_bytes BIGINT NOT NULL, 
	rows BIGINT, 
	PRIMARY KEY (dataset_id, ordinal), 
	FOREIGN KEY(dataset_id) REFERENCES datasets (id)
);
CREATE INDEX ix_dataset_parts_digest ON dataset_parts (digest);
CREATE INDEX ix_dataset_parts_former ON dataset_parts (ordinal) WHERE ordinal < 0;
CREATE TABLE dataset_files (
	dataset_id VARCHAR(40) NOT NULL, 
	path VARCHAR(500) NOT NULL, 
	digest VARCHAR(71) NOT NULL, 
	size_bytes BIGINT NOT NULL, 
	content_type VARCHAR(120) NOT NULL, 
	created_at BIGINT NOT NULL, 
	PRIMARY KEY (dataset_id, path), 
	FOREIGN KEY(dataset_id) REFERENCES datasets (id)
);
CREATE INDEX ix_dataset_files_digest ON dataset_files (digest);
CREATE TABLE uploads (
	id VARCHAR(40) NOT NULL, 
	tenant_id VARCHAR(40) NOT NULL, 
	created_at BIGINT NOT NULL, 
	filename TEXT, 
	size_bytes BIGINT, 
	touched_at BIGINT NOT NULL, 
	PRIMARY KEY (id)
);
CREATE INDEX ix_uploads_age ON uploads (touched_at);
CREATE INDEX ix_uploads_list ON uploads (tenant_id, created_at, id);
CREATE TABLE upload_parts (
	upload_id VARCHAR(40) NOT NULL, 
	number BIGINT NOT NULL, 
	digest VARCHAR(71) NOT NULL, 
	size_bytes BIGINT NOT NULL, 
	PRIMARY KEY (upload_id, number), 
	FOREIGN KEY(upload_id) REFERENCES uploads (id)
);
CREATE INDEX ix_upload_parts_digest ON upload_parts (digest);
CREATE TABLE jobs (
	id VARCHAR(40) NOT NULL, 
	tenant_id VARCHAR(40) NOT NULL, 
	created_at BIGINT NOT NULL, 
	display_name TEXT, 
	description TEXT, 
	tags JSON NOT NULL, 
	generation BIGINT NOT NULL, 
	edition BIGINT NOT NULL, 
	status VARCHAR(20) NOT NULL, 
	reason VARCHAR(80), 
	message TEXT, 
	since BIGINT NOT NULL, 
	sequence BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	deleted_at BIGINT, 
	name VARCHAR(48) NOT NULL, 
	kind VARCHAR(10) NOT NULL, 
	model_id VARCHAR(40), 
	dataset_id VARCHAR(40), 
	script_digest VARCHAR(71), 
	spec JSON NOT NULL, 
	env_sealed TEXT, 
	env_names JSON NOT NULL, 
	last_number BIGINT NOT NULL, 
	after_id VARCHAR(40), 
	schedule JSON, 
	schedule_paused BOOLEAN NOT NULL, 
	scheduled_since BIGINT, 
	next_at BIGINT, 
	PRIMARY KEY (id)
);
CREATE INDEX ix_jobs_after ON jobs (after_id) WHERE after_id IS NOT NULL AND status <> 'deleted';
CREATE INDEX ix_jobs_dataset ON jobs (dataset_id);
CREATE INDEX ix_jobs_list ON jobs (tenant_id, created_at, id);
CREATE INDEX ix_jobs_model ON jobs (model_id);
CREATE INDEX ix_jobs_script ON jobs (script_digest);
CREATE INDEX ix_jobs_schedule ON jobs (next_at) WHERE next_at IS NOT NULL AND status <> 'deleted';
CREATE UNIQUE INDEX uq_jobs_name ON jobs (tenant_id, name) WHERE status <> 'deleted';
CREATE TABLE runs (
	id VARCHAR(40) NOT NULL, 
	tenant_id VARCHAR(40) NOT NULL, 
	created_at BIGINT NOT NULL, 
	display_name TEXT, 
	description TEXT, 
	tags JSON NOT NULL, 
	generation BIGINT NOT NULL, 
	edition BIGINT NOT NULL, 
	status VARCHAR(20) NOT NULL, 
	reason VARCHAR(80), 
	message TEXT, 
	since BIGINT NOT NULL, 
	sequence BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	deleted_at BIGINT, 
	job_id VARCHAR(40) NOT NULL, 
	job_name VARCHAR(48) NOT NULL, 
	number BIGINT NOT NULL, 
	name VARCHAR(120) NOT NULL, 
	kind VARCHAR(10) NOT NULL, 
	"trigger" VARCHAR(20) NOT NULL, 
	scheduled_for BIGINT, 
	retries BIGINT NOT NULL, 
	spec JSON NOT NULL, 
	resolved JSON, 
	version_id VARCHAR(40), 
	dataset_id VARCHAR(40), 
	script_digest VARCHAR(71), 
	env_sealed TEXT, 
	env_names JSON NOT NULL, 
	started_at BIGINT, 
	completed_at BIGINT, 
	running_micros BIGINT NOT NULL, 
	resumed_at BIGINT, 
	error JSON, 
	summary JSON, 
	output_id VARCHAR(40), 
	bad_rows_id VARCHAR(40), 
	followed_at BIGINT, 
	PRIMARY KEY (id), 
	UNIQUE (job_id, number), 
	FOREIGN KEY(job_id) REFERENCES jobs (id)
);
CREATE INDEX ix_runs_dataset ON runs (dataset_id) WHERE status NOT IN ('succeeded', 'failed', 'stopped');
CREATE INDEX ix_runs_gone ON runs (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX ix_runs_job ON runs (job_id, created_at, id);
CREATE INDEX ix_runs_list ON runs (tenant_id, created_at, id);
CREATE INDEX ix_runs_live ON runs (job_id, status) WHERE status NOT IN ('succeeded', 'failed', 'stopped');
CREATE INDEX ix_runs_script ON runs (script_digest);
CREATE INDEX ix_runs_unfollowed ON runs (completed_at) WHERE status = 'succeeded' AND followed_at IS NULL;
CREATE INDEX ix_runs_version ON runs (version_id) WHERE status NOT IN ('succeeded', 'failed', 'stopped');
CREATE TABLE run_processes (
	run_id VARCHAR(40) NOT NULL, 
	tenant_id VARCHAR(40) NOT NULL, 
	generation BIGINT NOT NULL, 
	wanted BOOLEAN NOT NULL, 
	spec JSON NOT NULL, 
	epoch BIGINT NOT NULL, 
	pid BIGINT, 
	process_started VARCHAR(40), 
	boot_id VARCHAR(40), 
	log_path TEXT, 
	began_at BIGINT, 
	seen_at BIGINT, 
	progress JSON, 
	token_hash VARCHAR(64), 
	ended_at BIGINT, 
	ending JSON, 
	PRIMARY KEY (run_id), 
	FOREIGN KEY(run_id) REFERENCES runs (id)
);
CREATE INDEX ix_run_processes_wanted ON run_processes (run_id) WHERE wanted OR pid IS NOT NULL;
CREATE TABLE run_chunks (
	run_id VARCHAR(40) NOT NULL, 
	ordinal BIGINT NOT NULL, 
	first_row BIGINT NOT NULL, 
	rows_in BIGINT NOT NULL, 
	rows_out BIGINT NOT NULL, 
	bad BIGINT NOT NULL, 
	digest VARCHAR(71) NOT NULL, 
	size_bytes BIGINT NOT NULL, 
	bad_digest VARCHAR(71), 
	bad_size_bytes BIGINT, 
	next JSON NOT NULL, 
	committed_at BIGINT NOT NULL, 
	PRIMARY KEY (run_id, ordinal), 
	FOREIGN KEY(run_id) REFERENCES runs (id)
);
CREATE INDEX ix_run_chunks_bad ON run_chunks (bad_digest);
CREATE INDEX ix_run_chunks_digest ON run_chunks (digest);
CREATE TABLE run_reports (
	run_id VARCHAR(40) NOT NULL, 
	sequence BIGINT NOT NULL, 
	at BIGINT NOT NULL, 
	step BIGINT, 
	"values" JSON NOT NULL, 
	PRIMARY KEY (run_id, sequence), 
	FOREIGN KEY(run_id) REFERENCES runs (id)
);
CREATE TABLE run_artifacts (
	run_id VARCHAR(40) NOT NULL, 
	role VARCHAR(20) NOT NULL, 
	path VARCHAR(700) NOT NULL, 
	digest VARCHAR(71) NOT NULL, 
	size_bytes BIGINT NOT NULL, 
	created_at BIGINT NOT NULL, 
	made_id VARCHAR(40), 
	PRIMARY KEY (run_id, role, path), 
	FOREIGN KEY(run_id) REFERENCES runs (id)
);
CREATE INDEX ix_run_artifacts_digest ON run_artifacts (digest);
CREATE TABLE ticks (
	id VARCHAR(40) NOT NULL, 
	tenant_id VARCHAR(40) NOT NULL, 
	created_at BIGINT NOT NULL, 
	job_id VARCHAR(40) NOT NULL, 
	"trigger" VARCHAR(20) NOT NULL, 
	"key" VARCHAR(60) NOT NULL, 
	at BIGINT NOT NULL, 
	outcome VARCHAR(20) NOT NULL, 
	reason VARCHAR(80), 
	run_id VARCHAR(40), 
	PRIMARY KEY (id), 
	UNIQUE (job_id, "trigger", "key"), 
	FOREIGN KEY(job_id) REFERENCES jobs (id)
);
CREATE INDEX ix_ticks_job ON ticks (job_id, at);
CREATE INDEX ix_ticks_list ON ticks (tenant_id, created_at, id);
CREATE INDEX ix_ticks_waiting ON ticks (job_id, at) WHERE outcome = 'waiting';
CREATE INDEX ix_run_processes_turn ON run_processes (tenant_id, run_id) WHERE wanted OR pid IS NOT NULL;
INSERT INTO alembic_version ("version_num") VALUES ('0018');
INSERT INTO counters ("name", "value") VALUES ('schema_floor', 1);
